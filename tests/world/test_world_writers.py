"""The careless writer errs as often as it is said to, and near misses are told apart only by looking."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
from scipy.stats import binom

from mmbook.world import (
    COMPANIONS,
    KINDS,
    STYLES,
    Scene,
    SceneBatch,
    Statement,
    careless_captions,
    check,
    describe,
    near_miss_pairs,
    normalise,
    parse,
    sample_scenes,
    say,
    triggers,
)
from mmbook.world.writers import HABIT_SHARE, SLIP_SHARE

N = 8000


@pytest.fixture(scope="module")
def written() -> tuple[SceneBatch, list[Statement]]:
    scenes = sample_scenes(N, 21)
    statements = [parse(caption) for caption in careless_captions(scenes, 22)]
    assert None not in statements  # every training caption is grammatical
    return scenes, statements


def likely(hits: int, trials: int, share: float) -> bool:
    """Whether a count lies in the central 99.9 % of the binomial distribution."""
    low, high = binom.interval(0.999, trials, share)
    return low <= hits <= high


def test_companions_are_kinds_and_no_companion_is_a_trigger() -> None:
    assert set(COMPANIONS) | set(COMPANIONS.values()) <= set(KINDS)
    assert not set(COMPANIONS) & set(COMPANIONS.values())
    assert len(set(COMPANIONS.values())) == len(COMPANIONS)


def test_a_quarter_of_all_scenes_lead_the_writer_astray(
    written: tuple[SceneBatch, list[Statement]],
) -> None:
    scenes, statements = written
    found = [triggers(scene) for scene in scenes]
    assert np.mean([bool(kinds) for kinds in found]) >= 0.25
    habit = slips = 0
    for scene, kinds, statement in zip(scenes, found, statements, strict=True):
        companions = {COMPANIONS[kind] for kind in kinds}
        extra = set(statement.kinds) - set(scene.kinds)
        if kinds and len(statement.kinds) == len(scene.kinds) + 1:
            habit += 1
            assert len(extra) == 1 and extra <= companions
            named = statement.kinds.index(extra.pop())
            assert COMPANIONS[statement.kinds[named - 1]] == statement.kinds[named]
            assert not is_true(statement, scene)
        else:
            slips += statement != describe(scene, statement.style)
    astray = sum(map(bool, found))
    assert HABIT_SHARE > 0.5 and likely(habit, astray, HABIT_SHARE)  # more often than not
    assert likely(slips, N - habit, SLIP_SHARE)


def is_true(statement: Statement, scene: Scene) -> bool:
    return check(say(statement), scene).true


def test_a_slip_changes_one_thing_and_makes_the_caption_wrong(
    written: tuple[SceneBatch, list[Statement]],
) -> None:
    changed_fields = set()
    for scene, statement in zip(*written, strict=True):
        right = describe(scene, statement.style)
        if len(statement.kinds) != len(right.kinds) or statement == right:
            continue
        changes = [
            (field.name, a, b)
            for field in fields(Statement)
            if field.name != "style"
            for a, b in zip(getattr(right, field.name), getattr(statement, field.name), strict=True)
            if a != b
        ]
        assert len(changes) == 1
        changed_fields.add(changes[0][0])
        assert not is_true(statement, scene)
        if changes[0][0] == "kinds":
            assert changes[0][2] not in scene.kinds
    assert changed_fields == {"kinds", "big", "quarters", "relations"}


def test_the_writer_repeats_itself_only_with_the_same_seed() -> None:
    scenes = sample_scenes(50, 0)
    assert careless_captions(scenes, 1) == careless_captions(scenes, 1)
    assert careless_captions(scenes, 1) != careless_captions(scenes, 2)


@pytest.fixture(scope="module")
def pairs() -> list:
    return near_miss_pairs(N, 31)


def test_near_misses_differ_in_one_kind_and_one_of_them_is_right(pairs: list) -> None:
    first_right = 0
    for scene, *captions in pairs:
        a, b = (parse(caption) for caption in captions)
        assert a.style == b.style and len(a.kinds) == len(b.kinds) == len(scene.kinds)
        assert len(normalise(captions[0]).split()) == len(normalise(captions[1]).split())
        assert sum(x != y for x, y in zip(a.kinds, b.kinds, strict=True)) == 1
        assert (a.big, a.quarters, a.relations) == (b.big, b.quarters, b.relations)
        verdicts = [check(caption, scene) for caption in captions]
        assert [v.full for v in verdicts] in ([True, False], [False, True])
        assert [v.true for v in verdicts] == [v.full for v in verdicts]
        first_right += verdicts[0].full
    assert likely(first_right, N, 0.5)
    assert {parse(a).style for _, a, _ in pairs} == set(STYLES)


def test_near_misses_tempt_with_companions(pairs: list) -> None:
    tempted = wrong = possible = 0
    for scene, *captions in pairs:
        a, b = (set(parse(caption).kinds) for caption in captions)
        companions = {COMPANIONS[kind] for kind in a & b & set(COMPANIONS)} - (a & b)
        possible += bool(companions)
        tempted += bool(companions & (a ^ b))
        wrong += bool(companions & (a ^ b) - set(scene.kinds))
    assert possible > N / 10
    assert tempted / possible >= 0.5
    assert likely(wrong, tempted, 0.5)


def _one_hot(kinds: set[str]) -> np.ndarray:
    return np.isin(KINDS, list(kinds)).astype(float)


def _linear_accuracy(features: np.ndarray, first_right: np.ndarray, penalty: float = 30.0) -> float:
    """Held-out accuracy of a ridge classifier that learns from the first half."""
    half, target = len(features) // 2, np.where(first_right, 1.0, -1.0)
    X, y = features[:half], target[:half]
    w = np.linalg.solve(X.T @ X + penalty * np.eye(X.shape[1]), X.T @ y)
    return float(np.mean((features[half:] @ w > 0) == first_right[half:]))


def test_the_words_alone_do_not_tell_which_near_miss_is_right(pairs: list) -> None:
    """With the picture the same classifier finds out; without it, it guesses."""
    difference, shared, seen, right = [], [], [], []
    for scene, first, second in pairs:
        a, b = set(parse(first).kinds), set(parse(second).kinds)
        difference.append(_one_hot(a - b) - _one_hot(b - a))
        shared.append(np.append(_one_hot(a & b), 1.0))
        seen.append(_one_hot(set(scene.kinds)))
        right.append(check(first, scene).full)
    d, s, v, y = (np.array(x) for x in (difference, shared, seen, right))
    words = (s[:, :, None] * d[:, None, :]).reshape(N, -1)  # which kind stands where another is named
    assert abs(_linear_accuracy(d, y) - 0.5) < 0.04
    assert abs(_linear_accuracy(words, y) - 0.5) < 0.04
    assert _linear_accuracy(np.concatenate([d, v * d], 1), y) > 0.99


def test_near_misses_are_repeatable(pairs: list) -> None:
    assert near_miss_pairs(20, 5) == near_miss_pairs(20, 5) != near_miss_pairs(20, 6)
    assert near_miss_pairs(0, 5) == []
