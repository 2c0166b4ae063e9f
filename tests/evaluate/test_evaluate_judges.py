"""Simulated judges: each bias is what it says, is measured by what should show it, and only by that."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import expit, logit

from mmbook import load_pretrained_model
from mmbook.equations import log_prob
from mmbook.evaluate.judges import Judge, position_bias, restyled
from mmbook.evaluate.winning import both_ways
from mmbook.world import check, describe, parse, sample_scenes, say

SCENES = sample_scenes(400, seed=2)
TERSE, POLITE = ([say(describe(s, style)) for s in SCENES] for style in ("terse", "polite"))


def test_the_probability_is_the_formula() -> None:
    scene, pair = SCENES[0], [TERSE[0], POLITE[0]]
    words = [len(c.replace(",", " ,").replace(".", " .").replace("!", " !").split()) for c in pair]
    assert Judge(length=0.3, bt=2, position=0.4).probability(scene, pair) == pytest.approx(
        expit(2 * 0.3 * (words[0] - words[1]) + 0.4)
    )
    false = ["a cat and a cat.", TERSE[0]]
    lead = check(false[0], scene).utility - check(false[1], scene).utility
    assert Judge().probability(scene, false) == pytest.approx(expit(lead))


def test_swapping_cancels_what_a_place_adds() -> None:
    """Checks id:swap-cancels: the mean log odds of both orders has no position in it."""
    for scene, x, y in zip(SCENES[:20], TERSE, POLITE, strict=False):
        judge, fair = Judge(length=0.2, position=1.3), Judge(length=0.2)
        seen_first, seen_second = judge.probability(scene, [x, y]), 1 - judge.probability(scene, [y, x])
        both = (logit(seen_first) + logit(seen_second)) / 2
        assert both == pytest.approx(logit(fair.probability(scene, [x, y])))
        assert logit(seen_first) - logit(seen_second) == pytest.approx(2 * 1.3)


def test_position_shows_in_the_swap_and_length_in_the_padding() -> None:
    fair = both_ways(Judge(0), SCENES, TERSE, POLITE)
    placed = both_ways(Judge(0, position=1.0), SCENES, TERSE, POLITE)
    longer = both_ways(Judge(0, length=0.3), SCENES, TERSE, POLITE)
    assert position_bias(fair)["first"] == pytest.approx(0.5, abs=0.06)
    assert position_bias(placed)["first"] == pytest.approx(expit(1), abs=0.06)
    assert position_bias(longer)["first"] == pytest.approx(0.5, abs=0.06)
    assert placed.mean() == pytest.approx(0.5, abs=0.06)
    assert longer.mean() < 0.15  # the same claims, in fewer words


def test_consistent_judges_never_change_and_ties_say_nothing() -> None:
    assert position_bias(np.array([[1, 1], [0, 0]])) == {"first": 0.5, "changed": 0.0}
    assert position_bias(np.array([[1, 0], [0.5, 0.5]])) == {"first": 1.0, "changed": 0.5}
    with pytest.raises(ValueError, match="got ties only"):
        position_bias(np.full((3, 2), 0.5))


def test_restyled_captions_claim_the_same() -> None:
    for scene, caption in zip(SCENES[:50], TERSE, strict=False):
        for style in ("plain", "polite", "rambling"):
            padded = restyled(caption, style)
            assert check(padded, scene).claims == check(caption, scene).claims
            assert parse(padded).style == style and restyled(padded, "terse") == caption
    assert restyled("not a caption", "plain") is None
    assert restyled(say(describe(SCENES[0], "detailed")), "plain") is None
    assert restyled(TERSE[0], "relation") is None


def test_a_judge_that_likes_its_own_model_adds_its_likelihood() -> None:
    model = load_pretrained_model("tiny", device="cpu")
    scene, pair = SCENES[1], [TERSE[1], POLITE[1]]
    lead = []
    for caption in pair:
        ids, m = model.tokens([caption])
        with torch.no_grad():
            states = model.states(model.prefix([scene]), ids)
            log_p = log_prob(model.logits(states[:, :-1]), ids)
        lead.append((log_p * m).sum().item() / m.sum().item())
    got = Judge(own=2.0, model=model).probability(scene, pair)
    assert got == pytest.approx(expit(2 * (lead[0] - lead[1])), abs=1e-5)
    with pytest.raises(ValueError, match="model: expected the model"):
        Judge(own=1.0)
