"""Checkers for the chapter on policy gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmbook.equations import gae, leave_one_out
from mmbook.exercises import Mistake, exercise

GAMMA, LAM = 0.5, 0.8
M = torch.tensor([[1.0, 1, 1, 0], [1, 0, 0, 0], [1, 1, 1, 1]])
REWARDS = torch.tensor([[1.0, 0, 3, 8], [2, -5, 8, 1], [0, 1, -1, 4]])  # garbage where M is 0
VALUES = torch.tensor([[0.5, 2, -1, 6], [1, 7, -3, 9], [3, 0.25, -2, 1]])
GROUPS = torch.tensor([[3.0, -1, 1, 5], [10, 10, 12, 8], [-2, -2, 7, 0]])


def compare(
    got: Any, right: Tensor, mistakes: dict[str, Tensor], mask: str = f" for mask {M.tolist()}"
) -> None:
    """Raise the message of the wrong answer that was given, or one that shows both; arrays do as well."""
    if isinstance(got, np.ndarray) and got.dtype.kind in "fiu":
        got = torch.from_numpy(got)
    if not isinstance(got, Tensor) or got.shape != right.shape:
        what = f"shape {tuple(got.shape)}" if isinstance(got, Tensor) else type(got).__name__
        raise Mistake(f"expected a tensor of shape {tuple(right.shape)}, got {what}")
    if torch.allclose(got.to(right), right, atol=1e-5):
        return
    for message, wrong in mistakes.items():
        if torch.allclose(got.to(right), wrong, atol=1e-5):
            raise Mistake(message)
    raise Mistake(f"expected {right.tolist()}, got {got.tolist()}{mask}")


def ahead(x: Tensor, w: float) -> Tensor:
    """Sum of x (B, T) from each step on, each later step w times smaller."""
    t = torch.arange(x.shape[1])
    return x @ (float(w) ** (t[:, None] - t).clamp(min=0) * (t[:, None] >= t))


@exercise("rl-policy-gradients/to-go")
def to_go(answer: Callable[..., Any]) -> None:
    """Rewards to go of padded episodes."""
    r = REWARDS * M
    G, full = ahead(r, GAMMA) * M, ahead(REWARDS, GAMMA)
    mistakes = {
        "rewards from the padding flow into your returns; they stop at the end of an episode": full,
        "rewards from the padding flow into your returns, although the padding itself is 0": full * M,
        "every step has the return of the whole episode; leave out what came before it": G[:, :1] * M,
        "your later rewards are not discounted": ahead(r, 1) * M,
        "you discount from the start of the episode; a step's own reward counts in full": (
            G * GAMMA ** torch.arange(4)
        ),
        "your returns add up what came before a step, not what comes after it": r.cumsum(1) * M,
        "your returns leave out the step's own reward": G - r,
    }
    compare(answer(REWARDS.clone(), M.clone(), GAMMA), G, mistakes)


@exercise("rl-policy-gradients/gae")
def advantages(answer: Callable[..., Any]) -> None:
    """Generalised advantages of padded episodes."""
    r, V, step, pad = REWARDS * M, VALUES * M, GAMMA * LAM, torch.nn.functional.pad
    right, delta = (gae(REWARDS, VALUES, M, GAMMA, lam)[0] for lam in (LAM, 0.0))
    full = REWARDS + GAMMA * pad(VALUES[:, 1:], (0, 1)) - VALUES  # surprises as if no episode ended
    stop = "your advantages do not stop at the end of an episode"
    mistakes = {
        stop: ahead(full, step),
        f"{stop}: padding flows into them, although it is 0 itself": ahead(full, step) * M,
        f"{stop}: its last step sees the critic's value of the padding": ahead(full * M, step) * M,
        "your surprises leave out the value of the next state": ahead(r - V, step) * M,
        "later surprises count lam for each step; they should count gamma times lam": ahead(delta, LAM) * M,
        "later surprises count gamma for each step: lam is missing": ahead(delta, GAMMA) * M,
        "you return one step's surprise; pass on the later ones, gamma times lam smaller each": delta,
        "you return the target G, which is the advantage plus the value": right + V,
        "the sign is wrong: a reward above the critic's guess is a positive advantage": -right,
    }
    compare(answer(REWARDS.clone(), VALUES.clone(), M.clone(), GAMMA, LAM), right, mistakes)


@exercise("rl-policy-gradients/others")
def others(answer: Callable[..., Any]) -> None:
    """Advantages of a group, each with the others as its baseline."""
    R, K = GROUPS, GROUPS.shape[1]
    mean, mates = R.mean(1, keepdim=True), (R.sum(1, keepdim=True) - R) / (K - 1)
    mistakes = {
        "your baseline includes the response itself; average the others only": R - mean,
        "you divide by the group's deviation: that is GRPO, and another objective": (R - mean)
        / R.std(1, keepdim=True, correction=0),
        "your baseline mixes prompts; average over the responses to one prompt": R - R.mean(),
        "your baseline mixes prompts; the responses of one prompt stand in a row, not in a column": R
        - (R.sum(0) - R) / (len(R) - 1),
        "your baseline is too small: the others are one fewer than all, so divide by K - 1": R
        - mates * (K - 1) / K,
        "your baseline is the sum of the others: take their mean": R - mates * (K - 1),
        "the sign is wrong: take the baseline off the reward": mates - R,
        "you return the baseline, not the reward less the baseline": mates,
    }
    compare(answer(GROUPS.clone()), leave_one_out(R), mistakes, "")
