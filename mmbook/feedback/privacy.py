"""Labels that protect who gave them: answers turned round at random, and the attack that they are to stop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from mmbook.equations import response_epsilon
from mmbook.feedback.taste import Comparison, features_of, fit, table
from mmbook.world import STYLES, Scene, parse
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


class Crowd:
    """Simulated people who judge pairs of captions, each with a taste in styles of their own.

    `pairs` (n, 2) are captions. A person's weights of the styles are normal with deviation `spread`, and the
    first of two is chosen as Bradley and Terry have it.
    """

    def __init__(
        self, pairs: Sequence[Sequence[str]], people: int, seed: Seed = 0, spread: float = 1.5
    ) -> None:
        self._rng = generator(seed, "crowd")
        styles = [[s.style if (s := parse(c)) else None for c in pair] for pair in pairs]
        self._features = [
            [features_of(c, [s] if s else []) for c, s in zip(*row, strict=True)]
            for row in zip(pairs, styles, strict=True)
        ]
        weights = self._rng.normal(0, spread, (people, len(STYLES) + 1))
        weights[:, -1] = -spread  # of what is in no style
        at = [[STYLES.index(s) if s else -1 for s in row] for row in styles]
        worth = weights[:, np.array(at)]  # (people, n, 2)
        self.first = 1 / (1 + np.exp(worth[..., 1] - worth[..., 0]))

    def clicks(self, person: int, n: int, p: float = 0.0) -> list[Comparison]:
        """`n` choices among pairs drawn at random, each turned round with probability `p`."""
        rng, out = self._rng, []
        for i in rng.integers(len(self._features), size=n):
            chosen = int((rng.random() >= self.first[person, i]) != (rng.random() < p))
            out.append((self._features[i][chosen], self._features[i][1 - chosen], 1.0))
        return out
