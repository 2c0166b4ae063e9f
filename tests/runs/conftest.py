"""The tiny model, and a reward model with random heads."""

import pytest

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
