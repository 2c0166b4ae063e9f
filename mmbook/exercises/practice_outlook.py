"""Checkers for the chapter on the outlook: a step of regret matching, and an effect from a confounded log."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from mmbook.exercises import Mistake, exercise
from mmbook.exercises.comparing import compare

F64 = torch.float64


@exercise("practice-outlook/regret")
def regret_step(answer: Callable[[np.ndarray, np.ndarray], Any]) -> None:
    """`answer(R, u)` is R (I,) after a step in which the actions would have been paid u (I,)."""
    u = np.array([1.0, -2.0, 0.5])
    for R in (np.array([3.0, -1.0, 1.0]), np.array([-1.0, -2.0, 0.0])):
        x = np.maximum(R, 0) / np.maximum(R, 0).sum() if (R > 0).any() else np.full(3, 1 / 3)
        got = answer(R.copy(), u.copy())
        if (R > 0).any():
            signed = R / R.sum()
            mistakes = {
                "you add the payments: a regret is what an action would have earned more than you": R + u,
                "these are the regrets of this step alone: they add up": u - x @ u,
                "you compare with the best action: compare with what your mixture earned": R + u - u.max(),
                "you compare with the plain mean of the payments: you did not play uniformly": R
                + u
                - u.mean(),
                "you mixed by R itself: only its positive part counts": R + u - signed @ u,
                "the sign is turned: u - x @ u, not x @ u - u": R + x @ u - u,
                "regrets may be negative: only the mixture takes the positive part": np.maximum(
                    R + u - x @ u, 0
                ),
            }
        else:
            mistakes = {
                "without a positive regret the mixture is uniform, not nothing": R + u,
                "0 divided by 0: without a positive regret the mixture is uniform": R + np.nan,
            }
        wrong = {says: torch.as_tensor(w, dtype=F64) for says, w in mistakes.items()}
        compare(
            None if got is None else torch.as_tensor(np.asarray(got)), torch.as_tensor(R + u - x @ u), wrong
        )


@exercise("practice-outlook/adjusted")
def adjusted_effect(answer: Callable[[np.ndarray, np.ndarray, np.ndarray], Any]) -> None:
    """`answer(x, z, y)` is what x does to y, from rows of 0 and 1 in which z drives both."""
    rng = np.random.default_rng(0)
    z = (rng.random(4000) < 0.3).astype(int)
    x = (rng.random(4000) < np.where(z, 0.9, 0.2)).astype(int)
    y = (rng.random(4000) < 0.3 + 0.4 * z - 0.15 * x + 0.1 * x * z).astype(int)
    effect = np.array([y[(x == 1) & (z == v)].mean() - y[(x == 0) & (z == v)].mean() for v in (0, 1)])
    share = np.array([(z == 0).mean(), (z == 1).mean()])
    right, treated = effect @ share, np.array([(z[x == 1] == v).mean() for v in (0, 1)])
    mistakes = {
        "this is the plain difference: z drives both, so compare within each z first": y[x == 1].mean()
        - y[x == 0].mean(),
        "you weigh both groups alike: weigh each z by how common it is": effect.mean(),
        "you weigh by how common z is where x = 1: take all rows": effect @ treated,
        "the sign is turned: with x less without x": -right,
        "this is the effect where z = 0 only": effect[0],
        "this is the effect where z = 1 only": effect[1],
    }
    got = answer(x.copy(), z.copy(), y.copy())
    if got is None or np.ndim(got):
        raise Mistake(f"the result should be one number, got {'nothing' if got is None else got}")
    wrong = {says: torch.tensor(w, dtype=F64) for says, w in mistakes.items()}
    compare(torch.tensor(float(got), dtype=F64), torch.tensor(right, dtype=F64), wrong)
