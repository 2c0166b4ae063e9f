"""What KL-regularised training would reach if it could list every response."""

from __future__ import annotations

import torch
from torch import Tensor

from ._arguments import Number, check_range, check_shapes, widen


def kl_regularised_optimum(log_p_ref: Tensor, R: Tensor, beta: Number) -> Tensor:
    """Log-probabilities (..., K) of the best policy over K responses: the reference tilted by rewards R.

    Implements {eq}`eq:kl-optimum`. Raises ValueError for differing shapes or beta <= 0.
    """
    check_shapes(log_p_ref=log_p_ref, R=R)
    check_range("beta", beta, 0)
    return torch.log_softmax(widen(log_p_ref) + widen(R) / beta, dim=-1)


def kl_objective(log_p: Tensor, log_p_ref: Tensor, R: Tensor, beta: Number) -> Tensor:
    """Exact value (...) of a policy over K responses: mean reward less beta times its KL from the reference.

    Implements {eq}`eq:kl-objective`. Inputs (..., K), log-probabilities normalised over K. Raises ValueError
    for differing shapes or beta < 0.
    """
    check_shapes(log_p=log_p, log_p_ref=log_p_ref, R=R)
    check_range("beta", beta, 0, open_low=False)
    log_p, log_p_ref, R = widen(log_p), widen(log_p_ref), widen(R)
    p = log_p.exp()
    gain = (R - beta * (log_p - log_p_ref)).masked_fill(p == 0, 0.0)  # 0 log 0 = 0
    return (p * gain).sum(-1)
