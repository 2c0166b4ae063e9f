"""Answers that are turned round at random: what they still give away, and what they still teach."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from ._arguments import check_range, check_shapes, widen


def response_epsilon(p: float) -> float:
    """The privacy loss in nats of an answer that is turned round with probability p, at most 1/2.

    Implements {eq}`eq:response-epsilon`. Infinite at p = 0. Raises ValueError for p outside [0, 1/2].
    Source: Warner 1965; Dwork and Roth 2014.
    """
    check_range("p", p, 0, 0.5, open_low=False)
    return math.log((1 - p) / p) if p else math.inf


def flipped_loss(R_c: Tensor, R_r: Tensor, p: float) -> Tensor:
    """Mean negative log-likelihood of choices that were turned round with probability p, rewards (B,).

    Implements {eq}`eq:flipped-loss`. At p = 0 it is the preference loss. Returns a scalar. Raises ValueError
    for differing shapes, no pair, or p outside [0, 1/2].
    """
    check_shapes(R_c=R_c, R_r=R_r)
    check_range("p", p, 0, 0.5, open_low=False)
    if R_c.numel() == 0:
        raise ValueError(f"R_c: expected at least one pair, got shape {tuple(R_c.shape)}")
    d = widen(R_c) - widen(R_r)
    if p == 0:
        return -logsigmoid(d).mean()
    honest, turned = logsigmoid(d) + math.log1p(-p), logsigmoid(-d) + math.log(p)
    return -torch.logaddexp(honest, turned).mean()
