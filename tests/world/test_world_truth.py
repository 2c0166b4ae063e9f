"""The truth checker against a second reading of captions, written another way."""

from __future__ import annotations

import math
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmbook.world import (
    KINDS,
    STYLES,
    Check,
    Scene,
    Statement,
    Sticker,
    careless_captions,
    check,
    describe,
    sample_scenes,
    say,
    score,
)
from mmbook.world.captions import RELATIONS

CENTRES = {0: (12, 12), 1: (36, 12), 2: (12, 36), 3: (36, 36)}  # x to the right, y down
WORDS = {(12, 12): "top left", (36, 12): "top right", (12, 36): "bottom left", (36, 36): "bottom right"}


def everything_true(scene: Scene) -> set[tuple]:
    """All atomic facts of a scene."""
    facts: set[tuple] = set()
    for s in scene.stickers:
        x, y = CENTRES[s.quarter]
        facts |= {("there", s.kind), (s.kind, "big" if s.big else "small"), (s.kind, WORDS[x, y])}
        for other in scene.stickers:
            u, v = CENTRES[other.quarter]
            facts |= {
                (s.kind, word, other.kind)
                for word, holds in {"left": x < u, "right": x > u, "above": y < v, "below": y > v}.items()
                if holds
            }
    if len(scene.stickers) == 1:
        facts.add((scene.stickers[0].kind, "alone"))
    return facts


def claims_of(caption: str) -> list[tuple]:
    """The atomic claims of a grammatical caption, read word by word from the left."""
    words = caption.replace(",", "").replace(".", "").split()
    named = [(i, word) for i, word in enumerate(words) if word in KINDS]
    claims: list[tuple] = []
    seen: Counter = Counter()
    for i, kind in named:
        seen[kind] += 1
        claims.append(("there", kind) if seen[kind] == 1 else ("there", kind, "again"))
        if words[i + 1 : i + 3] == ["at", "the"]:
            claims += [(kind, words[i - 1]), (kind, " ".join(words[i + 3 : i + 5]))]
    for (i, first), (j, second) in pairwise(named):
        between = [word for word in words[i:j] if word in ("left", "right", "above", "below")]
        if "is" in words[i:j]:
            claims.append((first, between[0], second))
    if "alone" in words:
        claims.append((named[0][1], "alone"))
    return claims


def slowly(caption: str, scene: Scene) -> tuple[int, int, float, bool, bool]:
    facts, claims = everything_true(scene), claims_of(caption)
    wrong = sum(claim not in facts for claim in claims)
    there = [s.kind for s in scene.stickers]
    coverage = sum(("there", kind) in claims for kind in there) / len(there)
    return len(claims), wrong, coverage, wrong == 0, wrong == 0 and coverage == 1


def quickly(verdict: Check) -> tuple[int, int, float, bool, bool]:
    return len(verdict.claims), verdict.wrong, verdict.coverage, verdict.true, verdict.full


@st.composite
def scenes(draw: st.DrawFn) -> Scene:
    n = draw(st.integers(1, 3))
    kinds = draw(st.lists(st.sampled_from(KINDS[:6]), min_size=n, max_size=n, unique=True))
    quarters = sorted(draw(st.lists(st.integers(0, 3), min_size=n, max_size=n, unique=True)))
    return Scene(
        tuple(Sticker(k, q, draw(st.booleans()), 1, 2) for k, q in zip(kinds, quarters, strict=True)),
        draw(st.sampled_from(("noto", "openmoji"))),
    )


@st.composite
def remarks(draw: st.DrawFn) -> tuple[Scene, Statement]:
    """A scene and a statement that is often true of it in part."""
    scene, style = draw(scenes()), draw(st.sampled_from(STYLES))
    where = {s.kind: s for s in scene.stickers}
    kinds = tuple(draw(st.lists(st.sampled_from([*scene.kinds, KINDS[6]]), min_size=1, max_size=4)))
    other = Sticker(KINDS[6], 0, True)
    big, quarters = (), ()
    if style == "detailed":
        big = tuple(draw(st.sampled_from([where.get(k, other).big, False])) for k in kinds)
        quarters = tuple(draw(st.sampled_from([where.get(k, other).quarter, 3])) for k in kinds)
    links = len(kinds) - 1 if style == "relation" else 0
    relations = tuple(draw(st.lists(st.sampled_from(RELATIONS), min_size=links, max_size=links)))
    return scene, Statement(style, kinds, big, quarters, relations)


@given(remarks())
@settings(max_examples=600, deadline=None)
def test_the_checker_agrees_with_membership_in_everything_that_is_true(
    remark: tuple[Scene, Statement],
) -> None:
    scene, statement = remark
    verdict = check(say(statement), scene)
    assert verdict.style == statement.style
    assert quickly(verdict) == slowly(say(statement), scene)
    assert verdict.claim_precision == pytest.approx(1 - verdict.wrong / len(verdict.claims))
    assert verdict.utility == pytest.approx(3 * verdict.coverage - 1.5 * verdict.wrong)
    assert verdict.true or not verdict.full
    assert verdict.true == (verdict.claim_precision == 1)


def test_the_two_readings_agree_on_thousands_of_training_captions() -> None:
    batch = sample_scenes(3000, 5)
    captions = careless_captions(batch, 6)
    verdicts = [check(caption, scene) for caption, scene in zip(captions, batch, strict=True)]
    assert [quickly(v) for v in verdicts] == [slowly(c, s) for c, s in zip(captions, batch, strict=True)]
    strangers = [check(caption, scene) for caption, scene in zip(captions, batch[1:], strict=False)]
    assert [quickly(v) for v in strangers] == [
        slowly(c, s) for c, s in zip(captions, batch[1:], strict=False)
    ]
    assert 0.5 < sum(v.true for v in verdicts) / 3000 < 0.9
    assert sum(v.true for v in strangers) / 3000 < 0.02


@given(scenes(), st.sampled_from(STYLES))
@settings(max_examples=200, deadline=None)
def test_a_description_is_full(scene: Scene, style: str) -> None:
    verdict = check(say(describe(scene, style)), scene)
    assert verdict.full and verdict.true and verdict.coverage == 1 and verdict.utility == 3


SCENE = Scene((Sticker("cat", 0, True), Sticker("bus", 3, False)))


@pytest.mark.parametrize(
    ("caption", "style", "true", "full", "coverage", "precision", "utility"),
    [
        ("Cat, bus.", "terse", True, True, 1, 1, 3),
        ("bus, cat.", "terse", True, True, 1, 1, 3),
        ("a cat.", "plain", True, False, 0.5, 1, 1.5),
        ("a cat and a cat.", "plain", False, False, 0.5, 1 / 2, 0),
        ("cat, bus, bus.", "terse", False, False, 1, 2 / 3, 1.5),
        ("cat, dog.", "terse", False, False, 0.5, 1 / 2, 0),
        ("fox, dog.", "terse", False, False, 0, 0, -3),
        ("a cat is left of a bus.", "relation", True, True, 1, 1, 3),
        ("a cat is above a bus.", "relation", True, True, 1, 1, 3),
        ("a cat is below a bus.", "relation", False, False, 1, 2 / 3, 1.5),
        ("a cat is all alone.", "relation", False, False, 0.5, 1 / 2, 0),
        ("a big cat at the top left.", "detailed", True, False, 0.5, 1, 1.5),
        ("a small cat at the top right.", "detailed", False, False, 0.5, 1 / 3, -1.5),
    ],
)
def test_verdicts_by_hand(
    caption: str, style: str, true: bool, full: bool, coverage: float, precision: float, utility: float
) -> None:
    verdict = check(caption, SCENE)
    assert verdict.grammatical and verdict.style == style
    assert (verdict.true, verdict.full, verdict.coverage) == (true, full, coverage)
    assert verdict.claim_precision == pytest.approx(precision)
    assert verdict.utility == pytest.approx(utility)


def test_an_ungrammatical_caption_claims_nothing_and_costs_most() -> None:
    verdict = check("an cat and a bus.", SCENE)
    assert not (verdict.grammatical or verdict.true or verdict.full)
    assert (verdict.style, verdict.claims, verdict.coverage, verdict.utility) == (None, (), 0.0, -3.0)
    assert math.isnan(verdict.claim_precision)


def test_score_averages_the_verdicts() -> None:
    captions = ["cat, bus.", "a cat.", "fox, dog.", "cat bus"]
    out = score(captions, [SCENE] * 4)
    shares = {style: {"terse": 0.5, "plain": 0.25}.get(style, 0.0) for style in STYLES}
    assert out.pop("style") == shares
    assert out == pytest.approx(
        {
            "grammatical": 3 / 4,
            "true": 2 / 4,
            "full": 1 / 4,
            "coverage": (1 + 0.5 + 0 + 0) / 4,
            "claim_precision": 3 / 5,
            "utility": (3 + 1.5 - 3 - 3) / 4,
        }
    )


def test_score_refuses_captions_that_do_not_match_the_scenes() -> None:
    for captions, pictures in ((["cat."], [SCENE] * 2), ([], [])):
        with pytest.raises(ValueError, match="captions: expected one for each of"):
            score(captions, pictures)
