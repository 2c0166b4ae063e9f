"""Labels that protect who gave them: answers turned round at random, and the attack that they are to stop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from mmbook.equations import response_epsilon
from mmbook.feedback.taste import Comparison, fit, table
from mmbook.world import Scene
from mmbook.world.scenes import Seed, generator


class RandomisedResponse:
    """A reader of pairs whose every answer is turned round with probability `p` before anybody sees it.

    What is no choice, a tie or a skip, becomes a coin's choice first: else it would be told. `epsilon` is
    what one answer gives away, in nats. Raises ValueError for p outside [0, 1/2]. Source:
    {cite}`warner1965randomized`.
    """

    def __init__(self, reader: Callable[[Scene, Sequence[str]], Any], p: float, seed: Seed = 0) -> None:
        self.epsilon = response_epsilon(p)
        self.reader, self.p, self._rng = reader, p, generator(seed, "randomised response")
        self.name = f"{getattr(reader, 'name', 'reader')}-randomised"

    def __call__(self, scene: Scene, captions: Sequence[str]) -> int:
        answer = self.reader(scene, captions)
        choice = self._rng.integers(2) if isinstance(answer, str) else answer
        return int(choice != (self._rng.random() < self.p))


def reidentified(
    known: Sequence[Sequence[Comparison]], anonymous: Sequence[Sequence[Comparison]]
) -> np.ndarray:
    """Whose log each anonymous one is, by the likelihood of its choices under each known person's taste.

    Both hold what `taste.comparisons_of` says of a person's labels. The numbers (N,) count `known`. Raises
    ValueError where nobody is known, or the known choices have nothing in common to judge by.
    """
    names, _, _ = table([c for person in known for c in person])
    if not names:
        raise ValueError(f"known: expected people with choices that differ, got {len(known)} of them")

    def differences(person: Sequence[Comparison]) -> np.ndarray:
        rows = [[b.get(n, 0.0) - w.get(n, 0.0) for n in names] for b, w, _ in person]
        return np.array(rows).reshape(len(rows), len(names))

    W = np.array([fit(X, np.ones(len(X)))[0] for X in map(differences, known)])
    said = [-np.logaddexp(0, -differences(person) @ W.T).sum(0) for person in anonymous]
    return np.array(said).argmax(1)
