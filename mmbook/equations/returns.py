"""From one score per response to an advantage per token."""

from __future__ import annotations

import torch
from torch import Tensor

from ._arguments import Number, check_range, check_rows, check_shapes, keep, widen
from .divergence import kl_k1


def standardised_score(R: Tensor, mu: Number, sigma: Number, c: float, p: float, ended: Tensor) -> Tensor:
    """Score of each response: its reward R (B,) standardised, clipped to +-c, less p where no EOS `ended` it.

    Implements {eq}`eq:score`. Returns (B,). Raises ValueError for differing shapes, sigma or c <= 0, p < 0.
    """
    check_shapes(R=R, ended=ended)
    check_range("sigma", sigma, 0)
    check_range("c", c, 0)
    check_range("p", p, 0, open_low=False)
    R = widen(R)
    return torch.clamp((R - mu) / sigma, -c, c) - p * (1 - ended.to(R.dtype))


def shaped_reward(log_p: Tensor, log_p_ref: Tensor, m: Tensor, S: Tensor, beta: Number) -> Tensor:
    """Reward per token: minus beta times k1 everywhere, and the score S (B,) on the last token with m = 1.

    Implements {eq}`eq:shaped-reward`. Inputs (B, T); returns (B, T), zero where m = 0. Raises ValueError for
    differing shapes or a row without a response token. Source: Ziegler et al. 2019.
    """
    check_shapes(log_p=log_p, log_p_ref=log_p_ref, m=m)
    check_shapes(**{"m[:, 0]": m[:, 0], "S": S})
    check_rows(m)
    r = -beta * keep(kl_k1(log_p, log_p_ref), m)
    steps = torch.arange(1, m.shape[1] + 1, device=m.device)
    # The score stands on the token that ended the response, not on the slot after it.
    e = ((m != 0) * steps).argmax(dim=1, keepdim=True)
    return r.scatter_add(1, e, S.to(r.dtype).unsqueeze(1))


def gae(r: Tensor, V: Tensor, m: Tensor, gamma: float, lam: float) -> tuple[Tensor, Tensor]:
    """Generalised advantage estimate A and value target G of each token, from rewards r and values V (B, T).

    Implements {eq}`eq:gae`. The ones of m form one run per row, and nothing follows the last of them. Returns
    two (B, T), zero where m = 0. Raises ValueError for differing shapes, an empty row, gamma or lam outside
    [0, 1]. Source: Schulman et al. 2016.
    """
    check_shapes(r=r, V=V, m=m)
    check_rows(m)
    check_range("gamma", gamma, 0, 1, open_low=False)
    check_range("lam", lam, 0, 1, open_low=False)
    r, V = keep(r, m), keep(V, m)  # so that m_{t+1} V_{t+1} is V[:, t + 1]
    advantages = []
    A_next = V_next = torch.zeros_like(V[:, 0])
    for t in reversed(range(V.shape[1])):
        delta = r[:, t] + gamma * V_next - V[:, t]
        A_next = keep(delta + gamma * lam * A_next, m[:, t])
        V_next = V[:, t]
        advantages.append(A_next)
    A = torch.stack(advantages[::-1], dim=1)
    return A, A + V


def discounted_return(r: Tensor, m: Tensor, gamma: float) -> Tensor:
    """Return G (B, T) from each step to the end of its row: rewards r (B, T), each later one discounted more.

    Implements {eq}`eq:return`. The mask is as in `gae`, and so is what is raised; zero where m = 0.
    """
    return gae(r, torch.zeros_like(r), m, gamma, 1.0)[1]  # with no guesses, the targets are the returns
