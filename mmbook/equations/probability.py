"""The probability that a model gives to what was sampled."""

from __future__ import annotations

import torch
from torch import Tensor

from ._arguments import Number, check_range, widen


def _log_softmax(logits: Tensor, tau: Number) -> Tensor:
    check_range("tau", tau, 0)
    return torch.log_softmax(widen(logits) / tau, dim=-1)


def log_prob(logits: Tensor, actions: Tensor, tau: Number = 1.0) -> Tensor:
    """Log-probability, in nats, of actions (B, T) under logits (B, T, V) at the sampling temperature tau.

    Implements {eq}`eq:log-prob`. Returns (B, T) in float32 (float64 stays). Raises ValueError if the shapes
    do not fit or tau <= 0.
    """
    if actions.shape != logits.shape[:-1]:
        raise ValueError(
            f"actions: expected shape {tuple(logits.shape[:-1])}, that of logits without its last dimension, "
            f"got {tuple(actions.shape)}"
        )
    return _log_softmax(logits, tau).gather(-1, actions.unsqueeze(-1)).squeeze(-1)


def entropy(logits: Tensor, tau: Number = 1.0) -> Tensor:
    """Entropy, in nats, of the next-token distribution of logits (B, T, V) at temperature tau.

    Implements {eq}`eq:entropy`. Returns (B, T). Raises ValueError if tau <= 0.
    """
    log_p = _log_softmax(logits, tau)
    p = log_p.exp()
    return -(p * log_p.masked_fill(p == 0, 0.0)).sum(-1)  # 0 log 0 = 0, also for a token ruled out with -inf
