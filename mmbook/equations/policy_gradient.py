"""The gradient of what a policy earns: in expectation, exactly for a table, and from groups of responses."""

from __future__ import annotations

import torch
from torch import Tensor

from ._arguments import Number, check_shapes, keep, widen
from .averages import masked_mean


def policy_gradient_loss(
    log_p: Tensor, A: Tensor, m: Tensor, w: Number = 1.0, N: Number | None = None
) -> Tensor:
    """Loss whose gradient is minus the policy gradient's estimate; the advantages A are constants.

    Implements {eq}`eq:policy-gradient-loss`. Inputs (B, T); w weighs steps, and N is what the sum is divided
    by: the number of episodes for the gradient of the mean return, by default the tokens of m. Returns a
    scalar. Raises ValueError for differing shapes or an empty mask without N. Source: Williams 1992.
    """
    check_shapes(log_p=log_p, A=A, m=m)
    return masked_mean(-w * keep(A, m) * keep(log_p, m), m, N)


def softmax_policy_gradient(d: Tensor, pi: Tensor, A: Tensor) -> Tensor:
    """Exact gradient (S, A) of the return by the logits of a table: visits d (S,), policy pi and A (S, A).

    Implements {eq}`eq:softmax-gradient`. d counts discounted visits; A are the policy's own exact advantages.
    Raises ValueError for differing shapes. Source: Sutton et al. 2000.
    """
    check_shapes(pi=pi, A=A)
    check_shapes(**{"pi[:, 0]": pi[:, 0], "d": d})
    return widen(d)[:, None] * widen(pi) * widen(A)


def leave_one_out(R: Tensor) -> Tensor:
    """Advantage (B, K) of each of K responses to one prompt: its reward R less the mean of the others.

    Implements {eq}`eq:rloo`. Raises ValueError for fewer than two responses. Source: Kool et al. 2019.
    """
    K = _group(R)
    R = widen(R)
    return R - (R.sum(-1, keepdim=True) - R) / (K - 1)


def group_standardised(R: Tensor) -> Tensor:
    """Advantage (B, K) of each of K responses: its reward R standardised within the group.

    Implements {eq}`eq:grpo`. Groups whose rewards agree get 0. Raises ValueError for fewer than two
    responses. Source: Shao et al. 2024.
    """
    K = _group(R)
    R = widen(R)
    d = R - R.mean(-1, keepdim=True)
    return d / torch.sqrt((d**2).sum(-1, keepdim=True) / K + 1e-8)


def _group(R: Tensor) -> int:
    if R.dim() < 1 or R.shape[-1] < 2:
        raise ValueError(f"R: expected at least two responses in the last dimension, got {tuple(R.shape)}")
    return R.shape[-1]
