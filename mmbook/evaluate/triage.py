"""What triage costs: decisions from probabilities, their price, and the least that any rule can pay."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import torch

from mmbook.equations import expected_cost, hand_over
from mmbook.equations._arguments import check_range
from mmbook.evaluate.winning import ratings
from mmbook.feedback.mistakes import MISTAKES
from mmbook.models.fusion import FusionModel
from mmbook.training.sentiment import see
from mmbook.world.triage import MISSING, Cases

# Invented costs of a truth (row) under a decision (column): wait, soon, now. Their unit is arbitrary.
COST = np.array([[0.0, 1, 2], [5, 0, 1], [40, 6, 0]])
PERSON, PRICE = 3, 0.8  # the decision to hand over, and what it costs


@torch.no_grad()
def logits(model: FusionModel, cases: Cases) -> np.ndarray:
    """The model's scores (N, 3) of the urgencies, from what each case has."""
    return model.fusion(see(model, cases), torch.from_numpy(cases.present)).numpy().astype(float)


def decide(p: np.ndarray, C: np.ndarray, d: float = float("inf")) -> np.ndarray:
    """The cheapest decisions (N,) by probabilities p (N, K): a column of C, or its width for handing over."""
    p, C = torch.as_tensor(p), torch.as_tensor(C)
    best = expected_cost(p, C).argmin(-1)
    return torch.where(hand_over(p, C, d), C.shape[1], best).numpy()


def paid(decision: np.ndarray, label: np.ndarray, C: np.ndarray, d: float) -> np.ndarray:
    """What each case has cost, (N,), once its truth is known; handing over costs d."""
    return np.column_stack([C, np.full(len(C), d)])[label, decision]


def priced(p: np.ndarray, label: np.ndarray, C: np.ndarray = COST, d: float = PRICE) -> np.ndarray:
    """What each case has cost, (N,), when the cheapest decision by p (N, K) was taken; d may be infinite."""
    return paid(decide(p, C, d), label, C, d)


def least_cost(table: np.ndarray, C: np.ndarray = COST, d: float = PRICE, missing: Any = MISSING) -> float:
    """The exact mean cost of the best rule; each modality is missing with chance `missing`, one or (M,).

    `table` (K, ...) is the joint probability of truths and findings. As in `sample_cases`, a case that would
    have no modality at all has one, any with the same chance. No rule that sees only the findings, or what
    is drawn from them, is cheaper.
    """
    check_range("d", d, 0, open_low=False)
    count = table.ndim - 1
    gone = np.broadcast_to(missing, count)
    nothing, total = float(gone.prod()), 0.0
    for there in product((0, 1), repeat=count):
        p = float(np.where(there, 1 - gone, gone).prod())
        if sum(there) == 0:
            continue
        p += nothing / count * (sum(there) == 1)
        seen = table.sum(tuple(1 + j for j in range(count) if not there[j])).reshape(len(table), -1)
        total += p * np.vstack([C.T @ seen, d * seen.sum(0)]).min(0).sum()
    return total


def learned_costs(W: np.ndarray, ghost: float = 0.1) -> tuple[np.ndarray, float]:
    """The costs C (3, 3) and d behind how often mistakes W (7, 7) were called worse than others.

    `ghost` answers on either side of each pair keep them finite. Their unit is the price of a person, so d
    is 1: choices tell ratios, and decisions need no more.
    """
    strength = np.exp(ratings(W + ghost * (1 - np.eye(len(W)))))
    C = np.zeros_like(COST)
    for (k, a), s in zip(MISTAKES, strength, strict=True):
        if k >= 0:
            C[k, a] = s / strength[-1]
    return C, 1.0
