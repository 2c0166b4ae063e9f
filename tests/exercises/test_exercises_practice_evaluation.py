"""The exercises on evaluation: published solutions pass, typical mistakes get their own words."""

from __future__ import annotations

from collections import Counter
from math import exp, log, sqrt

import numpy as np


def grams(y, n):
    return Counter(tuple(y[i : i + n]) for i in range(len(y) - n + 1))


def clipped(y, r, n):
    return (grams(y, n) & grams(r, n)).total() / max(1, grams(y, n).total())


def said_as_often_as_liked(y, r, n):
    return sum(k for g, k in grams(y, n).items() if g in grams(r, n)) / max(1, grams(y, n).total())


def of_different(y, r, n):
    return sum(k for g, k in grams(y, n).items() if g in grams(r, n)) / max(1, len(grams(y, n)))


def short(y, r):
    return min(1.0, exp(1 - len(r) / len(y)))


def both(of, y, r):
    return sqrt(of(y, r, 1) * of(y, r, 2))


BLEUS = {
    "clip it at its count": lambda y, r: short(y, r) * both(said_as_often_as_liked, y, r),
    "number of different n-grams": lambda y, r: short(y, r) * both(of_different, y, r),
    "arithmetic mean": lambda y, r: short(y, r) * (clipped(y, r, 1) + clipped(y, r, 2)) / 2,
    "take its root": lambda y, r: short(y, r) * clipped(y, r, 1) * clipped(y, r, 2),
    "brevity penalty is missing": lambda y, r: both(clipped, y, r),
    "you fine what is too long": lambda y, r: short(r, y) * both(clipped, y, r),
    "that is recall": lambda y, r: short(y, r) * both(lambda a, b, n: clipped(b, a, n), y, r),
    "needs a case of its own": lambda y, r: (
        short(y, r) * exp((log(clipped(y, r, 1)) + log(clipped(y, r, 2))) / 2)
    ),
    "a single word has no pairs": lambda y, r: (
        short(y, r) * sqrt(clipped(y, r, 1) * (grams(y, 2) & grams(r, 2)).total() / grams(y, 2).total())
    ),
    "not a little more": lambda y, r: short(y, r) * max(1e-9, both(clipped, y, r)),
    "should be one number, got nothing": lambda y, r: None,
}


def resampled(draw, ends=(2.5, 97.5)):
    def answer(x):
        rng = np.random.default_rng(1)
        return np.percentile([draw(x, rng) for _ in range(2000)], ends)

    return answer


def pictures(x, rng):
    return x[rng.integers(len(x), size=len(x))].mean()


def one_deviation(x):
    half = x.mean(1).std() / sqrt(len(x))
    return x.mean() - half, x.mean() + half


INTERVALS = {
    "readers of one picture agree": resampled(lambda x, rng: rng.choice(x.ravel(), x.size).mean()),
    "spread of single pictures": lambda x: np.quantile(x.mean(1), [0.025, 0.975]),
    "one standard error to each side": one_deviation,
    "this is the 90 % interval": resampled(pictures, (5, 95)),
    "lopsided": resampled(pictures, (0.7, 95.4)),
    "low comes first": resampled(pictures, (97.5, 2.5)),
    "draw with replacement": resampled(lambda x, rng: rng.permutation(x).mean(), (0, 100)),
    "lies outside of your interval": lambda x: (0.0, 0.1),
    "two numbers, low and high": lambda x: x.mean(),
    "wide where about": lambda x: (0.0, 1.5),
}


SWAPS = {
    "the first order alone": lambda b: b[:, 0],
    "the second order alone": lambda b: b[:, 1],
    "a win in one order is enough": lambda b: b.max(1),
    "a loss in one order is enough": lambda b: b.min(1),
    "no 3/4 either": lambda b: b.mean(1),
    "without them the rest is louder": lambda b: b[b[:, 0] == b[:, 1]][:, 0],
    "do not turn the second one round": lambda b: (b[:, 0] + 1 - b[:, 1]) / 2,
    "on a small example": lambda b: np.zeros(len(b)),
}


MISTAKES = {
    "practice-evaluation/bleu": BLEUS,
    "practice-evaluation/interval": INTERVALS,
    "practice-evaluation/swap": SWAPS,
}
