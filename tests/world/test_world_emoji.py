"""The emoji set: made from small packages written here, read back, and, where fetched, its known counts."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from mmbook.world.emoji import SENTIMENT, draw, emoji_pictures, read_emoji
from mmbook.world.fetch import fetched
from mmbook.world.sheets import plain, read_sheet, write_sheet
from mmbook.world.stickers import ARTWORK

needs_emoji = pytest.mark.skipif(
    not fetched("emoji").is_dir(), reason="the emoji were not fetched: python -m mmbook fetch emoji"
)
ROWS = [("1F600", 0), ("00A9-FE0F", 8), ("1F9D1-200D-1F680", 1), ("1F3FB", 2), ("1F1E9", None), ("1F480", 0)]
FILLS = {"noto": "#ff0000", "twemoji": "#00ff00", "fluent": "#0000ff", "openmoji": "#000000"}


@pytest.fixture
def packages(tmp_path):
    """What the packages hold of six rows; one style lacks the last, and draws another as an alias."""
    for artwork, fill in FILLS.items():
        characters = {code.lower(): f"n{i}" for i, (code, _) in enumerate(ROWS)}
        if artwork == "fluent":
            characters.pop("1f480")
        body = f'<rect width="8" height="16" fill="{fill}" fill-opacity="0.5"/>'
        icons = {"icons": {f"n{i}": {"body": body} for i in range(len(ROWS))}, "height": 16}
        if artwork == "noto":
            icons["icons"].pop("n0")
            icons["aliases"] = {"n0": {"parent": "n1"}}
        (folder := tmp_path / "packages" / artwork).mkdir(parents=True)
        (folder / "chars.json").write_text(json.dumps(characters))
        (folder / "icons.json").write_text(json.dumps(icons))
    for language in ("en", "zh"):
        rows = []
        for code, group in ROWS:
            character = "".join(chr(int(part, 16)) for part in code.split("-"))
            row = {
                "hexcode": code,
                "emoji": character,
                "label": f"{language} {code}",
                "tags": ["t", language],
            }
            rows.append(row | ({} if group is None else {"group": group}))
        (folder := tmp_path / "packages" / language).mkdir()
        (folder / "data.json").write_text(json.dumps(rows))
    groups = [{"order": order, "key": f"group-{order}"} for order in range(10)]
    (tmp_path / "packages" / "en" / "messages.json").write_text(json.dumps({"groups": groups}))
    head = "Emoji,Unicode codepoint,Occurrences,Position,Negative,Neutral,Positive,Unicode name,Unicode block"
    lines = f"{head}\n©,0xa9,9,0.5,1,3,6,COPYRIGHT SIGN,Latin\n?,0x1f47e,9,0.5,1,1,1,ALIEN MONSTER,Other\n"
    (tmp_path / "packages" / SENTIMENT).write_text(lines, encoding="utf-8")
    return tmp_path / "packages"


def test_what_all_styles_have_is_drawn_on_white_with_names_and_sentiment(packages, tmp_path):
    pytest.importorskip("resvg_py")
    (folder := tmp_path / "out").mkdir()
    draw(packages, folder)
    emoji = read_emoji(folder)
    assert [e.code for e in emoji] == ["1f600", "a9", "1f9d1-200d-1f680"]
    assert emoji[1].en == "en 00A9-FE0F" and emoji[1].zh == "zh 00A9-FE0F"
    assert emoji[1].group == "group-8" and emoji[1].tags == ("t", "en") and emoji[1].character == "©\ufe0f"
    assert emoji[1].labels == (1, 3, 6) and emoji[1].sentiment == pytest.approx(0.5)
    assert emoji[0].labels == (0, 0, 0) and emoji[0].sentiment is None
    pictures = emoji_pictures(folder=folder)
    assert pictures.shape == (4, 3, 64, 64, 3) and pictures.dtype == np.uint8
    for style, artwork in enumerate(ARTWORK):
        ink = tuple(int(FILLS[artwork][i : i + 2], 16) for i in (1, 3, 5))
        seen = [(c + 255) / 2 for c in ink]  # half transparent on white
        assert np.abs(pictures[style, :, :, 1:31] - np.array(seen)).max() <= 1
        assert (pictures[style, :, :, 33:] == 255).all()
    assert emoji_pictures(16, folder).shape == (4, 3, 16, 16, 3)
    assert (folder / "share-alike" / "openmoji.png").is_file()
    assert (folder / "share-alike" / SENTIMENT).is_file()


def test_a_sheet_keeps_each_tile_and_fits_pictures_in_whole(tmp_path):
    rng = np.random.default_rng(0)
    tiles = rng.integers(0, 256, (7, 8, 8, 3), np.uint8)
    write_sheet([Image.fromarray(tile) for tile in tiles], 8, tmp_path / "a" / "sheet.png")
    assert np.array_equal(read_sheet(tmp_path / "a" / "sheet.png", 7, 8), tiles)
    half = read_sheet(tmp_path / "a" / "sheet.png", 7, 4)
    assert np.abs(half - tiles.reshape(7, 4, 2, 4, 2, 3).mean((2, 4))).max() <= 1.01  # rounded twice
    with pytest.raises(ValueError, match="size: expected 1 to 8 pixels, got 9"):
        read_sheet(tmp_path / "a" / "sheet.png", 7, 9)
    write_sheet([Image.new("RGB", (20, 10), "red")], 8, tmp_path / "wide.png")
    wide = read_sheet(tmp_path / "wide.png", 1, 8)[0]
    assert (wide[2:6] == (255, 0, 0)).all() and (wide[:2] == 255).all() and (wide[6:] == 255).all()


def test_code_points_are_compared_in_one_form():
    assert plain("00A9-FE0F") == "a9" and plain("1F9D1-200D-1F680") == "1f9d1-200d-1f680"


def test_what_was_not_fetched_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="python -m mmbook fetch emoji"):
        read_emoji(tmp_path / "nowhere")


@needs_emoji
def test_the_fetched_set_has_its_known_counts():
    emoji = read_emoji()
    assert len(emoji) == len({e.en for e in emoji}) == len({e.zh for e in emoji}) == 1594
    groups = {group: sum(e.group == group for e in emoji) for group in {e.group for e in emoji}}
    assert groups["people-body"] == 342 and groups["animals-nature"] == 158 and "component" not in groups
    rated = [sum(e.labels) for e in emoji if sum(e.labels)]
    assert (len(rated), sum(n >= 5 for n in rated), sum(rated)) == (729, 608, 146_318)
    by_name = {e.en: e for e in emoji}
    assert by_name["grinning face"].zh == "嘿嘿" and by_name["face with tears of joy"].character == "😂"
    assert by_name["face with tears of joy"].sentiment == pytest.approx((6845 - 3614) / (3614 + 4163 + 6845))


@needs_emoji
def test_the_styles_of_the_fetched_set_stand_in_the_same_order():
    """The nearest picture of another style is the same emoji far more often than with the order shifted."""
    pictures = emoji_pictures(8).reshape(4, -1, 8 * 8 * 3).astype(np.float32)
    pictures -= pictures.mean(2, keepdims=True)
    pictures /= np.linalg.norm(pictures, axis=2, keepdims=True) + 1e-6
    for other in (1, 2, 3):
        nearest = (pictures[0] @ pictures[other].T).argmax(1)
        right = (nearest == np.arange(len(nearest))).mean()
        assert right > 20 * max((np.roll(nearest, 500) == np.arange(len(nearest))).mean(), 1 / 1594)
