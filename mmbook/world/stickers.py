"""The stickers: 32 kinds in four artwork styles, three to train on and one held out."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

TRAIN_ARTWORK = ("noto", "twemoji", "fluent")
HELD_OUT_ARTWORK = "openmoji"
ARTWORK = (*TRAIN_ARTWORK, HELD_OUT_ARTWORK)

_FOLDER = Path(__file__).parent / "artwork"
_TABLE = json.loads((_FOLDER / "kinds.json").read_text(encoding="utf-8"))
KINDS: tuple[str, ...] = tuple(row["kind"] for row in _TABLE)
NAMES_ZH: dict[str, str] = {row["kind"]: row["zh"] for row in _TABLE}

TILE, COLUMNS = 128, 8
BACKGROUND = (250, 247, 238)


def atlas_path(artwork: str) -> Path:
    """The sheet of one artwork style; the held-out one has a share-alike licence and a folder of its own."""
    if artwork not in ARTWORK:
        raise ValueError(f"artwork: expected one of {', '.join(ARTWORK)}, got {artwork!r}")
    return _FOLDER / ("share-alike" if artwork == HELD_OUT_ARTWORK else "") / f"{artwork}.png"


@cache
def tiles(artwork: str, size: int) -> np.ndarray:
    """All kinds of one artwork style on the scene's background, uint8 (32, size, size, 3)."""
    with Image.open(atlas_path(artwork)) as picture:
        sheet = picture.convert("RGBA")
    out = np.empty((len(KINDS), size, size, 3), np.uint8)
    for i in range(len(KINDS)):
        left, top = i % COLUMNS * TILE, i // COLUMNS * TILE
        tile = Image.new("RGBA", (TILE, TILE), (*BACKGROUND, 255))
        tile.alpha_composite(sheet.crop((left, top, left + TILE, top + TILE)))
        out[i] = np.asarray(tile.convert("RGB").resize((size, size), Image.Resampling.BOX))
    return out
