"""Win rates, intervals and ratings: against closed forms, and against readers whose worths are known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from mmbook.evaluate.winning import bootstrap, both_ways, contest, ratings, wins
from mmbook.feedback import SimulatedAnnotator
from mmbook.world import describe, sample_scenes, say

SCENES = sample_scenes(60, seed=2)
TERSE, POLITE = ([say(describe(s, style)) for s in SCENES] for style in ("terse", "polite"))


def always_first(scene, captions):
    return 0


def test_each_order_is_asked_and_a_side_counts_for_both() -> None:
    assert both_ways(always_first, SCENES, TERSE, POLITE).tolist() == [[1.0, 0.0]] * 60
    assert both_ways(SimulatedAnnotator("polite"), SCENES, TERSE, POLITE).tolist() == [[0.0, 0.0]] * 60
    won = wins(always_first, SCENES, TERSE, POLITE, seed=1)
    assert 18 < won.sum() < 42 and set(won) == {0.0, 1.0}
    assert wins(SimulatedAnnotator("terse"), SCENES, TERSE, POLITE).tolist() == [1.0] * 60
    with pytest.raises(ValueError, match="argument"):
        both_ways(always_first, SCENES, TERSE, POLITE[:3])


def test_nobody_is_asked_about_the_same_caption() -> None:
    def refuses(scene, captions):
        raise AssertionError("asked")

    again = [c.upper() for c in TERSE]
    assert both_ways(refuses, SCENES, TERSE, again).tolist() == [[0.5, 0.5]] * 60
    assert wins(refuses, SCENES, TERSE, again).tolist() == [0.5] * 60
    assert wins(lambda scene, captions: "tie", SCENES, TERSE, POLITE).tolist() == [0.5] * 60


def test_the_bootstrap_of_a_mean_is_the_normal_interval() -> None:
    x = np.random.default_rng(0).normal(3, 2, 400)
    low, high = bootstrap(x, draws=4000)
    half = norm.isf(0.025) * x.std() / 20
    assert (low, high) == pytest.approx((x.mean() - half, x.mean() + half), abs=0.02)
    two = bootstrap(np.stack([x, -x], 1), lambda drawn: drawn.mean(0), draws=500)
    assert two[0].shape == (2,) and two[0][1] == pytest.approx(-two[1][0])
    for nothing in ([], 3.0):
        with pytest.raises(ValueError, match="x: expected one row or more"):
            bootstrap(nothing)


def test_the_bootstrap_covers_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    inside = 0
    for i in range(300):
        low, high = bootstrap(rng.random(80) < 0.6, draws=300, seed=i)
        inside += low <= 0.6 <= high
    assert 0.90 < inside / 300 < 0.985


def test_ratings_find_the_strengths_that_made_the_games() -> None:
    truth = np.array([-1.0, 0.0, 0.25, 0.75])
    p = 1 / (1 + np.exp(truth[None] - truth[:, None]))
    played = np.array([[0 if i == j else 100 * (i + j) for j in range(4)] for i in range(4)])
    np.testing.assert_allclose(ratings(p * played), truth, atol=1e-6)
    drawn = np.triu(np.random.default_rng(0).binomial(played, p), 1)
    found = ratings(drawn + np.tril((np.triu(played) - drawn).T, -1))
    np.testing.assert_allclose(found, truth, atol=0.3)
    assert found.mean() == pytest.approx(0)


def test_ratings_that_run_away_are_refused() -> None:
    always = np.array([[0, 5, 5], [0, 0, 2], [0, 3, 0]])
    with pytest.raises(ValueError, match="W: expected a chain of wins"):
        ratings(always)
    always[1, 0] = 1
    assert ratings(always)[0] > 1


def test_a_contest_is_every_pair_and_its_ratings_are_the_reader() -> None:
    said = {"terse": TERSE, "polite": POLITE, "plain": [say(describe(s, "plain")) for s in SCENES]}
    W = contest(SimulatedAnnotator("terse", noise=0.2), SCENES, said, seed=3)
    assert W.shape == (60, 3, 3)
    np.testing.assert_array_equal(W + W.swapaxes(1, 2), np.broadcast_to(1 - np.eye(3), (60, 3, 3)))
    assert ratings(W.sum(0)).argmax() == 0
    low, high = bootstrap(W, lambda w: ratings(w.sum(0)), draws=50)
    assert (low < high).all() and low[0] > high[1]


def test_the_best_of_noisy_checkpoints_looks_better_than_it_is() -> None:
    """Checks id:winners-curse: the mean of the largest is at least the largest mean."""
    rng, p = np.random.default_rng(0), np.array([0.5, 0.52, 0.54, 0.55])
    measured = rng.binomial(100, p, (20000, 4)) / 100
    best = measured.argmax(1)
    assert measured.max(1).mean() > p.max() + 0.01
    assert p[best].mean() < p.max() - 0.005  # and what was picked is, on the mean, not even the best
    fresh = rng.binomial(100, p[best]) / 100
    assert fresh.mean() == pytest.approx(p[best].mean(), abs=0.002)
