"""How far a policy may move: the surrogate, the divergence that bounds it, and the natural step."""

from __future__ import annotations

import torch
from torch import Tensor

from ._arguments import Number, check_range, check_shapes, keep, widen
from .averages import masked_mean


def surrogate(log_p: Tensor, log_p_old: Tensor, A: Tensor, m: Tensor, N: Number | None = None) -> Tensor:
    """Mean advantage under the new policy, seen through the old one's samples; log_p_old and A are constants.

    Implements {eq}`eq:surrogate`. Inputs (B, T); returns a scalar. Raises ValueError for differing shapes or
    an empty mask without N. Source: Kakade and Langford 2002.
    """
    check_shapes(log_p=log_p, log_p_old=log_p_old, A=A, m=m)
    return masked_mean((keep(log_p, m) - keep(log_p_old, m)).exp() * keep(A, m), m, N)


def mean_divergence(z_old: Tensor, z: Tensor, m: Tensor, N: Number | None = None) -> Tensor:
    """Mean KL divergence, in nats, from the old policy to the new; logits z_old and z (B, T, V), mask m.

    Implements {eq}`eq:mean-divergence`. Exact over the actions, sampled over the states. Returns a scalar.
    Raises ValueError for differing shapes or an empty mask without N. Source: Schulman et al. 2015.
    """
    check_shapes(z_old=z_old, z=z)
    log_p_old, log_p = (torch.log_softmax(widen(x), dim=-1) for x in (z_old, z))
    return masked_mean((log_p_old.exp() * (log_p_old - log_p)).sum(-1), m, N)


def fisher_matrix(d: Tensor, pi: Tensor) -> Tensor:
    """Exact Fisher matrix of a table's logits, one block (A, A) a state: (S, A, A) from d (S,) and pi (S, A).

    Implements {eq}`eq:fisher`. Raises ValueError unless the states agree. Source: Kakade 2002.
    """
    check_shapes(**{"pi[:, 0]": pi[:, 0], "d": d})
    d, pi = widen(d), widen(pi)
    return d[:, None, None] * (torch.diag_embed(pi) - pi[:, :, None] * pi[:, None, :])


def natural_step(g: Tensor, x: Tensor, delta: float) -> Tensor:
    """The longest step (n,) along x = F^-1 g whose divergence is delta to second order; g is the gradient.

    Implements {eq}`eq:natural-step`. Raises ValueError for differing shapes or delta <= 0.
    Source: Schulman et al. 2015.
    """
    check_shapes(g=g, x=x)
    check_range("delta", delta, 0)
    return torch.sqrt(2 * delta / (widen(g) @ widen(x)).clamp(min=1e-12)) * widen(x)
