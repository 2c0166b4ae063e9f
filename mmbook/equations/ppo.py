"""The losses of proximal policy optimisation and the numbers that tell whether it is healthy."""

from __future__ import annotations

import torch
from torch import Tensor

from ._arguments import Number, check_range, check_shapes, keep, token_count
from .averages import masked_mean
from .divergence import kl_k3


def policy_loss(
    log_p: Tensor, log_p_old: Tensor, A: Tensor, m: Tensor, eps: float, N: Number | None = None
) -> Tensor:
    """Clipped surrogate loss of the policy; log_p_old and A are constants.

    Implements {eq}`eq:policy-loss`. Inputs (B, T); N is the token count of the whole minibatch (default: that
    of m). Returns a scalar. Raises ValueError for differing shapes, an empty mask without N, or eps <= 0.
    Source: Schulman et al. 2017.
    """
    check_shapes(log_p=log_p, log_p_old=log_p_old, A=A, m=m)
    check_range("eps", eps, 0)
    rho, A = (keep(log_p, m) - keep(log_p_old, m)).exp(), keep(A, m)
    return masked_mean(torch.maximum(-A * rho, -A * rho.clamp(1 - eps, 1 + eps)), m, N)


def value_loss(
    V: Tensor, V_old: Tensor, G: Tensor, m: Tensor, eps_v: float, N: Number | None = None
) -> Tensor:
    """Clipped squared error of the critic against the value target G; V_old and G are constants.

    Implements {eq}`eq:value-loss`. Inputs (B, T); N is the token count of the whole minibatch (default: that
    of m). Returns a scalar. Raises ValueError for differing shapes, an empty mask without N, or eps_v <= 0.
    """
    check_shapes(V=V, V_old=V_old, G=G, m=m)
    check_range("eps_v", eps_v, 0)
    V, V_old, G = keep(V, m), keep(V_old, m), keep(G, m)
    V_clip = V_old + (V - V_old).clamp(-eps_v, eps_v)
    return masked_mean(torch.maximum((V - G) ** 2, (V_clip - G) ** 2), m, N) / 2


def total_loss(L_pi: Tensor, L_v: Tensor, H: Tensor, c_v: float, c_H: float) -> Tensor:
    """Loss of one PPO step: the policy's, c_v of the critic's, less c_H of the mean entropy; all scalars.

    Implements {eq}`eq:total-loss`. Source: Schulman et al. 2017.
    """
    return L_pi + c_v * L_v - c_H * H


def approximate_kl(log_p: Tensor, log_p_old: Tensor, m: Tensor) -> Tensor:
    """Mean k3 between the sampling policy and the present one, in nats; inputs (B, T), returns a scalar.

    Implements {eq}`eq:approximate-kl`. Raises ValueError for differing shapes or an empty mask.
    """
    return masked_mean(kl_k3(log_p_old, log_p), m)  # the samples come from the old policy


def clip_fraction(log_p: Tensor, log_p_old: Tensor, m: Tensor, eps: float) -> Tensor:
    """Share of tokens whose probability ratio lies outside 1 +- eps; inputs (B, T), returns a scalar.

    Implements {eq}`eq:clip-fraction`. Raises ValueError for differing shapes, an empty mask, or eps <= 0.
    """
    check_shapes(log_p=log_p, log_p_old=log_p_old, m=m)
    check_range("eps", eps, 0)
    rho = (keep(log_p, m) - keep(log_p_old, m)).exp()
    return masked_mean((rho - 1).abs() > eps, m)


def explained_variance(V: Tensor, G: Tensor, m: Tensor) -> Tensor:
    """Share of the variance of G that the values V (B, T) explain: 1 is perfect; 0 if G does not vary.

    Implements {eq}`eq:explained-variance`. Returns a scalar. Raises ValueError for differing shapes or an
    empty mask.
    """
    check_shapes(V=V, G=G, m=m)
    token_count(m, None)
    G, left, silent = keep(G, m), keep(G, m) - keep(V, m), m == 0
    flat = G.masked_fill(silent, -torch.inf).amax() == G.masked_fill(silent, torch.inf).amin()
    return torch.where(flat, 0.0, 1 - _variance(left, m) / _variance(G, m).masked_fill(flat, 1.0))


def _variance(x: Tensor, m: Tensor) -> Tensor:
    return masked_mean((x - masked_mean(x, m)) ** 2, m)
