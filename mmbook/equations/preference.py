"""From two rewards to the probability of a choice, and from choices to a loss."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from ._arguments import Number, check_shapes, widen


def preference_probability(R_c: Tensor, R_r: Tensor) -> Tensor:
    """Probability that the response with reward R_c is preferred to the one with R_r; any equal shapes.

    Implements {eq}`eq:bradley-terry`. Raises ValueError for differing shapes. Source: Bradley and Terry 1952.
    """
    check_shapes(R_c=R_c, R_r=R_r)
    return torch.sigmoid(widen(R_c) - widen(R_r))


def preference_loss(R_c: Tensor, R_r: Tensor, margin: Number = 0.0, c: float = 0.0) -> Tensor:
    """Mean negative log-likelihood of the choices, R_c (B,) of the chosen, R_r (B,) of the rejected.

    Implements {eq}`eq:preference-loss`. `margin` (a number or (B,)) is the lead asked for; c draws the
    rewards of a pair towards mean 0. Returns a scalar. Raises ValueError for differing shapes or no pair.
    Source: Ouyang et al. 2022.
    """
    check_shapes(R_c=R_c, R_r=R_r)
    if R_c.numel() == 0:
        raise ValueError(f"R_c: expected at least one pair, got shape {tuple(R_c.shape)}")
    R_c, R_r = widen(R_c), widen(R_r)
    return (-logsigmoid(R_c - R_r - margin) + c * (R_c + R_r) ** 2).mean()
