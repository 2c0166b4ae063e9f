"""How far a policy has moved from its reference, estimated from the sampled tokens alone."""

from __future__ import annotations

import torch
from torch import Tensor

from ._arguments import check_shapes, widen


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
