"""Learning from choices without a reward model, and the best of n samples."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from ._arguments import Number, check_range, check_shapes, widen


def _lead(d_c: Tensor, d_r: Tensor, beta: Number) -> Tensor:
    check_shapes(d_c=d_c, d_r=d_r)
    check_range("beta", beta, 0)
    if not d_c.numel():
        raise ValueError(f"d_c: expected at least one pair, got shape {tuple(d_c.shape)}")
    return widen(d_c) - widen(d_r)


def dpo_loss(d_c: Tensor, d_r: Tensor, beta: Number) -> Tensor:
    """Mean preference loss where the reward of a response is beta times its log-ratio to the reference.

    Implements {eq}`eq:dpo`. The log-ratios d_c (B,) of the chosen responses and d_r (B,) of the rejected are
    sums over tokens. Returns a scalar. Raises ValueError for differing shapes, no pair or beta <= 0. Source:
    Rafailov et al. 2023.
    """
    return -logsigmoid(beta * _lead(d_c, d_r, beta)).mean()


def ipo_loss(d_c: Tensor, d_r: Tensor, beta: Number) -> Tensor:
    """Mean squared distance of the lead of the chosen response from 1 / (2 beta): no pair is won without end.

    Implements {eq}`eq:ipo`. Arguments and errors are those of `dpo_loss`. Source: Azar et al. 2024.
    """
    return ((_lead(d_c, d_r, beta) - 1 / (2 * beta)) ** 2).mean()


def best_of_n_policy(log_p_ref: Tensor, R: Tensor, n: int) -> Tensor:
    """Log-probabilities (..., K) of the first best by reward R (..., K) of n samples of the reference.

    Implements {eq}`eq:best-of-n-policy`. Raises ValueError for differing shapes or n that is no whole number
    above 0.
    """
    check_shapes(log_p_ref=log_p_ref, R=R)
    if isinstance(n, bool) or not isinstance(n, int) or n < 1:
        raise ValueError(f"n: expected a whole number, 1 or more, got {n!r}")
    p = widen(log_p_ref).exp()
    mine, theirs = R[..., :, None], R[..., None, :]
    below, at_most = ((p[..., None, :] * which).sum(-1) for which in (theirs < mine, theirs <= mine))
    ways = sum(below ** (j - 1) * at_most ** (n - j) for j in range(1, n + 1))
    return widen(log_p_ref) + ways.log()


def best_of_n_kl(n: Number) -> Tensor:
    """Upper bound, in nats, of how far the best of n (...) samples lies from the reference.

    Implements {eq}`eq:best-of-n`. Raises ValueError for n < 1. Source: Stiennon et al. 2020; that it is a
    bound and no equality: Beirami et al. 2024.
    """
    n = widen(torch.as_tensor(n))
    if (n < 1).any():
        raise ValueError(f"n: expected numbers >= 1, got {n.min():g}")
    return n.log() - (n - 1) / n
