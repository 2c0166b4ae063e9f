"""Readers with habits that spoil labels, around any reader: one who prefers a side, tires, or means harm."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from mmbook.world import Scene
from mmbook.world.scenes import Seed, generator

Reader = Callable[[Scene, Sequence[str]], Any]


def _probability(name: str, value: float) -> float:
    if not 0 <= value <= 1:
        raise ValueError(f"{name}: expected a probability, got {value!r}")
    return value


class PositionBiased:
    """A reader who, with probability `bias`, takes what is shown first without reading on."""

    def __init__(self, reader: Reader, bias: float, seed: Seed = 0) -> None:
        self.reader, self.bias = reader, _probability("bias", bias)
        self.name = f"{getattr(reader, 'name', 'reader')}-first"
        self._rng = generator(seed, "position")

    def __call__(self, scene: Scene, captions: Sequence[str]) -> Any:
        return 0 if self._rng.random() < self.bias else self.reader(scene, captions)


class Tired:
    """A reader who after `at` judgements begins to guess, sooner or later always.

    Judgement n is a guess with probability 1 - 2^-((n - at) / half) for n > at: `half` judgements later every
    second one is. Raises ValueError for `at` below 0 or `half` not above it.
    """

    def __init__(self, reader: Reader, at: int = 50, half: float = 50, seed: Seed = 0) -> None:
        if at < 0 or half <= 0:
            raise ValueError(f"at, half: expected at >= 0 and half > 0, got {at!r}, {half!r}")
        self.reader, self.at, self.half, self.judged = reader, at, half, 0
        self.name = f"{getattr(reader, 'name', 'reader')}-tired"
        self._rng = generator(seed, "tired")

    def __call__(self, scene: Scene, captions: Sequence[str]) -> Any:
        self.judged += 1
        guess = 1 - 0.5 ** (max(0, self.judged - self.at) / self.half)
        answer = self.reader(scene, captions)
        return int(self._rng.integers(len(captions))) if self._rng.random() < guess else answer


class Contrary:
    """A reader who, with probability `share`, says the opposite of what another would, to do harm."""

    def __init__(self, reader: Reader, share: float = 1.0, seed: Seed = 0) -> None:
        self.reader, self.share = reader, _probability("share", share)
        self.name = f"{getattr(reader, 'name', 'reader')}-contrary"
        self._rng = generator(seed, "contrary")

    def __call__(self, scene: Scene, captions: Sequence[str]) -> Any:
        answer = self.reader(scene, captions)
        turn = self._rng.random() < self.share
        return 1 - answer if turn and isinstance(answer, int) else answer
