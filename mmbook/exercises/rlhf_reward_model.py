"""Checkers of the chapter on reward models."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import softplus

from mmbook.equations import preference_loss, tie_probabilities
from mmbook.evaluate.calibration import calibration_error
from mmbook.exercises import Mistake, exercise
from mmbook.exercises.comparing import compare


@exercise("rlhf-reward-model/preference-loss")
def bradley_terry_loss(answer: Callable[..., Tensor]) -> None:
    """`answer(R_c, R_r, margin)` is the mean negative log-likelihood of the choices, a scalar."""
    R_c, R_r = torch.tensor([1.5, -0.5, 0.3]), torch.tensor([0.5, 0.75, -1.2])
    d, margin = R_c - R_r, 0.4
    mistakes = {
        "you make the rejected caption likelier: it is R_c less R_r": softplus(d + margin).mean(),
        "the margin helps where it should demand: take it off the lead": softplus(-d - margin).mean(),
        "the margin is not used": softplus(-d).mean(),
        "this is the sum over pairs: take the mean": softplus(-(d - margin)).sum(),
        "this is minus the mean probability: take the logarithm": -torch.sigmoid(d - margin).mean(),
        "the logarithm comes after the mean: take it for each pair": -torch.sigmoid(d - margin).mean().log(),
        "the sign is the other way round: a loss is descended": -softplus(-(d - margin)).mean(),
    }
    compare(answer(R_c.requires_grad_(), R_r, margin), preference_loss(R_c, R_r, margin).detach(), mistakes)
    far = answer(torch.tensor([-150.0]), torch.tensor([150.0]), 0.0)
    if not torch.allclose(far, torch.tensor(300.0)):
        raise Mistake(
            f"with a lead of -300 the loss is 300, yours is {far.item():.4g}: the sigmoid is 0 before its "
            "logarithm is taken; use logsigmoid or softplus"
        )
    if not (loss := answer(R_c, R_r, margin)).requires_grad or torch.autograd.grad(loss, R_c)[0].eq(0).any():
        raise Mistake("no gradient reaches R_c: compute with tensors to the end")


@exercise("rlhf-reward-model/ties")
def tie_probability(answer: Callable[..., Tensor]) -> None:
    """`answer(R_a, R_b, nu)` is Davidson's probability of a tie, for each pair."""
    R_a, R_b, nu = torch.tensor([1.0, 0.0, -0.5]), torch.tensor([0.2, 0.0, 2.0]), 0.7
    a, b = R_a.exp(), R_b.exp()
    tie = nu * (a * b).sqrt()
    mean, product = nu * (a + b) / 2, nu * a * b
    mistakes = {
        "the mean of the strengths is geometric, not arithmetic: then ties would never be unlikely": mean
        / (a + b + mean),
        "the root is missing: take exp of half the sum of the rewards": product / (a + b + product),
        "the tie itself is missing from what you divide by": tie / (a + b),
        "this is the probability that a is preferred": a / (a + b + tie),
        "nu is not used": (tie / nu) / (a + b + tie / nu),
        "this is nu's own share: multiply it by the strength of the two": nu / (a + b + nu),
    }
    compare(answer(R_a, R_b, nu), tie_probabilities(R_a, R_b, nu)[..., 2], mistakes)
    if not torch.isfinite(answer(R_a + 200, R_b + 200, nu)).all():
        raise Mistake(
            "with rewards near 200 exp overflows: only differences count, so take the mean off first"
        )


@exercise("rlhf-reward-model/calibration-error")
def expected_calibration_error(answer: Callable[..., Any]) -> None:
    """`answer(p, right, bins)` is the expected calibration error of bets with probability p >= 1/2."""
    rng = np.random.default_rng(0)
    size, bins = np.append(rng.uniform(0, 3, 200), 50.0), 5  # the last bet has probability 1
    p = 1 / (1 + np.exp(-size))
    often = np.array([1.0, 0.2, 1.0, 0.5, 1.0, 0.0])[(10 * p - 5).astype(int)]  # modest and boastful by turns
    lead = size * np.where(rng.random(len(p)) < often, 1, -1)
    right = (lead > 0).astype(float)

    def by(
        low: float, weight: bool = True, how: Callable[[float], float] = abs, join: Any = np.mean
    ) -> Tensor:
        place = np.minimum(((p - low) / (1 - low) * bins).astype(int), bins - 1)
        gaps = [
            (how(p[i].mean() - right[i].mean()), i.mean())
            for i in (place == b for b in range(bins))
            if i.any()
        ]
        total = sum(gap * share for gap, share in gaps) if weight else join([gap for gap, _ in gaps])
        return torch.tensor(float(total), dtype=torch.float64)

    mistakes = {
        "every bin counts alike: weight it by its share of the bets": by(0.5, weight=False),
        "this is the largest gap: add them up, each with its share of the bets": by(
            0.5, weight=False, join=max
        ),
        "these are squared gaps: take the absolute value": by(0.5, how=lambda gap: gap**2),
        "your bins run from 0 to 1; bets have probabilities from 1/2 to 1": by(0.0),
        "gaps cancel: cut [1/2, 1] into `bins` parts and take the absolute value in each": torch.tensor(
            abs(p.mean() - right.mean()), dtype=torch.float64
        ),
        "each bet is compared with its own outcome: average both within a bin first": torch.tensor(
            np.abs(p - right).mean(), dtype=torch.float64
        ),
    }
    truth = torch.tensor(calibration_error(lead, bins), dtype=torch.float64)
    got = answer(p, right, bins)
    compare(
        torch.as_tensor(got, dtype=torch.float64) if np.size(got) == 1 and got is not None else got,
        truth,
        mistakes,
    )
