"""The exercises on evaluation: published solutions pass, typical mistakes get their own words."""

from __future__ import annotations

import re
from collections import Counter
from math import exp, log, sqrt
from pathlib import Path

import numpy as np
import pytest

from mmbook.exercises import Mistake, check

CHAPTER = Path(__file__).parents[2] / "book" / "practice" / "evaluation.md"
CELLS = re.findall(r"^```\{code-cell\} ipython3\n(.*?)^```$", CHAPTER.read_text("utf-8"), re.M | re.S)


@pytest.mark.parametrize("name", ["bleu", "interval", "swap"])
def test_the_published_solution_is_right(name, capsys):
    (cell,) = [cell for cell in CELLS if f'check_answer("practice-evaluation/{name}"' in cell]
    exec(cell, {"np": np})
    assert capsys.readouterr().out == "Right.\n"


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
    "the logarithm of 0|stopped with ValueError": lambda y, r: (
        short(y, r) * exp((log(clipped(y, r, 1)) + log(clipped(y, r, 2))) / 2)
    ),
    "without a match BLEU is 0": lambda y, r: short(y, r) * max(1e-9, both(clipped, y, r)),
    "should be one number, got nothing": lambda y, r: None,
}


@pytest.mark.parametrize("words", BLEUS)
def test_each_mistake_in_bleu_is_named(words):
    with pytest.raises(Mistake, match=words):
        check("practice-evaluation/bleu", BLEUS[words])


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
    "low comes first": resampled(pictures, (97.5, 2.5)),
    "draw with replacement": resampled(lambda x, rng: rng.permutation(x).mean(), (0, 100)),
    "lies outside of your interval": lambda x: (0.0, 0.1),
    "two numbers, low and high": lambda x: x.mean(),
    "wide where about": lambda x: (0.0, 1.5),
}


@pytest.mark.parametrize("words", INTERVALS)
def test_each_mistake_in_the_interval_is_named(words):
    with pytest.raises(Mistake, match=words):
        check("practice-evaluation/interval", INTERVALS[words])


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


@pytest.mark.parametrize("words", SWAPS)
def test_each_mistake_in_the_verdict_is_named(words):
    with pytest.raises(Mistake, match=words):
        check("practice-evaluation/swap", SWAPS[words])
