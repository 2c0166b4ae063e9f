"""Audits: planted differences are found, chance is not, and counterfactuals keep what they claim."""

import numpy as np
import pytest
import torch
from scipy.stats import fisher_exact

from mmbook.evaluate.audit import by_group, counterfactuals, groups_of, holm, prices
from mmbook.world import Scene, Sticker, check, normalise, sample_scenes

CAT = Scene((Sticker("cat", 0, True), Sticker("key", 3, False)), "twemoji")


def test_a_scene_is_in_all_its_groups_once() -> None:
    expected = ["artwork twemoji", "2 sticker(s)", "cat", "big", "top left", "key", "small", "bottom right"]
    assert groups_of(CAT) == expected


def test_a_planted_difference_leads_the_list() -> None:
    scenes, rng = sample_scenes(600, 0), np.random.default_rng(0)
    right = rng.random(600) < np.where(["cat" in s.kinds for s in scenes], 0.2, 0.8)
    worst, *rest = by_group(scenes, right)
    has = np.array(["cat" in s.kinds for s in scenes])
    assert worst.name == "cat" and worst.p < 1e-6 and worst.n == has.sum()
    assert worst.right == right[has].sum() and worst.interval[0] < worst.right / worst.n < worst.interval[1]
    table = [[right[has].sum(), (~right)[has].sum()], [right[~has].sum(), (~right)[~has].sum()]]
    assert worst.p == pytest.approx(fisher_exact(table)[1] * (len(rest) + 1))


def test_chance_is_rarely_called_a_difference() -> None:
    rng, alarms = np.random.default_rng(1), 0
    scenes = sample_scenes(200, 2)
    for _ in range(40):
        alarms += by_group(scenes, rng.random(200) < 0.6)[0].p < 0.05
    assert alarms <= 5


def test_holm_by_hand() -> None:
    assert holm(np.array([0.04, 0.01, 0.03])).tolist() == pytest.approx([0.06, 0.03, 0.06])
    assert holm(np.array([0.9, 0.8])).tolist() == [1.0, 1.0]


def test_counterfactuals_differ_in_one_thing() -> None:
    made = counterfactuals(CAT, np.random.default_rng(0))
    same = ("plain", "polite", "rambling", "terse", "other order")
    assert all(check(made[k], CAT).full for k in same)
    assert check(made["one left out"], CAT).true and check(made["one left out"], CAT).coverage == 0.5
    assert check(made["a lie"], CAT).wrong == 1 and made["a companion"] == "a cat, a fish and a key."
    assert "other order" not in counterfactuals(Scene((Sticker("owl", 1, True),)), np.random.default_rng(0))


def test_a_ruler_pays_for_length_alone() -> None:
    class Ruler:
        def score(self, scenes, captions):
            return torch.tensor([float(len(normalise(c).split())) for c in captions])

    earned = prices(Ruler(), sample_scenes(50, 3))
    assert earned["polite"][0] > 0 > earned["terse"][0]
    assert earned["a lie"][0] == pytest.approx(0, abs=0.1) and earned["other order"] == pytest.approx((0, 0))


def test_refusal() -> None:
    with pytest.raises(ValueError, match="a verdict for each"):
        by_group(sample_scenes(3, 0), [True])
