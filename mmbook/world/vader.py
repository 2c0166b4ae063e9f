"""Short texts, each with the sentiment ratings of some twenty people: the data behind VADER, once fetched.

Source: Hutto and Gilbert 2014. Every text has all its raters' whole numbers from -4 to 4, but who gave which
is not kept. A pair made of them compares one rating of each of two texts, mostly of two people with scales of
their own: noisier than a direct choice between two texts would be, and never asked as one.
"""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mmbook.world.fetch import present
from mmbook.world.scenes import Seed, generator

KINDS = {
    "movies": "movieReviewSnippets",
    "tweets": "tweets",
    "editorials": "nytEditorialSnippets",
    "products": "amazonReviewSnippets",
}
PARTS = {"GroundTruth": 3, "anonDataRatings": 4}  # fields of a line: id, mean, (deviation,) what counts


@dataclass(frozen=True)
class Rated:
    """A text and what people said of it, from -4 (very negative) to 4 (very positive)."""

    text: str
    ratings: tuple[int, ...]

    @property
    def mean(self) -> float:
        """The mean rating."""
        return sum(self.ratings) / len(self.ratings)


def read_ratings(kind: str = "movies", folder: Path | None = None) -> list[Rated]:
    """The rated texts of one kind, each once; texts whose two files state different means are left out.

    Raises ValueError for an unknown kind or a broken line, FileNotFoundError when nothing was fetched.
    """
    if kind not in KINDS:
        raise ValueError(f"kind: expected one of {', '.join(KINDS)}, got {kind!r}")
    folder = present("vader", folder)
    texts, ratings = (_lines(folder / f"{KINDS[kind]}_{p}.txt", n) for p, n in PARTS.items())
    found: dict[str, Rated] = {}
    for row, (where, mean, text) in texts.items():
        if row not in ratings:
            raise ValueError(f"{where}: expected ratings of text {row} in the other file, got none")
        where, _, _, listed = ratings[row]
        try:
            given = json.loads(listed)
        except ValueError:
            given = None
        if not isinstance(given, list) or not given or any(g not in range(-4, 5) for g in given):
            raise ValueError(f"{where}: ratings: expected whole numbers from -4 to 4, got {listed!r}")
        rated = Rated(html.unescape(text), tuple(map(int, given)))
        if abs(rated.mean - float(mean)) < 0.01:
            found.setdefault(rated.text, rated)
    return list(found.values())


def _lines(path: Path, fields: int) -> dict[str, tuple[str, ...]]:
    """By id, where each line stands and its other fields."""
    rows = {}
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, 1):
            parts = line.rstrip("\n").split("\t")
            if len(parts) != fields:
                raise ValueError(f"{path}:{number}: expected {fields} fields between tabs, got {len(parts)}")
            try:
                float(parts[1])
            except ValueError:
                raise ValueError(f"{path}:{number}: mean: expected a number, got {parts[1]!r}") from None
            rows[parts[0]] = (f"{path}:{number}", *parts[1:])
    return rows


def rating_pairs(texts: Sequence[Rated], n: int, seed: Seed, group: int = 2) -> np.ndarray:
    """Draw n pairs (n, 2), rows of the text with the higher and of the one with the lower single rating.

    One real rating is drawn for each of `group` texts, and all of these are compared; ties are left out. With
    2, every pair has texts and ratings of its own; with more, a text read once serves many pairs, which stand
    in a row. Raises ValueError for fewer texts than a group has, or when all ratings are equal.
    """
    if not 2 <= group <= len(texts):
        raise ValueError(f"group: expected 2 to {len(texts)} texts, got {group}")
    if len({rating for text in texts for rating in text.ratings}) < 2:
        raise ValueError("texts: expected ratings that differ, got one and the same")
    rng, pairs, count = generator(seed, "rating pairs"), [np.zeros((0, 2), int)], 0
    while count < n:
        order = rng.permutation(len(texts))
        for rows in order[: len(order) // group * group].reshape(-1, group):
            drawn = np.array([rng.choice(texts[row].ratings) for row in rows])
            pairs.append(rows[np.argwhere(drawn[:, None] > drawn)])
            count += len(pairs[-1])
    return np.concatenate(pairs)[:n]
