"""Checkers of the chapter on evaluation."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from mmbook.equations import bleu, clipped_matches
from mmbook.evaluate.winning import bootstrap
from mmbook.exercises import Mistake, exercise
from mmbook.exercises.comparing import compare

F64 = torch.float64


def _number(x: Any) -> torch.Tensor | None:
    return None if x is None else torch.as_tensor(x, dtype=F64)


def _pairs(y: list[str], n: int) -> Counter:
    return Counter(tuple(y[i : i + n]) for i in range(len(y) - n + 1))


@exercise("practice-evaluation/bleu")
def two_gram_bleu(answer: Callable[[list[str], list[str]], float]) -> None:
    """`answer(y, r)` is BLEU of words y beside one reference r, with n = 1 and 2 only."""
    r, long, curt = (
        text.split()
        for text in (
            "a cat and a dog and a key .",
            "a cat , a dog and a key and a big bus .",
            "a cat a cat and a dog",
        )
    )
    for y in (long, curt, r, r[:2]):
        c, h = len(y), [len(y), len(y) - 1]
        m = [clipped_matches(y, [r], n) for n in (1, 2)]
        p = [x / of for x, of in zip(m, h, strict=True)]
        loose = [
            sum(k for g, k in _pairs(y, n).items() if g in _pairs(r, n)) / len(_pairs(y, n)) for n in (1, 2)
        ]
        free = [sum(k for g, k in _pairs(y, n).items() if g in _pairs(r, n)) / h[n - 1] for n in (1, 2)]
        short = math.exp(min(0.0, 1 - len(r) / c))
        recall = [x / (len(r) - n) for n, x in enumerate(m)]

        def mean(p: list[float]) -> float:
            return math.sqrt(p[0] * p[1])

        mistakes = {
            "a word counts as often as the caption says it: clip it at its count in the reference": short
            * mean(free),
            "you divide by the number of different n-grams: divide by all of them": short * mean(loose),
            "this is the arithmetic mean of the precisions: take the geometric one": short * sum(p) / 2,
            "this is the product of the precisions: take its root": short * p[0] * p[1],
            "the brevity penalty is missing: a caption shorter than its reference pays": mean(p),
            "you fine what is too long: the penalty is for c < r": math.exp(min(0.0, 1 - c / len(r)))
            * mean(p),
            "you divide by the n-grams of the reference: that is recall, and BLEU has precision": short
            * mean(recall),
        }
        wrong = {says: torch.tensor(x, dtype=F64) for says, x in mistakes.items()}
        right = torch.tensor(bleu(m, h, c, len(r)), dtype=F64)
        compare(_number(answer(y, r)), right, wrong)
    for y in (["rocket", "."], ["cat"]):  # no match, and no pair of words to match
        try:
            none = answer(y, ["a", "cat"])
        except ZeroDivisionError as error:
            raise Mistake("a single word has no pairs: without any, the precision is 0") from error
        except ValueError as error:
            raise Mistake("without a match BLEU is 0; the logarithm of 0 needs a case of its own") from error
        if none != 0:
            raise Mistake(f"without a match BLEU is 0 and not a little more, got {none:.3g}")


@exercise("practice-evaluation/interval")
def interval_by_picture(answer: Callable[[np.ndarray], Any]) -> None:
    """`answer(x)` is the 95 % bootstrap interval (low, high) of the mean of wins x (n, k), k readers each."""
    rng = np.random.default_rng(0)
    x = np.repeat(rng.random((150, 1)) < 0.6, 6, 1) ^ (rng.random((150, 6)) < 0.05)
    got = answer(x.astype(float))
    if got is None or np.shape(got) != (2,):
        raise Mistake(f"the result should be two numbers, low and high, got {got}")
    low, high = (float(v) for v in got)
    if low > high:
        raise Mistake("low comes first, then high")
    right, flat = np.diff(bootstrap(x))[0], np.diff(bootstrap(x.ravel()))[0]
    width, each = high - low, right / 3.92
    known = {
        "you drew single answers again: readers of one picture agree, draw pictures with all answers": flat,
        "this is the spread of single pictures: take the mean of each draw": np.ptp(
            np.quantile(x.mean(1), [0.025, 0.975])
        ),
        "this is one standard error to each side: 95 % of the draws lie within 1.96": 2 * each,
        "this is the 90 % interval: leave 2.5 % out at each end": 3.29 * each,
    }
    if low > x.mean() or high < x.mean():
        raise Mistake(f"the mean, {x.mean():.3f}, lies outside of your interval, {low:.3f} to {high:.3f}")
    if width == 0:
        raise Mistake("every draw was the same: draw with replacement")
    if abs(width / right - 1) < 0.1:
        below, whole = x.mean() - low, width  # one interval has noise, so add up some more
        for _ in range(7):
            x = (rng.random((150, 6)) < 0.5).astype(float)
            low, high = answer(x)
            below, whole = below + x.mean() - low, whole + high - low
        if not 0.95 < 2 * below / whole < 1.05:
            raise Mistake("the interval is lopsided: leave 2.5 % out at each end, as many low as high")
        return
    for says, wrong in known.items():
        if abs(width / wrong - 1) < 0.1:
            raise Mistake(says)
    raise Mistake(f"your interval is {width:.3f} wide where about {right:.3f} is right")


@exercise("practice-evaluation/swap")
def verdict_of_both_orders(answer: Callable[[np.ndarray], Any]) -> None:
    """`answer(both)` has 1 where a won in both orders, 0 where it lost in both, else 1/2; both (n, 2)."""
    both = np.array([[1, 1], [1, 0], [0, 1], [0, 0], [1, 0.5], [0, 0.5], [0.5, 0.5]])
    right = np.where(both.min(1) == 1, 1.0, np.where(both.max(1) == 0, 0.0, 0.5))
    kept = both[(both[:, 0] == both[:, 1])][:, 0]
    mistakes = {
        "you believe the first order alone": both[:, 0],
        "you believe the second order alone": both[:, 1],
        "a win in one order is enough for you: it takes both": both.max(1),
        "a loss in one order is enough for you: it takes both": both.min(1),
        "a win and a tie are not a win in both orders, and no 3/4 either": both.mean(1),
        "you left out the pairs that changed: they are ties, and without them the rest is louder": kept,
        "wins (n, 2) are of a in both columns: do not turn the second one round": (
            both[:, 0] + 1 - both[:, 1]
        )
        / 2,
    }
    wrong = {says: torch.as_tensor(x, dtype=F64) for says, x in mistakes.items()}
    compare(_number(answer(both)), torch.as_tensor(right), wrong)
