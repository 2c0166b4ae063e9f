"""Questions go through reward model and PPO as captions do, and stay where pictures are shuffled."""

from __future__ import annotations

import pytest

from mmbook import collect_human_feedback, fine_tune_with_rl, train_reward_model
from mmbook.evaluate.sharpening import sequence_entropy
from mmbook.feedback.customers import Customer
from mmbook.models.answerer import load_answerer
from mmbook.rlhf import reward_model


@pytest.fixture(scope="module")
def clicks():
    return collect_human_feedback(load_answerer(), 40, Customer(seed=0), seed=0)


def test_pictures_are_shuffled_and_questions_are_not(clicks, monkeypatch) -> None:
    class Seen(Exception):
        pass

    def look(trunk, judged, pictures):
        own = [j.scene for j in judged]
        assert [p.question for p in pictures] == [s.question for s in own]
        assert sum(p.stickers == s.stickers for p, s in zip(pictures, own, strict=True)) < len(own) / 4
        raise Seen

    monkeypatch.setattr(reward_model, "Features", look)
    with pytest.raises(Seen):
        train_reward_model(clicks, seed=0, shuffle_pictures=True)


def test_an_answerer_is_tuned_on_its_own_questions(clicks) -> None:
    base = clicks.model
    reward = train_reward_model(clicks, seed=0, looks=True, reads=True, epochs=2)
    how = {"updates": 1, "batch": 16, "minibatches": 2, "progress": False}
    tuned = fine_tune_with_rl(base, reward, seed=0, **how)
    assert tuned.hash != base.hash and tuned.scenes is base.scenes
    assert len(tuned.history) == 1
    assert sequence_entropy(base, scenes=32) > 0
