"""Sticker scenes: one to three different stickers in quarters of their own, at any multiple of 48 pixels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np

from mmbook.world.stickers import ARTWORK, BACKGROUND, KINDS, TRAIN_ARTWORK, tiles

SIDE = 48  # pixels of the model's picture; a quarter is 24 pixels wide
SMALL, BIG = 14, 22  # sticker widths in model pixels
COUNT_SHARES = (0.25, 0.45, 0.30)  # scenes with one, two, three stickers
QUARTERS = ("top left", "top right", "bottom left", "bottom right")
_NUMBER = {kind: i for i, kind in enumerate(KINDS)}

Seed = int | np.random.Generator


def generator(seed: Seed, purpose: str) -> np.random.Generator:
    """A NumPy generator from an int, or the generator itself; an int gives each purpose its own stream."""
    if isinstance(seed, np.random.Generator):
        return seed
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer):
        raise TypeError(f"seed: expected an int or a numpy Generator, got {seed!r}")
    return np.random.default_rng([int(seed), *purpose.encode()])


def _whole(value: object, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most


@dataclass(frozen=True)
class Sticker:
    """One sticker: kind, quarter (0 top left, 1 top right, 2 bottom left, 3 bottom right), size and offset.

    `dx` and `dy` are model pixels from the quarter's corner: 0 to 10 when it is small, 0 to 2 when it is big.
    """

    kind: str
    quarter: int
    big: bool
    dx: int = 0
    dy: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.kind, str) or self.kind not in _NUMBER:
            raise ValueError(f"kind: expected one of the {len(KINDS)} sticker kinds, got {self.kind!r}")
        if not _whole(self.quarter, 3):
            raise ValueError(f"quarter: expected 0, 1, 2 or 3, got {self.quarter!r}")
        if not isinstance(self.big, bool):
            raise ValueError(f"big: expected true or false, got {self.big!r}")
        room = SIDE // 2 - (BIG if self.big else SMALL)
        for name in ("dx", "dy"):
            if not _whole(value := getattr(self, name), room):
                raise ValueError(f"{name}: expected a whole number from 0 to {room}, got {value!r}")


@dataclass(frozen=True)
class Scene:
    """One to three stickers of different kinds in reading order of their quarters, in one artwork style.

    With a `question` it is a picture that is asked about (see `mmbook.world.questions`).
    """

    stickers: tuple[Sticker, ...]
    artwork: str = "noto"
    question: str = ""

    def __post_init__(self) -> None:
        quarters = [s.quarter for s in self.stickers]
        if not 1 <= len(self.stickers) <= 3:
            raise ValueError(f"stickers: expected one to three, got {len(self.stickers)}")
        if quarters != sorted(set(quarters)):
            raise ValueError(
                f"stickers: expected different quarters in reading order, got quarters {quarters}"
            )
        if len({s.kind for s in self.stickers}) < len(self.stickers):
            raise ValueError(f"stickers: expected different kinds, got {[s.kind for s in self.stickers]}")
        if self.artwork not in ARTWORK:
            raise ValueError(f"artwork: expected one of {', '.join(ARTWORK)}, got {self.artwork!r}")
        if not isinstance(self.question, str):
            raise ValueError(f"question: expected a text, got {self.question!r}")

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds in reading order."""
        return tuple(s.kind for s in self.stickers)

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary for feedback records."""
        asked = {"question": self.question} if self.question else {}
        return {"artwork": self.artwork, "stickers": [dict(vars(s)) for s in self.stickers], **asked}

    @classmethod
    def from_json(cls, data: Any) -> Scene:
        """Read what `to_json` wrote. Raises ValueError that names the field when the scene cannot exist."""
        if not isinstance(data, dict) or not isinstance(data.get("stickers"), list):
            raise ValueError(f"scene: expected {{'artwork': ..., 'stickers': [...]}}, got {data!r}")
        stickers = []
        for i, row in enumerate(data["stickers"]):
            try:
                stickers.append(Sticker(**row))
            except (TypeError, ValueError) as error:
                raise ValueError(f"scene.stickers[{i}]: {error}") from None
        try:
            return cls(tuple(stickers), data.get("artwork", "noto"), data.get("question", ""))
        except ValueError as error:
            raise ValueError(f"scene.{error}") from None


class SceneBatch(Sequence[Scene]):
    """Many scenes as arrays (N, 3), `kind` (-1: no sticker), `quarter`, `big`, `dx`, `dy`, `artwork` (N,).

    `question` (N,) has texts, empty where nothing is asked.
    """

    def __init__(self, **arrays: np.ndarray) -> None:
        self.kind, self.quarter, self.big, self.dx, self.dy, self.artwork = (
            arrays[name] for name in ("kind", "quarter", "big", "dx", "dy", "artwork")
        )
        asked = arrays.get("question")
        self.question = np.full(len(self.artwork), "", object) if asked is None else asked

    @classmethod
    def of(cls, scenes: Iterable[Scene]) -> SceneBatch:
        """The arrays of a list of scenes."""
        scenes = list(scenes)
        table = np.zeros((5, len(scenes), 3), np.int64)
        table[0] = -1
        for i, scene in enumerate(scenes):
            for j, s in enumerate(scene.stickers):
                table[:, i, j] = _NUMBER[s.kind], s.quarter, s.big, s.dx, s.dy
        artwork = np.array([ARTWORK.index(s.artwork) for s in scenes], np.int64)
        return cls(
            kind=table[0],
            quarter=table[1],
            big=table[2].astype(bool),
            dx=table[3],
            dy=table[4],
            artwork=artwork,
            question=np.array([s.question for s in scenes], object),
        )

    def __len__(self) -> int:
        return len(self.artwork)

    def __iter__(self) -> Iterator[Scene]:
        return (self[i] for i in range(len(self)))

    @overload
    def __getitem__(self, index: int) -> Scene: ...
    @overload
    def __getitem__(self, index: slice | np.ndarray) -> SceneBatch: ...
    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice | np.ndarray | list):
            return SceneBatch(**{name: array[index] for name, array in vars(self).items()})
        rows = zip(
            self.kind[index],
            self.quarter[index],
            self.big[index],
            self.dx[index],
            self.dy[index],
            strict=True,
        )
        stickers = tuple(
            Sticker(KINDS[k], int(q), bool(b), int(x), int(y)) for k, q, b, x, y in rows if k >= 0
        )
        return Scene(stickers, ARTWORK[self.artwork[index]], self.question[index])

    def repeat(self, times: int) -> SceneBatch:
        """Every scene `times` times in a row."""
        return self[np.repeat(np.arange(len(self)), times)]


def sample_scenes(n: int, seed: Seed, artwork: Sequence[str] | str = TRAIN_ARTWORK) -> SceneBatch:
    """Draw `n` random scenes: all is uniform but the number of stickers, which follows `COUNT_SHARES`."""
    if n < 0:
        raise ValueError(f"n: expected a number of scenes, got {n}")
    rng = generator(seed, "scenes")
    styles = (artwork,) if isinstance(artwork, str) else tuple(artwork)
    if not styles or not set(styles) <= set(ARTWORK):
        raise ValueError(f"artwork: expected some of {', '.join(ARTWORK)}, got {artwork!r}")
    count = rng.choice(len(COUNT_SHARES), n, p=COUNT_SHARES) + 1
    absent = np.arange(3) >= count[:, None]
    kind = rng.random((n, len(KINDS))).argpartition(2, axis=1)[:, :3]
    kind = rng.permuted(kind, axis=1)
    quarter = rng.permuted(np.tile(np.arange(4), (n, 1)), axis=1)[:, :3]
    quarter = np.sort(np.where(absent, 9, quarter), axis=1)  # absent stickers go to the end
    big = rng.random((n, 3)) < 0.5
    room = SIDE // 2 - np.where(big, BIG, SMALL) + 1
    dx, dy = (rng.random((2, n, 3)) * room).astype(np.int64)
    numbers = np.array([ARTWORK.index(a) for a in styles])
    return SceneBatch(
        kind=np.where(absent, -1, kind),
        quarter=np.where(absent, 0, quarter),
        big=big,
        dx=dx,
        dy=dy,
        artwork=numbers[rng.integers(len(styles), size=n)],
    )


def render(scenes: SceneBatch | Sequence[Scene], size: int = SIDE) -> np.ndarray:
    """Draw scenes as uint8 pictures (N, size, size, 3); `size`, a multiple of 48, changes no scene."""
    if size % SIDE:
        raise ValueError(f"size: expected a multiple of {SIDE} pixels, got {size}")
    batch = scenes if isinstance(scenes, SceneBatch) else SceneBatch.of(scenes)
    scale = size // SIDE
    out = np.empty((len(batch), size, size, 3), np.uint8)
    out[:] = BACKGROUND
    for width, wanted in ((SMALL * scale, ~batch.big), (BIG * scale, batch.big)):
        rows, columns = np.nonzero(wanted & (batch.kind >= 0))
        if not len(rows):
            continue
        used = np.unique(batch.artwork[rows])
        sheets = np.stack([tiles(ARTWORK[a], width) for a in used])
        quarter = batch.quarter[rows, columns]
        top = (quarter // 2 * (SIDE // 2) + batch.dy[rows, columns]) * scale
        left = (quarter % 2 * (SIDE // 2) + batch.dx[rows, columns]) * scale
        span = np.arange(width)
        out[rows[:, None, None], (top[:, None] + span)[:, :, None], (left[:, None] + span)[:, None, :]] = (
            sheets[np.searchsorted(used, batch.artwork[rows]), batch.kind[rows, columns]]
        )
    return out
