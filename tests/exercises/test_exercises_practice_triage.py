"""The exercises on triage: published solutions pass, typical mistakes get their own words."""

from __future__ import annotations

import numpy as np


def handed(cost, over, best=None):
    return np.where(over, 3, cost.argmin(1) if best is None else best)


DECISIONS = {
    "you take the likeliest truth": lambda p, C, d: p.argmax(1),
    "nobody is ever asked": lambda p, C, d: (p @ C).argmin(1),
    "p @ C, not p @ C.T": lambda p, C, d: handed(p @ C.T, (p @ C.T).min(1) > d),
    "by the likeliest truth's probability": lambda p, C, d: handed(p @ C, p.max(1) < d),
    "you hand over the cheap cases": lambda p, C, d: handed(p @ C, (p @ C).min(1) < d),
    "say C.shape": lambda p, C, d: handed(p @ C, (p @ C).min(1) > d),
    r"got shape \(": lambda p, C, d: p @ C,
    "got nothing": lambda p, C, d: None,
}


def rows(x):
    return x / x.sum(1, keepdims=True)


SHIFTS = {
    "each row has to add up to 1 again": lambda p, old, new: p * new / old,
    "upside down": lambda p, old, new: rows(p * old / new),
    "already in p": lambda p, old, new: rows(p * new),
    "whatever the case shows": lambda p, old, new: np.array([new] * len(p)),
    "the sum over all rows": lambda p, old, new: p * new / old / (p * new / old).sum(),
}


def least(seen, C):
    return (C.T @ seen.reshape(3, -1)).min(0).sum()


def unweighted(seen, C):
    seen = seen.reshape(3, -1)
    return (C.T @ (seen / seen.sum(0))).min(0).mean()


WORTHS = {
    "the cost that is left": lambda j, C: least(j, C),
    "this is negative": lambda j, C: least(j, C) - least(j.sum(2), C),
    "x and y save together": lambda j, C: least(j.sum((1, 2)), C) - least(j, C),
    "where x is not known": lambda j, C: least(j.sum((1, 2)), C) - least(j.sum(1), C),
    "weigh each by its probability": lambda j, C: unweighted(j.sum(2), C) - unweighted(j, C),
    "one decision for all": lambda j, C: (C.T @ j.sum(2)).sum(1).min() - (C.T @ j.sum((1, 2))).min(),
}


MISTAKES = {
    "practice-triage/decide": DECISIONS,
    "practice-triage/shift": SHIFTS,
    "practice-triage/asking": WORTHS,
}
