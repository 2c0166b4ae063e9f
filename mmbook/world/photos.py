"""Pictures of any size and origin, where a batch of scenes is expected."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np


class PictureBatch(Sequence[np.ndarray]):
    """Pictures, uint8 (H, W, 3) each, that are sampled and learned from like a `SceneBatch`."""

    def __init__(self, pictures: Iterable[np.ndarray]) -> None:
        self.pictures = list(pictures)

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return PictureBatch(self.pictures[index])
        if isinstance(index, np.ndarray | list):
            return PictureBatch(self.pictures[int(i)] for i in index)
        return self.pictures[index]

    def repeat(self, times: int) -> PictureBatch:
        """Every picture `times` times in a row."""
        return self[np.repeat(np.arange(len(self)), times)]


def drawn_from(pictures: Sequence[np.ndarray]) -> Callable[[int, np.random.Generator], PictureBatch]:
    """A function that draws n of `pictures`, as `fine_tune_with_rl(scenes=...)` takes it."""
    batch = PictureBatch(pictures)
    return lambda n, rng: batch[rng.integers(len(batch), size=n)]
