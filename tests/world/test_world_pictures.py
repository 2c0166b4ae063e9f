"""The pictures: one scene at both sizes, stickers where the scene says, artwork that is there and named."""

from __future__ import annotations

import re

import numpy as np
import pytest

from mmbook.world import ARTWORK, KINDS, NAMES_ZH, SIDE, Scene, SceneBatch, Sticker, render, sample_scenes
from mmbook.world.scenes import BIG, SMALL
from mmbook.world.stickers import BACKGROUND, atlas_path, tiles

ROOM = {True: SIDE // 2 - BIG, False: SIDE // 2 - SMALL}


@pytest.mark.parametrize("artwork", ARTWORK)
def test_both_sizes_show_the_same_scene(artwork: str) -> None:
    scenes = sample_scenes(200, 1, artwork)
    for_model = render(scenes, 48).astype(float)
    for_people = render(scenes, 240).reshape(200, 48, 5, 48, 5, 3).mean((2, 4))
    error = abs(for_model - for_people)
    assert error.max() < 45 and error.mean((1, 2, 3)).max() < 3  # of 255; edges are blurred differently
    strangers = abs(np.roll(for_model, 1, 0) - for_people).mean((1, 2, 3))
    assert strangers.mean() > 20 and (strangers > error.mean((1, 2, 3))).all()


@pytest.mark.parametrize("artwork", ARTWORK)
@pytest.mark.parametrize("size", [48, 240])
def test_a_sticker_stands_where_the_scene_says_and_nowhere_else(artwork: str, size: int) -> None:
    rng = np.random.default_rng(0)
    stickers = []
    for i, kind in enumerate(KINDS):
        big = bool(i % 2)
        dx, dy = (int(d) for d in rng.integers(0, ROOM[big] + 1, 2))
        stickers.append(Sticker(kind, i % 4, big, dx, dy))
    corners = [Sticker("cat", q, b, d, d) for q in range(4) for b in (True, False) for d in (0, ROOM[b])]
    stickers += corners
    pictures = render([Scene((s,), artwork) for s in stickers], size)
    scale = size // SIDE
    for s, picture in zip(stickers, pictures, strict=True):
        inked = (picture != BACKGROUND).any(-1)
        rows, columns = np.flatnonzero(inked.any(1)), np.flatnonzero(inked.any(0))
        width = BIG if s.big else SMALL
        left, top = s.quarter % 2 * 24 + s.dx, s.quarter // 2 * 24 + s.dy
        assert left * scale <= columns[0] and columns[-1] < (left + width) * scale
        assert top * scale <= rows[0] and rows[-1] < (top + width) * scale
        tall, wide = rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1
        assert width * scale - max(tall, wide) <= 2 * scale  # it fills its place in one direction
        assert (left + width) <= s.quarter % 2 * 24 + 24 and (top + width) <= s.quarter // 2 * 24 + 24


@pytest.mark.parametrize("size", [48, 96])
def test_a_batch_is_drawn_as_each_scene_alone(size: int) -> None:
    scenes = sample_scenes(60, 2, ARTWORK)
    together = render(scenes, size)
    assert together.shape == (60, size, size, 3) and together.dtype == np.uint8
    assert np.array_equal(together, np.concatenate([render([scene], size) for scene in scenes]))
    assert np.array_equal(together, render(list(scenes), size))
    assert np.array_equal(together[::-1], render(scenes[::-1], size))


def test_stickers_of_a_scene_do_not_disturb_one_another() -> None:
    scenes = [s for s in sample_scenes(80, 3) if len(s.stickers) == 3]
    for scene, picture in zip(scenes, render(scenes), strict=True):
        alone = render([Scene((s,), scene.artwork) for s in scene.stickers])
        for s, one in zip(scene.stickers, alone, strict=True):
            rows = slice(s.quarter // 2 * 24, s.quarter // 2 * 24 + 24)
            columns = slice(s.quarter % 2 * 24, s.quarter % 2 * 24 + 24)
            assert np.array_equal(picture[rows, columns], one[rows, columns])


def test_no_scene_no_picture_and_no_odd_sizes() -> None:
    assert render(SceneBatch.of([])).shape == (0, 48, 48, 3)
    with pytest.raises(ValueError, match="size: expected a multiple of 48 pixels, got 100"):
        render(sample_scenes(1, 0), 100)


@pytest.mark.parametrize("artwork", ARTWORK)
def test_every_kind_has_a_drawing_of_its_own(artwork: str) -> None:
    sheet = tiles(artwork, 32).astype(float)
    assert (abs(sheet - BACKGROUND).max(-1) > 40).mean((1, 2)).min() > 0.1
    apart = abs(sheet[:, None] - sheet[None]).mean((2, 3, 4)) + 1e9 * np.eye(len(KINDS))
    assert apart.min() > 10


def test_the_artworks_differ_from_one_another() -> None:
    sheets = np.stack([tiles(artwork, 32).astype(float) for artwork in ARTWORK])
    for i in range(4):
        for j in range(i):
            assert abs(sheets[i] - sheets[j]).mean((1, 2, 3)).min() > 5


def test_names_are_one_word_and_unique_in_both_languages() -> None:
    assert len(KINDS) >= 32 and len(set(KINDS)) == len(KINDS)
    assert all(re.fullmatch("[a-z]+", kind) for kind in KINDS)
    assert set(NAMES_ZH) == set(KINDS) and len(set(NAMES_ZH.values())) == len(KINDS)
    assert all(re.fullmatch("[\u4e00-\u9fff]+", name) for name in NAMES_ZH.values())


def test_the_licence_page_names_every_sheet_and_share_alike_art_lies_apart() -> None:
    folder = atlas_path("noto").parent
    page = (folder / "LICENSES.md").read_text(encoding="utf-8")
    sheets = {path.relative_to(folder).as_posix() for path in folder.rglob("*.png")}
    assert sheets == {atlas_path(artwork).relative_to(folder).as_posix() for artwork in ARTWORK}
    rows = {row.split("`")[1]: row for row in page.splitlines() if row.startswith("| `")}
    assert set(rows) == sheets | {"kinds.json"}
    for sheet, row in rows.items():
        assert ("ShareAlike" in row) == sheet.startswith("share-alike/")
        assert re.search("Apache License 2.0|Attribution 4.0|MIT|ShareAlike 4.0", row)
    with pytest.raises(ValueError, match="artwork: expected one of"):
        atlas_path("oil")
