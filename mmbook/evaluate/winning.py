"""Who wins: comparisons of models, intervals for what they show, and ratings of several models."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from mmbook.equations import rating_step
from mmbook.world import Scene, SceneBatch, normalise

WIN = {0: 1.0, 1: 0.0}  # of the response that is shown first; ties, both bad and skips are half a win


def both_ways(
    reader: Any, scenes: Sequence[Scene] | SceneBatch, a: Sequence[str], b: Sequence[str]
) -> np.ndarray:
    """Wins (n, 2) of captions `a` over `b`: shown first, and shown second; 1, 0, or 1/2 for a tie.

    Captions that say the same are a tie, and nobody is asked. Raises ValueError for differing lengths.
    """
    rows = []
    for scene, x, y in zip(scenes, a, b, strict=True):
        same = normalise(x) == normalise(y)
        rows.append([0.5] * 2 if same else [_win(reader(scene, [x, y])), 1 - _win(reader(scene, [y, x]))])
    return np.array(rows).reshape(-1, 2)


def _win(answer: Any) -> float:
    return 0.5 if isinstance(answer, str) else WIN[int(answer)]


def wins(
    reader: Any, scenes: Sequence[Scene] | SceneBatch, a: Sequence[str], b: Sequence[str], seed: int = 0
) -> np.ndarray:
    """Wins (n,) of captions `a` over `b`, as in `both_ways`, each pair asked once, its side drawn."""
    rng, won = np.random.default_rng(seed), []
    for scene, x, y, turned in zip(scenes, a, b, rng.random(len(a)) < 0.5, strict=True):
        if normalise(x) == normalise(y):
            won.append(0.5)
        else:
            won.append(1 - _win(reader(scene, [y, x])) if turned else _win(reader(scene, [x, y])))
    return np.array(won)


def bootstrap(
    x: Any,
    statistic: Callable[[np.ndarray], Any] = np.mean,
    draws: int = 2000,
    seed: int = 0,
    sure: float = 0.95,
) -> tuple[Any, Any]:
    """The percentile interval of a statistic of x (n, ...): its rows are drawn again, with replacement.

    A statistic of several numbers has an interval for each. What is drawn must be what varied: one row for
    each picture, say, with all that was asked of it. Raises ValueError for no row. Source:
    {cite}`efron1979bootstrap`.
    """
    x, rng = np.asarray(x), np.random.default_rng(seed)
    if not x.ndim or not len(x):
        raise ValueError(f"x: expected one row or more, got shape {x.shape}")
    found = [statistic(x[rng.integers(len(x), size=len(x))]) for _ in range(draws)]
    low, high = np.quantile(np.array(found), [(1 - sure) / 2, (1 + sure) / 2], axis=0)
    return low, high


def contest(
    reader: Any, scenes: Sequence[Scene] | SceneBatch, said: Mapping[str, Sequence[str]], seed: int = 0
) -> np.ndarray:
    """Every model against every other on each scene: wins (n, M, M) of rows over columns, 0 at i = i."""
    names = list(said)
    out = np.zeros((len(scenes), len(names), len(names)))
    for i, a in enumerate(names):
        for j in range(i):
            out[:, i, j] = wins(reader, scenes, said[a], said[names[j]], seed + i * len(names) + j)
            out[:, j, i] = 1 - out[:, i, j]
    return out


def ratings(W: np.ndarray, most: int = 10000) -> np.ndarray:
    """Bradley and Terry's most likely ratings (M,), with mean 0, of wins W (M, M) of rows over columns.

    A lead of 1 wins 73 % of the games. Raises ValueError where no ratings are best: some models never lost
    (or never won) against all others. Source: {cite}`bradley1952rank`, {cite}`hunter2004mm`.
    """
    W = np.asarray(W, float)
    reach = np.linalg.matrix_power(np.eye(len(W)) + (W > 0), len(W)) > 0
    if not reach.all():
        raise ValueError(
            "W: expected a chain of wins from each model to each other, else ratings run off to infinity; "
            "compare more, or leave out the model that always wins or loses"
        )
    s, games = torch.ones(len(W), dtype=torch.float64), torch.tensor(W)
    for _ in range(most):
        s, before = rating_step(games, s), s
        if (s / before).log().abs().max() < 1e-9:
            break
    return s.log().numpy()
