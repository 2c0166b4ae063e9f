"""The 1,594 emoji that four open artwork styles all have, with names, tags and people's sentiment.

Sentiment: Kralj Novak and others 2015, labels by 83 people of tweets with the emoji in them: they say more
of the tweets than of the picture, and most are positive.
"""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mmbook.world.fetch import present
from mmbook.world.sheets import draw_icon, plain, read_sheet, write_sheet
from mmbook.world.stickers import ARTWORK, HELD_OUT_ARTWORK

TILE = 64  # pixels
SENTIMENT = "Emoji_Sentiment_Data_v1.0.csv"
LABELS = ("Negative", "Neutral", "Positive")
COMPONENTS = 2  # the group of what is no emoji by itself: skin tones, hair


@dataclass(frozen=True)
class Emoji:
    """An emoji, its CLDR names and tags, and how many tweets that hold it people found to be what."""

    character: str
    code: str  # code points in hexadecimal, joined by "-"
    en: str
    zh: str
    tags: tuple[str, ...]
    group: str
    labels: tuple[int, ...]  # negative, neutral, positive; all 0 where nobody was asked

    @property
    def sentiment(self) -> float | None:
        """The mean of the labels, from -1 to 1, None without any."""
        return (self.labels[2] - self.labels[0]) / sum(self.labels) if sum(self.labels) else None


def read_emoji(folder: Path | None = None) -> list[Emoji]:
    """All emoji, in Unicode's order. Raises FileNotFoundError when they were not fetched."""
    folder = present("emoji", folder)
    with (folder / "share-alike" / SENTIMENT).open(encoding="utf-8", newline="") as file:
        labels = {
            row["Unicode codepoint"].removeprefix("0x"): tuple(int(row[label]) for label in LABELS)
            for row in csv.DictReader(file)
        }
    rows = json.loads((folder / "emoji.json").read_text(encoding="utf-8"))
    none = (0, 0, 0)
    return [Emoji(**r | {"tags": tuple(r["tags"]), "labels": labels.get(r["code"], none)}) for r in rows]


def emoji_pictures(size: int = TILE, folder: Path | None = None) -> np.ndarray:
    """The pictures of all emoji on white, uint8 (4, N, size, size, 3), in the order of `stickers.ARTWORK`.

    Raises ValueError for a size over 64, FileNotFoundError when they were not fetched.
    """
    folder = present("emoji", folder)
    n = len(json.loads((folder / "emoji.json").read_text(encoding="utf-8")))
    return np.stack([read_sheet(sheet_path(folder, artwork), n, size) for artwork in ARTWORK])


def sheet_path(folder: Path, artwork: str) -> Path:
    """The sheet of one style; the held-out one has a share-alike licence and a folder of its own."""
    return folder / ("share-alike" if artwork == HELD_OUT_ARTWORK else "") / f"{artwork}.png"


def draw(packages: Path, folder: Path) -> None:
    """Make of the packages' files what is read here: names, a sheet for each style, sentiment."""
    english, chinese, messages = (
        json.loads((packages / path).read_text(encoding="utf-8"))
        for path in ("en/data.json", "zh/data.json", "en/messages.json")
    )
    groups = {group["order"]: group["key"] for group in messages["groups"]}
    zh = {row["hexcode"]: row["label"] for row in chinese}
    names = {}
    for artwork in ARTWORK:
        characters = json.loads((packages / artwork / "chars.json").read_text(encoding="utf-8"))
        names[artwork] = {plain(code): name for code, name in characters.items()}
    rows = [
        {"character": row["emoji"], "code": plain(row["hexcode"]), "en": row["label"],
         "zh": zh[row["hexcode"]], "tags": row.get("tags", []), "group": groups[row["group"]]}
        for row in english if row.get("group", COMPONENTS) != COMPONENTS
        and all(plain(row["hexcode"]) in names[artwork] for artwork in ARTWORK)
    ]  # fmt: skip
    (folder / "emoji.json").write_text(json.dumps(rows, ensure_ascii=False, indent=1), encoding="utf-8")
    for artwork in ARTWORK:
        icons = json.loads((packages / artwork / "icons.json").read_text(encoding="utf-8"))
        pictures = [draw_icon(icons, names[artwork][row["code"]], TILE) for row in rows]
        write_sheet(pictures, TILE, sheet_path(folder, artwork))
    (packages / SENTIMENT).rename(folder / "share-alike" / SENTIMENT)
