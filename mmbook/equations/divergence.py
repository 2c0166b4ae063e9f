"""How far a policy has moved from its reference, estimated from the sampled tokens alone, and its price."""

from __future__ import annotations

import torch
from torch import Tensor

from ._arguments import Number, check_range, check_shapes, widen


def kl_k1(log_p: Tensor, log_p_ref: Tensor) -> Tensor:
    """Log-ratio per token (B, T): an unbiased estimate of the KL divergence, in nats, that may be negative.

    Implements {eq}`eq:kl-k1`. Raises ValueError for differing shapes. Source: Schulman 2020.
    """
    check_shapes(log_p=log_p, log_p_ref=log_p_ref)
    return widen(log_p) - widen(log_p_ref)


def kl_k2(log_p: Tensor, log_p_ref: Tensor) -> Tensor:
    """Half the squared log-ratio per token (B, T): biased as a value, right as a loss.

    Implements {eq}`eq:kl-k2`. Raises ValueError for differing shapes. Source: Schulman 2020.
    """
    return kl_k1(log_p, log_p_ref) ** 2 / 2


def kl_k3(log_p: Tensor, log_p_ref: Tensor) -> Tensor:
    """Unbiased estimate of the KL divergence per token (B, T) that is never negative; not clamped.

    Implements {eq}`eq:kl-k3`. Raises ValueError for differing shapes. Source: Schulman 2020.
    """
    d = kl_k1(log_p, log_p_ref)
    return torch.expm1(-d) + d  # exp(-d) - 1 + d, accurate for small d


def adaptive_beta(beta: Number, KL: Number, KL_target: Number, n: int, horizon: float) -> Number:
    """The price of a nat for the next update, higher where KL was above KL_target, lower where below.

    Implements {eq}`eq:adaptive-kl`. KL is what the last n responses measured, in nats a response. Raises
    ValueError for beta, n < 0, or KL_target, horizon <= 0. Source: Ziegler et al. 2019.
    """
    check_range("beta", beta, 0, open_low=False)
    check_range("KL_target", KL_target, 0)
    check_range("n", n, 0, open_low=False)
    check_range("horizon", horizon, 0)
    return beta * (1 + min(max(KL / KL_target - 1, -0.2), 0.2) * n / horizon)
