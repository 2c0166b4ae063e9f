"""Readers with habits that spoil labels, around any reader: one who prefers a side, tires, or means harm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from mmbook.world import KINDS, Scene, describe, parse, say
from mmbook.world.scenes import Seed, generator


def _probability(name: str, value: float) -> float:
    if not 0 <= value <= 1:
        raise ValueError(f"{name}: expected a probability, got {value!r}")
    return value


class Habit:
    """A reader around another, who judges as that one does; `rank`, `rate` and `edit` where it has them.

    None is a skip.
    """

    def __init__(self, reader: Any, name: str, seed: Seed) -> None:
        self.reader, self._rng = reader, generator(seed, name)
        self.name = f"{getattr(reader, 'name', 'reader')}-{name}"

    def __call__(self, scene: Scene, captions: Sequence[str]) -> Any:
        return self.reader(scene, captions)

    def rank(self, scene: Scene, captions: Sequence[str]) -> list[int] | None:
        """Indices of captions from the best to the worst."""
        return self.reader.rank(scene, captions)

    def rate(self, scene: Scene, caption: str) -> int | None:
        """1 to 5."""
        return self.reader.rate(scene, caption)

    def edit(self, scene: Scene, caption: str) -> str | None:
        """The caption as the reader would have it."""
        return self.reader.edit(scene, caption)


class PositionBiased(Habit):
    """A reader who, with probability `bias`, takes what is shown first, or ranks in the order shown."""

    def __init__(self, reader: Any, bias: float, seed: Seed = 0) -> None:
        super().__init__(reader, "first", seed)
        self.bias = _probability("bias", bias)

    def __call__(self, scene: Scene, captions: Sequence[str]) -> Any:
        return 0 if self._rng.random() < self.bias else self.reader(scene, captions)

    def rank(self, scene: Scene, captions: Sequence[str]) -> list[int] | None:
        """In the order shown, without reading on, or the reader's ranking."""
        return list(range(len(captions))) if self._rng.random() < self.bias else super().rank(scene, captions)


class Tired(Habit):
    """A reader who after `at` judgements begins to guess, sooner or later always.

    Judgement n is a guess with probability 1 - 2^-((n - at) / half) for n > at: `half` judgements later every
    second one is. An edit that would be a guess leaves the caption as it is. Raises ValueError for `at` below
    0 or `half` not above it.
    """

    def __init__(self, reader: Any, at: int = 50, half: float = 50, seed: Seed = 0) -> None:
        if at < 0 or half <= 0:
            raise ValueError(f"at, half: expected at >= 0 and half > 0, got {at!r}, {half!r}")
        super().__init__(reader, "tired", seed)
        self.at, self.half, self.judged = at, half, 0

    def _guesses(self) -> float:
        self.judged += 1
        return 1 - 0.5 ** (max(0, self.judged - self.at) / self.half)

    def __call__(self, scene: Scene, captions: Sequence[str]) -> Any:
        guess, answer = self._guesses(), self.reader(scene, captions)
        return int(self._rng.integers(len(captions))) if self._rng.random() < guess else answer

    def rank(self, scene: Scene, captions: Sequence[str]) -> list[int] | None:
        """The reader's ranking, or any order."""
        guess, answer = self._guesses(), super().rank(scene, captions)
        return self._rng.permutation(len(captions)).tolist() if self._rng.random() < guess else answer

    def rate(self, scene: Scene, caption: str) -> int | None:
        """The reader's rating, or any."""
        guess, answer = self._guesses(), super().rate(scene, caption)
        return int(self._rng.integers(1, 6)) if self._rng.random() < guess else answer

    def edit(self, scene: Scene, caption: str) -> str | None:
        """The reader's edit, or the caption itself."""
        guess, answer = self._guesses(), super().edit(scene, caption)
        return caption if self._rng.random() < guess else answer


class Contrary(Habit):
    """A reader who, with probability `share`, says the opposite of what another would, to do harm.

    A tie has no opposite; that of an edit names a sticker that is not there.
    """

    def __init__(self, reader: Any, share: float = 1.0, seed: Seed = 0) -> None:
        super().__init__(reader, "contrary", seed)
        self.share = _probability("share", share)

    def _turns(self) -> bool:
        return bool(self._rng.random() < self.share)

    def __call__(self, scene: Scene, captions: Sequence[str]) -> Any:
        answer = self.reader(scene, captions)
        return 1 - answer if self._turns() and isinstance(answer, int) else answer

    def rank(self, scene: Scene, captions: Sequence[str]) -> list[int] | None:
        """The reader's ranking, or the same from its end."""
        answer = super().rank(scene, captions)
        return answer[::-1] if self._turns() and answer is not None else answer

    def rate(self, scene: Scene, caption: str) -> int | None:
        """The reader's rating r, or 6 - r."""
        answer = super().rate(scene, caption)
        return 6 - answer if self._turns() and answer is not None else answer

    def edit(self, scene: Scene, caption: str) -> str | None:
        """The reader's edit, or that with a wrong sticker in the first one's place."""
        answer = super().edit(scene, caption)
        if not self._turns() or answer is None:
            return answer
        statement = parse(answer) or describe(scene, "plain")
        wrong = [kind for kind in KINDS if kind not in scene.kinds and kind not in statement.kinds]
        return say(replace(statement, kinds=(str(self._rng.choice(wrong)), *statement.kinds[1:])))


class Skipping(Habit):
    """A reader who, with probability `share`, skips what is asked."""

    def __init__(self, reader: Any, share: float, seed: Seed = 0) -> None:
        super().__init__(reader, "skipping", seed)
        self.share = _probability("share", share)

    def _skips(self) -> bool:
        return bool(self._rng.random() < self.share)

    def __call__(self, scene: Scene, captions: Sequence[str]) -> Any:
        return "skip" if self._skips() else self.reader(scene, captions)

    def rank(self, scene: Scene, captions: Sequence[str]) -> list[int] | None:
        """The reader's ranking, or none."""
        return None if self._skips() else super().rank(scene, captions)

    def rate(self, scene: Scene, caption: str) -> int | None:
        """The reader's rating, or none."""
        return None if self._skips() else super().rate(scene, caption)

    def edit(self, scene: Scene, caption: str) -> str | None:
        """The reader's edit, or none."""
        return None if self._skips() else super().edit(scene, caption)
