"""The scenes: what can exist, what is drawn how often, and that seeds and purposes are kept apart."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.stats import chisquare

from mmbook.world import (
    ARTWORK,
    HELD_OUT_ARTWORK,
    KINDS,
    STYLE_SHARES,
    STYLES,
    TRAIN_ARTWORK,
    Scene,
    SceneBatch,
    Sticker,
    careless_captions,
    parse,
    sample_scenes,
)
from mmbook.world.scenes import COUNT_SHARES, generator

N = 30_000
UNLIKELY = 1e-4  # with a fixed seed: a fair sampler passes, a skewed one does not


@pytest.fixture(scope="module")
def batch() -> SceneBatch:
    return sample_scenes(N, 11)


def p_value(values: np.ndarray, shares: list[float]) -> float:
    counts = np.bincount(values, minlength=len(shares))
    assert len(counts) == len(shares)
    return chisquare(counts, np.array(shares) * len(values)).pvalue


def test_every_scene_can_exist(batch: SceneBatch) -> None:
    assert (
        len(list(batch[:3000])) == 3000
    )  # building each Scene checks kinds, quarters, order, sizes, offsets
    there = batch.kind >= 0
    assert (np.diff(there.astype(int), axis=1) <= 0).all()  # absent stickers come last
    for i in range(3):
        for j in range(i):
            both = there[:, i] & there[:, j]
            assert (batch.kind[both, i] != batch.kind[both, j]).all()
            assert (batch.quarter[both, i] > batch.quarter[both, j]).all()


def test_everything_is_drawn_as_often_as_it_should_be(batch: SceneBatch) -> None:
    there = batch.kind >= 0
    count = there.sum(1)
    assert p_value(count - 1, list(COUNT_SHARES)) > UNLIKELY
    for slot in range(3):
        assert p_value(batch.kind[there[:, slot], slot], [1 / 32] * 32) > UNLIKELY
    groups = batch.kind[count > 1, 0] // 8 * 4 + batch.kind[count > 1, 1] // 8
    assert p_value(groups, PAIRS) > UNLIKELY
    three = batch.kind[count == 3]
    _, order = np.unique(three.argsort(1) @ [9, 3, 1], return_inverse=True)
    assert p_value(order, [1 / 6] * 6) > UNLIKELY
    for n, choices in ((1, 4), (2, 6), (3, 4)):
        sets = (1 << batch.quarter[count == n, :n]).sum(1)
        _, which = np.unique(sets, return_inverse=True)
        assert p_value(which, [1 / choices] * choices) > UNLIKELY
    assert p_value(batch.big[there].astype(int), [1 / 2] * 2) > UNLIKELY
    for offset in (batch.dx, batch.dy):
        assert p_value(offset[there & batch.big], [1 / 3] * 3) > UNLIKELY
        assert p_value(offset[there & ~batch.big], [1 / 11] * 11) > UNLIKELY
    assert p_value(batch.artwork, [1 / 3] * 3) > UNLIKELY


# Two different kinds in eight kinds each: the same group of eight is a little rarer than another one.
PAIRS = [(8 * 7 if i == j else 8 * 8) / (32 * 31) for i in range(4) for j in range(4)]


def test_a_skewed_sampler_would_be_noticed(batch: SceneBatch) -> None:
    kinds = batch.kind[batch.kind >= 0].copy()
    kinds[:400] = 6  # less than one in a hundred
    assert p_value(kinds, [1 / 32] * 32) < UNLIKELY


def test_the_held_out_artwork_is_drawn_only_when_asked_for(batch: SceneBatch) -> None:
    assert HELD_OUT_ARTWORK not in TRAIN_ARTWORK and set(ARTWORK) == {*TRAIN_ARTWORK, HELD_OUT_ARTWORK}
    held_out = ARTWORK.index(HELD_OUT_ARTWORK)
    assert (batch.artwork != held_out).all()
    assert (sample_scenes(50, 0, HELD_OUT_ARTWORK).artwork == held_out).all()
    assert {s.artwork for s in sample_scenes(50, 0, ("noto", HELD_OUT_ARTWORK))} == {"noto", HELD_OUT_ARTWORK}


def same(a: SceneBatch, b: SceneBatch) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(vars(a).values(), vars(b).values(), strict=True))


def test_a_seed_fixes_the_scenes_and_another_changes_them() -> None:
    assert same(sample_scenes(100, 3), sample_scenes(100, 3))
    assert same(sample_scenes(100, np.random.default_rng(3)), sample_scenes(100, np.random.default_rng(3)))
    assert not same(sample_scenes(100, 3), sample_scenes(100, 4))
    rng = np.random.default_rng(3)
    assert not same(sample_scenes(100, rng), sample_scenes(100, rng))  # a generator goes on
    for wrong in (1.5, "1", None, True):
        with pytest.raises(TypeError, match="seed: expected an int or a numpy Generator"):
            sample_scenes(1, wrong)


def test_one_seed_gives_every_purpose_numbers_of_its_own() -> None:
    draws = [generator(7, purpose).random(4000) for purpose in ("scenes", "captions", "annotator")]
    assert abs(np.corrcoef(draws) - np.eye(3)).max() < 0.06


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_style_does_not_depend_on_the_scene_drawn_with_the_same_seed(seed: int) -> None:
    scenes = sample_scenes(6000, seed)
    captions = careless_captions(scenes, seed)
    assert any(caption.endswith("is all alone.") for caption in captions)
    styles = np.array([STYLES.index(parse(caption).style) for caption in captions])
    shares = [STYLE_SHARES[style] for style in STYLES]
    count = (scenes.kind >= 0).sum(1)
    for n in (1, 2, 3):
        assert p_value(styles[count == n], shares) > UNLIKELY


def test_scenes_go_through_json_and_arrays_unchanged() -> None:
    scenes = list(sample_scenes(200, 1, ARTWORK))
    assert [Scene.from_json(json.loads(json.dumps(s.to_json()))) for s in scenes] == scenes
    batch = SceneBatch.of(scenes)
    assert list(batch) == scenes and len(batch) == 200
    assert batch[-1] == scenes[-1] and list(batch[10:20]) == scenes[10:20]
    assert list(batch[np.array([3, 1, 3])]) == [scenes[3], scenes[1], scenes[3]]
    assert list(batch[np.arange(200) % 2 == 0]) == scenes[::2]
    assert list(batch[:2].repeat(2)) == [scenes[0], scenes[0], scenes[1], scenes[1]]
    assert len(SceneBatch.of([])) == 0 and len(sample_scenes(0, 0)) == 0


GOOD = {"kind": "cat", "quarter": 0, "big": True, "dx": 0, "dy": 2}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "dragon"}, r"scene.stickers\[0\]: kind: expected one of the 32 .* got 'dragon'"),
        ({"kind": ["cat"]}, r"scene.stickers\[0\]: kind: expected"),
        ({"quarter": 4}, r"scene.stickers\[0\]: quarter: expected 0, 1, 2 or 3, got 4"),
        ({"quarter": 1.0}, r"scene.stickers\[0\]: quarter: expected"),
        ({"big": "yes"}, r"scene.stickers\[0\]: big: expected true or false, got 'yes'"),
        ({"dx": 3}, r"scene.stickers\[0\]: dx: expected a whole number from 0 to 2, got 3"),
        ({"dy": -1}, r"scene.stickers\[0\]: dy: expected"),
        ({"dx": True}, r"scene.stickers\[0\]: dx: expected"),
        ({"colour": "red"}, r"scene.stickers\[0\]: .*colour"),
    ],
)
def test_an_impossible_sticker_names_its_field(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Scene.from_json({"artwork": "noto", "stickers": [{**GOOD, **change}]})


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, r"scene: expected \{'artwork'"),
        ({"artwork": "noto"}, r"scene: expected \{'artwork'"),
        ({"artwork": "noto", "stickers": []}, "scene.stickers: expected one to three, got 0"),
        ({"artwork": "noto", "stickers": ["cat"]}, r"scene.stickers\[0\]: "),
        ({"artwork": "oil", "stickers": [GOOD]}, "scene.artwork: expected one of noto, .* got 'oil'"),
        ({"stickers": [GOOD, GOOD]}, "scene.stickers: expected different quarters in reading order"),
        ({"stickers": [GOOD, {**GOOD, "quarter": 1}]}, "scene.stickers: expected different kinds"),
        (
            {"stickers": [{**GOOD, "quarter": 1}, {**GOOD, "kind": "dog"}]},
            "different quarters in reading order",
        ),
    ],
)
def test_an_impossible_scene_names_its_field(data: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Scene.from_json(data)


def test_impossible_requests_are_refused() -> None:
    with pytest.raises(ValueError, match="n: expected a number of scenes, got -1"):
        sample_scenes(-1, 0)
    for artwork in ("oil", (), ("noto", "oil")):
        with pytest.raises(ValueError, match="artwork: expected some of"):
            sample_scenes(1, 0, artwork)


def test_stickers_are_frozen_and_scenes_know_their_kinds() -> None:
    scene = Scene((Sticker("cat", 0, True), Sticker("bus", 2, False, 10, 10)))
    assert scene.kinds == ("cat", "bus") and set(scene.kinds) <= set(KINDS)
    assert hash(scene) == hash(Scene.from_json(scene.to_json()))
