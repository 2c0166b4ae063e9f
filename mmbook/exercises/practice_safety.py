"""Checkers of the chapter on safety."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from mmbook.exercises import Mistake, exercise
from mmbook.exercises.comparing import compare

F64 = torch.float64


def _tensor(x: Any) -> torch.Tensor | None:
    return None if x is None else torch.as_tensor(np.asarray(x, float), dtype=F64)


@exercise("practice-safety/occlusion")
def map_by_covering(answer: Callable[..., Any]) -> None:
    """`answer(f, picture, cells, background)` is by how much f falls for each covered cell (cells, cells)."""
    rng = np.random.default_rng(0)
    weights, picture, ground = rng.normal(size=(8, 8)), rng.random((8, 8)), 0.25

    def blocks(x: np.ndarray) -> np.ndarray:
        return x.reshape(4, 2, 4, 2).sum((1, 3))

    def f(x: np.ndarray) -> float:
        return float((weights * x).sum())

    before = picture.copy()
    got = _tensor(answer(f, picture, 4, ground))
    if not np.array_equal(before, picture):
        raise Mistake("you covered the picture itself: copy it first, or the next cell starts from less")
    right = blocks(weights * (picture - ground))
    mistakes = {
        "the sign: a part that speaks for the output makes it fall when it is covered": -right,
        "you covered with 0: cover with the background, or the hole itself is seen": blocks(
            weights * picture
        ),
        "this is f of the covered pictures: take it from f of the whole one": f(picture) - right,
        "this shows one cell and covers the rest: cover one, and show the rest": f(picture)
        - (right.sum() - right),
        "rows and columns are exchanged: the first index goes down": right.T,
    }
    compare(got, torch.as_tensor(right), {says: torch.as_tensor(x) for says, x in mistakes.items()})


@exercise("practice-safety/warner")
def share_before_turning(answer: Callable[[np.ndarray, float], Any]) -> None:
    """`answer(answers, p)` is the unbiased share of ones of answers that were turned round with p."""
    for ones, n, p in ((40, 100, 0.25), (30, 100, 0.4), (90, 100, 0.1)):
        seen = ones / n
        right = (seen - p) / (1 - 2 * p)
        mistakes = {
            "this is the share that is seen: some of the ones were zeros": seen,
            "subtracting the turned ones is half of it: divide by what is left of a difference, 1 - 2p": seen
            - p,
            "divide by 1 - 2p, not by 1 - p: a turned answer is taken away here and added there": (seen - p)
            / (1 - p),
            "this turns the answers once more: expected answers, not the estimate": (1 - p) * seen
            + p * (1 - seen),
            "an estimate that is clipped to 0 and 1 is no longer unbiased": min(max(right, 0.0), 1.0),
        }
        wrong = {k: torch.tensor(x, dtype=F64) for k, x in mistakes.items()}
        got = answer((np.arange(n) < ones).astype(int), p)
        compare(_tensor(got), torch.tensor(right, dtype=F64), wrong)


@exercise("practice-safety/coverage")
def risk_of_the_surest(answer: Callable[[np.ndarray, np.ndarray, float], Any]) -> None:
    """`answer(sure, right, coverage)` is the share of wrong answers among the surest `coverage`."""
    sure = np.array([0.2, 0.9, 0.5, 0.99, 0.7, 0.3, 0.95, 0.1, 0.6, 0.4])
    right = np.array([0, 1, 0, 1, 1, 0, 0, 0, 1, 0], bool)
    order = np.argsort(-sure)
    for coverage, k in ((0.5, 5), (0.3, 3), (1.0, 10)):
        risk = 1 - right[order[:k]].mean()
        mistakes = {
            "this is the share of right answers: risk is the share of wrong ones": 1 - risk,
            "these are the least sure: sort downwards": 1 - right[order[::-1][:k]].mean(),
            "you divide by all answers: divide by those that are given": risk * coverage,
            "you kept what is surer than the coverage: it is a share of answers, not a confidence": 1
            - right[sure >= coverage].mean()
            if (sure >= coverage).any()
            else np.nan,
            "these are the first ones as they came: sort them by confidence": 1 - right[:k].mean(),
        }
        wrong = {says: torch.tensor(x, dtype=F64) for says, x in mistakes.items()}
        compare(_tensor(answer(sure, right, coverage)), torch.tensor(risk, dtype=F64), wrong)
