"""Answers turned round: how often, what is told of ties, what is learned from them, and who is found out."""

import numpy as np
import pytest

import mmbook
from mmbook.feedback import SimulatedAnnotator
from mmbook.feedback.privacy import Crowd, RandomisedResponse, reidentified
from mmbook.rlhf.reward_fit import Judge
from mmbook.world import sample_scenes

(SCENE,) = sample_scenes(1, 0)
PAIRS = [
    ("a cat.", "cat."),
    ("hello, please let me show you a cat. thank you!", "well, i can see a cat, i guess."),
]


def test_answers_are_turned_as_often_as_said() -> None:
    shy = RandomisedResponse(lambda scene, captions: 0, 0.25, seed=1)
    assert np.mean([shy(SCENE, PAIRS[0]) for _ in range(4000)]) == pytest.approx(0.25, abs=0.03)
    assert shy.epsilon == pytest.approx(np.log(3))
    open_ = RandomisedResponse(lambda scene, captions: 1, 0.0)
    assert {open_(SCENE, PAIRS[0]) for _ in range(20)} == {1} and open_.epsilon == np.inf


@pytest.mark.parametrize("answer", ["tie", "both_bad", "skip"])
def test_what_is_no_choice_becomes_a_coin(answer) -> None:
    shy = RandomisedResponse(lambda scene, captions: answer, 0.1)
    assert np.mean([shy(SCENE, PAIRS[0]) for _ in range(4000)]) == pytest.approx(0.5, abs=0.03)


def test_a_probability_above_one_half_is_refused() -> None:
    with pytest.raises(ValueError, match="p: expected"):
        RandomisedResponse(lambda scene, captions: 0, 0.6)


def test_the_crowd_chooses_as_its_tastes_say() -> None:
    crowd = Crowd(PAIRS, people=2, seed=3)
    clicks = crowd.clicks(0, 4000)
    of_first = [better for better, worse, _ in clicks if "style: plain" in better or "style: plain" in worse]
    share = np.mean(["style: plain" in better for better in of_first])
    assert share == pytest.approx(crowd.first[0, 0], abs=0.04)
    turned = crowd.clicks(0, 4000, p=0.5)
    assert np.mean(
        ["style: plain" in b for b, w, _ in turned if "style: plain" in {**b, **w}]
    ) == pytest.approx(0.5, abs=0.04)


def test_people_with_clear_tastes_are_found_out_and_coins_are_not() -> None:
    said = [
        "a cat.",
        "cat.",
        "hello, please let me show you a cat. thank you!",
        "well, i can see a cat, i guess.",
    ]
    pairs = [(a, b) for a in said for b in said if a != b]
    crowd, who = Crowd(pairs, people=8, seed=0, spread=4.0), np.repeat(np.arange(8), 5)
    known = [crowd.clicks(i, 200) for i in range(8)]
    assert (reidentified(known, [crowd.clicks(i, 200) for i in who]) == who).mean() > 0.7
    assert (reidentified(known, [crowd.clicks(i, 200, p=0.5) for i in who]) == who).mean() < 0.4
    with pytest.raises(ValueError, match="known: expected"):
        reidentified([], [])


def test_a_reward_model_is_told_of_the_turning(tmp_path) -> None:
    import torch

    from mmbook.equations import flipped_loss
    from mmbook.rlhf.reward_fit import Features

    model = mmbook.load_pretrained_model("tiny", device="cpu")
    shy = RandomisedResponse(SimulatedAnnotator("terse"), 0.2)
    log = mmbook.collect_human_feedback(model, 20, shy, path=tmp_path / "shy.jsonl")
    judged = log.judgements()
    features, R = Features(model, judged, [j.scene for j in judged]), torch.randn(len(judged), 2)
    rows = torch.arange(len(judged))
    loss = Judge(ties=False, flipped=0.2).loss(R, features, rows)
    assert loss.item() == pytest.approx(flipped_loss(R[:, 0], R[:, 1], 0.2).item(), rel=1e-5)
    tied = mmbook.collect_human_feedback(model, 20, SimulatedAnnotator("terse"), path=tmp_path / "ties.jsonl")
    with pytest.raises(ValueError, match="pairs that were all answered"):
        mmbook.train_reward_model(tied, flipped=0.2, minimum=2)
    with pytest.raises(ValueError, match="flipped: expected"):
        mmbook.train_reward_model(log, flipped=0.5)
