"""The exercises of the outlook: published solutions pass, typical mistakes get their own words."""

from __future__ import annotations

import numpy as np


def mixture(R):
    return np.maximum(R, 0) / np.maximum(R, 0).sum() if (R > 0).any() else np.full(len(R), 1 / len(R))


def without_uniform(R, u):
    with np.errstate(invalid="ignore"):
        return R + u - np.maximum(R, 0) / np.maximum(R, 0).sum() @ u


REGRETS = {
    "you add the payments": lambda R, u: R + u,
    "of this step alone": lambda R, u: u - mixture(R) @ u,
    "compare with the best action": lambda R, u: R + u - u.max(),
    "plain mean of the payments": lambda R, u: R + u - u.mean(),
    "mixed by R itself": lambda R, u: R + u - R / R.sum() @ u,
    "the sign is turned": lambda R, u: R - u + mixture(R) @ u,
    "regrets may be negative": lambda R, u: np.maximum(R + u - mixture(R) @ u, 0),
    "0 divided by 0": without_uniform,
    "uniform, not nothing": lambda R, u: R + u - (mixture(R) @ u if (R > 0).any() else 0),
    "got nothing": lambda R, u: None,
    "on a small example": lambda R, u: 0 * R,
}


def within(x, z, y, v):
    return y[(z == v) & (x == 1)].mean() - y[(z == v) & (x == 0)].mean()


def weighted(x, z, y):
    return sum((z == v).mean() * within(x, z, y, v) for v in (0, 1))


EFFECTS = {
    "plain difference": lambda x, z, y: y[x == 1].mean() - y[x == 0].mean(),
    "weigh both groups alike": lambda x, z, y: (within(x, z, y, 0) + within(x, z, y, 1)) / 2,
    "where x = 1: take all rows": lambda x, z, y: sum(
        (z[x == 1] == v).mean() * within(x, z, y, v) for v in (0, 1)
    ),
    "the sign is turned": lambda x, z, y: -weighted(x, z, y),
    "where z = 0 only": lambda x, z, y: within(x, z, y, 0),
    "where z = 1 only": lambda x, z, y: within(x, z, y, 1),
    "one number, got nothing": lambda x, z, y: None,
    "on a small example": lambda x, z, y: 0.7,
}


MISTAKES = {
    "practice-outlook/regret": REGRETS,
    "practice-outlook/adjusted": EFFECTS,
}
