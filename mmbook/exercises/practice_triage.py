"""Checkers of the chapter on triage."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from mmbook.exercises import exercise
from mmbook.exercises.comparing import compare

Answer = Callable[..., Any]


def _compare(got: Any, right: Any, mistakes: dict[str, Any]) -> None:
    given = None if got is None else torch.as_tensor(np.asarray(got, float))
    wrong = {says: torch.tensor(x, dtype=torch.float64) for says, x in mistakes.items()}
    compare(given, torch.tensor(right, dtype=torch.float64), wrong)


@exercise("practice-triage/decide")
def cheapest(answer: Answer) -> None:
    """`answer(p, C, d)` is the cheapest decision (N,) by p (N, K); C.shape[1] stands for a person, at d."""
    p = np.array([[0.97, 0.02, 0.01], [0.9, 0.05, 0.05], [0.1, 0.85, 0.05], [0.05, 0.15, 0.8], [0.6, 0.4, 0]])
    C, d = np.array([[0.0, 1, 2], [5, 0, 1], [40, 6, 0]]), 0.8
    cost = p @ C

    def with_person(least: np.ndarray, best: np.ndarray) -> np.ndarray:
        return np.where(least > d, 3, best)

    mistakes = {
        "you take the likeliest truth: take the decision with the smallest expected cost": p.argmax(1),
        "nobody is ever asked: where every decision costs more than d, the answer is C.shape[1]": cost.argmin(
            1
        ),
        "rows of C are truths: p @ C, not p @ C.T": with_person((p @ C.T).min(1), (p @ C.T).argmin(1)),
        "you hand over by the likeliest truth's probability: compare the smallest cost with d": np.where(
            p.max(1) < d, 3, cost.argmin(1)
        ),
        "you hand over the cheap cases: a person is for what costs more than d": np.where(
            cost.min(1) < d, 3, cost.argmin(1)
        ),
    }
    _compare(answer(p, C, d), with_person(cost.min(1), cost.argmin(1)), mistakes)
    two = cost[:, :2]
    says = "with two decisions a person is number 2: say C.shape[1], the number of decisions"
    wrong = {says: with_person(two.min(1), two.argmin(1))}
    _compare(answer(p, C[:, :2], d), np.where(two.min(1) > d, 2, two.argmin(1)), wrong)


@exercise("practice-triage/shift")
def other_rates(answer: Answer) -> None:
    """`answer(p, old, new)` are the probabilities (N, K) after the base rates went from old to new (K,)."""
    p, old, new = (
        np.array([[0.7, 0.2, 0.1], [0.05, 0.15, 0.8]]),
        np.array([0.7, 0.2, 0.1]),
        np.array([0.9, 0.07, 0.03]),
    )

    def normal(x: np.ndarray) -> np.ndarray:
        return x / x.sum(1, keepdims=True)

    mistakes = {
        "each row has to add up to 1 again": p * new / old,
        "the ratio is upside down: what has become commoner weighs more": normal(p * old / new),
        "the old base rates are already in p: divide by them": normal(p * new),
        "you answer with the new base rates, whatever the case shows": np.broadcast_to(new, p.shape),
        "you divide by the sum over all rows: each row adds up to 1": p * new / old / (p * new / old).sum(),
    }
    _compare(answer(p, old, new), normal(p * new / old), mistakes)


@exercise("practice-triage/asking")
def worth_of_asking(answer: Answer) -> None:
    """`answer(joint, C)`: by how much y, seen beside x, lowers the least mean cost; joint (K, X, Y)."""
    joint = np.random.default_rng(10).dirichlet(np.full(12, 0.5)).reshape(3, 2, 2)
    C = np.array([[0.0, 1, 2], [5, 0, 1], [40, 6, 0]])

    def least(seen: np.ndarray) -> float:
        return float((C.T @ seen.reshape(3, -1)).min(0).sum())

    blind, x, both = least(joint.sum((1, 2))), least(joint.sum(2)), least(joint)
    each = joint.reshape(3, -1) / joint.reshape(3, -1).sum(0)
    alone = joint.sum(2) / joint.sum((0, 2))
    mistakes = {
        "this is the cost that is left when both are seen: subtract it from the cost with x alone": both,
        "this is negative: what y saves is the cost without it less the cost with it": both - x,
        "this is what x and y save together: x is known in any case": blind - both,
        "this is what y saves where x is not known: keep x": blind - least(joint.sum(1)),
        "rare findings count as much as common ones here: weigh each by its probability": (
            (C.T @ alone).min(0).mean() - (C.T @ each).min(0).mean()
        ),
        "one decision for all is not better informed: take the least cost for each finding, then add": 0.0,
    }
    _compare(answer(joint, C), x - both, mistakes)
