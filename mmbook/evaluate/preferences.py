"""What a reward model gets right, and whether it only counts words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from scipy.special import expit

from mmbook.world import Scene, normalise


class Reward(Protocol):
    """What a reward model must be able to do here."""

    def score(self, scenes: Sequence[Scene], captions: Sequence[str]) -> Any:
        """The rewards (N,) of captions, a tensor."""


def words(captions: Sequence[str]) -> np.ndarray:
    """How many words and marks each caption has."""
    return np.array([len(normalise(caption).split()) for caption in captions])


def leads(reward: Reward, pairs: Sequence[Sequence[Any]]) -> np.ndarray:
    """The reward of the better caption less that of the worse one, of pairs (scene, better, worse, ...)."""
    scenes, better, worse = (list[Any](x) for x in list(zip(*pairs, strict=True))[:3])
    return (reward.score(scenes, better) - reward.score(scenes, worse)).double().cpu().numpy()


def by_length(reward: Reward, pairs: Sequence[tuple[Scene, str, str]]) -> dict[str, tuple[int, int]]:
    """Pairs ranked right and how many there are, where the better caption is shorter, as long, or longer."""
    ahead = leads(reward, pairs) > 0
    longer = np.sign(words([p[1] for p in pairs]) - words([p[2] for p in pairs]))
    sides = {"better is shorter": -1, "equally long": 0, "better is longer": 1}
    return {name: (int(ahead[longer == s].sum()), int((longer == s).sum())) for name, s in sides.items()}


def length_controlled_win_rate(wins: np.ndarray, longer: np.ndarray) -> float:
    """How often the first side would win if both were equally long; 1/2 is even.

    `wins` (n,) is 1, 0 or 1/2 for a tie, `longer` (n,) how many words the first side has more. A logistic
    regression on tanh(longer / deviation), with a slight pull of the slope to 0, is read at 0.
    Raises ValueError for differing shapes or no comparison. Source: {cite}`dubois2024length`.
    """
    wins, longer = np.asarray(wins, float), np.asarray(longer, float)
    if wins.shape != longer.shape or not wins.size:
        raise ValueError(f"wins, longer: expected one shape (n,), n >= 1, got {wins.shape}, {longer.shape}")
    x = np.stack([np.ones_like(wins), np.tanh(longer / max(longer.std(), 1e-9))], 1)
    w, pull = np.zeros(2), np.diag([1e-3, 1.0])
    for _ in range(25):  # Newton's method; the loss is convex
        p = expit(x @ w)
        w = w - np.linalg.solve(x.T @ (x * (p * (1 - p))[:, None]) + pull, x.T @ (p - wins) + pull @ w)
    return float(expit(w[0]))
