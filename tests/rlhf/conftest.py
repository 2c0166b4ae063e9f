"""The tiny model, and a reward model with random heads, which is as good as any for checking arithmetic."""

import pytest
from rlhf_by_hand import run_rollout

from mmbook.models import VLM, load_pretrained_model
from mmbook.rlhf import RewardModel


@pytest.fixture(scope="session")
def tiny() -> VLM:
    return load_pretrained_model("tiny", device="cpu")


@pytest.fixture(scope="session")
def reward(tiny: VLM) -> RewardModel:
    model = RewardModel(tiny, looks=False, seed=3).requires_grad_(False)
    model.accuracy, model.interval, model.pairs = 0.9, (0.8, 0.95), 50
    return model


@pytest.fixture(scope="session")
def short(tiny: VLM, reward: RewardModel):
    """A rollout of captions of different lengths, some cut off before their end, at a temperature of 0.7."""
    return run_rollout(tiny, reward, longest=11, tau=0.7, c=1.0)


@pytest.fixture(scope="session")
def far(tiny: VLM, reward: RewardModel):
    """A rollout of a policy that is very far from its reference."""
    return run_rollout(tiny, reward, longest=11, by=0.3)
