"""Rasterise the sticker artwork from the npm packages of four emoji sets into one picture per set.

Run once by a maintainer: `npm pack` the four `@iconify-json` packages and `emojibase-data`, unpack each into
FOLDER/<name>/, install `resvg_py`, then `python -m mmbook.world.make_atlas FOLDER`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from PIL import Image

from mmbook.world.sheets import draw_icon, plain

TILE, COLUMNS = 128, 8
PACKAGES = {"noto": "noto", "twemoji": "twemoji", "fluent": "fluent-emoji-flat", "openmoji": "openmoji"}
# A kind is named by the last word of its English CLDR name; only "red apple" has more than one.
CHARACTERS = {
    "cat": "🐈",
    "tiger": "🐅",
    "dog": "🐕",
    "fox": "🦊",
    "panda": "🐼",
    "monkey": "🐒",
    "frog": "🐸",
    "owl": "🦉",
    "penguin": "🐧",
    "fish": "🐟",
    "octopus": "🐙",
    "butterfly": "🦋",
    "banana": "🍌",
    "apple": "🍎",
    "strawberry": "🍓",
    "carrot": "🥕",
    "mushroom": "🍄",
    "pizza": "🍕",
    "hamburger": "🍔",
    "doughnut": "🍩",
    "bus": "🚌",
    "taxi": "🚕",
    "bicycle": "🚲",
    "airplane": "✈",
    "rocket": "🚀",
    "sailboat": "⛵",
    "umbrella": "☂",
    "key": "🔑",
    "guitar": "🎸",
    "balloon": "🎈",
    "crown": "👑",
    "sunflower": "🌻",
}


def codepoints(text: str) -> str:
    return "-".join(f"{ord(c):x}" for c in text if ord(c) != 0xFE0F)


def draw(package: Path) -> Image.Image:
    """All kinds of one emoji set as tiles in one transparent picture."""
    icons = json.loads((package / "icons.json").read_text(encoding="utf-8"))
    names = {plain(k): v for k, v in json.loads((package / "chars.json").read_text(encoding="utf-8")).items()}
    sheet = Image.new("RGBA", (COLUMNS * TILE, -(-len(CHARACTERS) // COLUMNS) * TILE))
    for i, character in enumerate(CHARACTERS.values()):
        tile = draw_icon(icons, names[codepoints(character)], TILE)
        tile = tile.crop(tile.getbbox())  # the four sets leave different margins: make sizes comparable
        tile.thumbnail((TILE, TILE), Image.Resampling.LANCZOS)
        if max(tile.size) < TILE:
            scale = TILE / max(tile.size)
            tile = tile.resize([max(1, round(s * scale)) for s in tile.size], Image.Resampling.LANCZOS)
        left, top = (i % COLUMNS) * TILE, (i // COLUMNS) * TILE
        sheet.paste(tile, (left + (TILE - tile.width) // 2, top + (TILE - tile.height) // 2))
    return sheet


def main(folder: Path) -> None:
    here = Path(__file__).parent / "artwork"
    rows = {}
    for language in ("en", "zh"):
        data = json.loads((folder / "emojibase-data" / language / "data.json").read_text(encoding="utf-8"))
        rows[language] = {plain(row["hexcode"]): row["label"] for row in data}
    kinds = [
        {
            "kind": kind,
            "character": character,
            "en": rows["en"][codepoints(character)],
            "zh": rows["zh"][codepoints(character)],
        }
        for kind, character in CHARACTERS.items()
    ]
    for kind in kinds:
        assert kind["en"].split()[-1] == kind["kind"], kind
    (here / "kinds.json").write_text(json.dumps(kinds, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    for artwork, package in PACKAGES.items():
        target = here / ("share-alike" if artwork == "openmoji" else "") / f"{artwork}.png"
        draw(folder / package).save(target, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
