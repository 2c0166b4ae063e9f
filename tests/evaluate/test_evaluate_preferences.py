"""Calibration, temperature, accuracy by length and length-controlled win rates, against what was put in."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from scipy.special import expit

from mmbook.evaluate.calibration import calibration_error, fit_temperature, reliability
from mmbook.evaluate.preferences import by_length, leads, length_controlled_win_rate, words
from mmbook.models import load_pretrained_model
from mmbook.rlhf import KnownReward
from mmbook.world import sample_scenes


def drawn(scale, n=40_000, seed=0):
    """Leads of a reward whose units are off by `scale`, signed as choices at the true probability fall."""
    rng = np.random.default_rng(seed)
    true = np.abs(rng.normal(0, 1.5, n))
    return scale * true * np.where(rng.random(n) < expit(true), 1, -1)


def test_an_honest_reward_is_calibrated_and_a_boastful_one_is_not():
    assert calibration_error(drawn(1.0)) < 0.01
    boast = drawn(3.0)
    rows = reliability(boast)
    assert calibration_error(boast) > 0.08 and (rows[:, 0] >= rows[:, 1] - 0.02).all()
    assert rows[:, 2].sum() == len(boast) and (np.diff(rows[:, 0]) > 0).all()


def test_reliability_by_hand():
    lead = np.array([0.1, -0.1, 2.0, 2.0, -2.0, 0.0])
    low, high = reliability(lead, bins=2)
    np.testing.assert_allclose(low, [(2 * expit(0.1) + 0.5) / 3, (1 + 0 + 0.5) / 3, 3])
    np.testing.assert_allclose(high, [expit(2.0), 2 / 3, 3])
    by_hand = (abs(low[0] - low[1]) * 3 + abs(high[0] - high[1]) * 3) / 6
    assert calibration_error(lead, bins=2) == pytest.approx(by_hand)
    for empty in ([], [np.nan]):
        with pytest.raises(ValueError, match="one finite number or more"):
            reliability(np.array(empty))


@pytest.mark.parametrize("scale", [0.3, 1.0, 4.0])
def test_the_temperature_finds_the_unit_and_is_the_best_one(scale):
    lead = drawn(scale)
    T = fit_temperature(lead)
    assert pytest.approx(scale, rel=0.05) == T
    best = minimize_scalar(lambda s: np.logaddexp(0, -s * lead).mean(), bounds=(1e-3, 20), method="bounded")
    assert pytest.approx(best.x, rel=1e-3) == 1 / T
    assert calibration_error(lead / T) < 0.01


def test_a_temperature_that_does_not_exist_is_refused():
    for lead in ([1.0, 2.0], [-1.0, -2.0], [1.0, -3.0], []):
        with pytest.raises(ValueError, match="lead: expected choices ranked right more clearly"):
            fit_temperature(np.array(lead))


def test_accuracy_is_counted_by_length():
    model = load_pretrained_model("tiny", device="cpu")
    (scene,) = sample_scenes(1, 0)
    shorter = KnownReward(model, of=lambda scene, caption: -len(caption.split()))
    pairs = [
        (scene, "cat.", "a cat and a dog."),
        (scene, "a cat and a dog.", "cat."),
        (scene, "a cat.", "a dog."),
        (scene, "dog.", "a dog."),
    ]
    assert words(["a cat, a dog.", "cat."]).tolist() == [6, 2]
    np.testing.assert_allclose(leads(shorter, pairs), [4, -4, 0, 1])
    assert by_length(shorter, pairs) == {
        "better is shorter": (2, 2),
        "equally long": (0, 1),
        "better is longer": (0, 1),
    }


def test_a_judge_that_counts_words_is_even_once_length_is_taken_out():
    rng = np.random.default_rng(0)
    longer = rng.normal(-3, 4, 4000).round()
    x = np.tanh(longer / longer.std())
    for intercept in (0.0, 0.8):
        wins = rng.random(4000) < expit(intercept - 2.5 * x)  # shorter is better to this judge
        assert wins.mean() > expit(intercept) + 0.1
        assert length_controlled_win_rate(wins, longer) == pytest.approx(expit(intercept), abs=0.03)
    fair = rng.random(4000) < 0.7
    assert length_controlled_win_rate(fair, longer) == pytest.approx(0.7, abs=0.03)
    assert length_controlled_win_rate(fair, np.zeros(4000)) == pytest.approx(fair.mean(), abs=1e-3)
    with pytest.raises(ValueError, match="expected one shape"):
        length_controlled_win_rate(wins, longer[1:])


def test_leads_are_what_the_reward_says():
    model = load_pretrained_model("tiny", device="cpu")
    scenes = sample_scenes(3, 1)
    reward = KnownReward(model)
    pairs = [(s, "cat.", "a dog.") for s in scenes]
    expected = reward.score(scenes, ["cat."] * 3) - reward.score(scenes, ["a dog."] * 3)
    assert torch.equal(torch.from_numpy(leads(reward, pairs)), expected.double())
