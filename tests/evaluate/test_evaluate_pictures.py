"""The judge of pictures and the readers' tastes, against scenes whose contents are known."""

from __future__ import annotations

import numpy as np
import pytest

from mmbook.evaluate.pictures import NOTHING, PictureReader, come_back, extent, load_judge, verdict, warmth
from mmbook.models.painter import load_painter
from mmbook.world import KINDS, SIDE, Scene, Sticker, render, sample_scenes
from mmbook.world.stickers import BACKGROUND

BLANK = np.broadcast_to(np.array(BACKGROUND, np.uint8), (1, SIDE, SIDE, 3))


@pytest.fixture(scope="module")
def judge():
    return load_judge()


def test_the_judge_names_what_is_drawn(judge):
    scenes = sample_scenes(300, 41)
    found = verdict(judge, render(scenes), scenes)
    assert found["asked"] > 0.97 and found["exact"] > 0.95 and found["extra"] < 0.05
    assert found["big"] == pytest.approx(scenes.big[scenes.kind >= 0].mean(), abs=0.02)


def test_each_quarter_is_named_in_its_place(judge):
    kinds, big = judge.names(render([Scene((Sticker("bus", 1, True), Sticker("key", 2, False)))]))
    assert [KINDS[k] if k != NOTHING else "" for k in kinds[0]] == ["", "bus", "key", ""]
    assert big[0, 1] and not big[0, 2]


def test_an_empty_picture_has_nothing_and_shuffled_requests_fail(judge):
    scenes = sample_scenes(200, 42)
    blank = verdict(judge, np.repeat(BLANK, 200, 0), scenes)
    assert (blank["asked"], blank["exact"], blank["extra"], blank["big"]) == (0, 0, 0, 0)
    wrong = verdict(judge, np.roll(render(scenes), 1, 0), scenes)
    assert wrong["asked"] < 0.15 and wrong["extra"] > 1.5


def test_what_is_asked_counts_once_and_what_is_not_is_extra(judge):
    shown = Scene((Sticker("cat", 0, True), Sticker("dog", 1, True)))
    found = verdict(judge, render([shown]), [Scene((Sticker("cat", 0, True), Sticker("bus", 3, True)))])
    assert found["asked"] == 0.5 and found["extra"] == 1 and found["exact"] == 0


@pytest.mark.parametrize("kind", ["cat", "bus", "apple"])
def test_a_big_sticker_extends_further(kind):
    big, small = (extent(render([Scene((Sticker(kind, 0, b),))]))[0] for b in (True, False))
    assert big >= 18 and small <= 14
    both = extent(render([Scene((Sticker(kind, 0, True), Sticker("dog", 1, False)))]))[0]
    assert small < both < big
    assert extent(BLANK)[0] == 0


def test_red_is_warm_and_blue_is_cold():
    strawberry, fish = (
        warmth(render([Scene((Sticker(k, 0, True),), "noto")]))[0] for k in ("strawberry", "fish")
    )
    assert strawberry > 0.3 and fish < 0 and warmth(BLANK)[0] == 0


def test_a_reader_chooses_by_what_the_codes_draw():
    painter = load_painter()
    big, small = (painter.words(render([Scene((Sticker("apple", 0, b),), "noto")]))[0] for b in (True, False))
    reader, scene = PictureReader(painter, "big"), Scene((Sticker("apple", 0, True),))
    assert reader(scene, [big, small]) == 0 and reader(scene, [small, big]) == 1
    assert reader(scene, [big, big]) == "tie"
    with pytest.raises(ValueError, match="taste: expected one of big, warm, got 'loud'"):
        PictureReader(painter, "loud")


def test_come_back_counts_the_kinds_that_a_captioner_names():
    """Of five kinds it names two; a kind that is not there, and nonsense, count for nothing."""

    class Captioner:
        def sample(self, pictures, greedy):
            assert greedy and len(pictures) == 3
            return ["a cat and a bus.", "a fish.", "bus the cat a."]

    quarters = [("cat", "dog"), ("fish",), ("cat", "bus")]
    scenes = [Scene(tuple(Sticker(kind, i, big=False) for i, kind in enumerate(kinds))) for kinds in quarters]
    assert come_back(Captioner(), np.zeros((3, 48, 48, 3), np.uint8), scenes) == 2 / 5
