"""What the output layer says of many tokens, a few at a time: the logits of all of them never exist."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class Said(torch.autograd.Function):
    """Log-probabilities (N,) of tokens under softmax(states @ weight.T / tau), and entropies (N,).

    `chunk` rows of logits (chunk, V) exist at a time, in one place, and are computed again for the gradient:
    d log p_a / dz = [a] - p and dH / dz = -p (log p + H). Call `Said.apply(states, weight, ids, tau, chunk,
    spread)` with states (N, D) and weight (V, D); without `spread` entropies are 0.
    """

    @staticmethod
    def forward(
        ctx: Any, states: Tensor, weight: Tensor, ids: Tensor, tau: float, chunk: int, spread: bool
    ) -> Any:
        log_p, H, log_z = torch.zeros(3, len(states), dtype=_wide(states), device=states.device)
        room = states.new_empty(min(chunk, len(states)), len(weight))
        for rows in _rows(states, chunk):
            z = _logits(states[rows], weight, tau, room)
            top = z.amax(1)
            said = z.gather(1, ids[rows, None])[:, 0] - top
            z.sub_(top[:, None])
            p = z.exp() if spread else z.exp_()
            total = p.sum(1)
            log_p[rows] = said - total.log()
            if spread:  # 0 log 0 = 0
                H[rows] = total.log() - p.mul_(z.nan_to_num_(neginf=0.0)).sum(1) / total
            log_z[rows] = total.log() + top
        ctx.save_for_backward(states, weight, ids, log_z, H)
        ctx.tau, ctx.chunk, ctx.spread = tau, chunk, spread
        return log_p, H

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        states, weight, ids, log_z, H = ctx.saved_tensors
        g, g_H = (x[:, None] / ctx.tau for x in gradients)
        d_states = torch.empty_like(states)
        d_weight = torch.zeros_like(weight) if ctx.needs_input_grad[1] else None
        room = states.new_empty(min(ctx.chunk, len(states)), len(weight))
        for rows in _rows(states, ctx.chunk):
            lp = _logits(states[rows], weight, ctx.tau, room).sub_(log_z[rows, None])
            dz = lp.exp()
            if ctx.spread:
                lp = lp.nan_to_num_(neginf=0.0).add_(H[rows, None]).mul_(g_H[rows])
                dz.mul_(lp.add_(g[rows]).neg_())
            else:
                dz.mul_(-g[rows])
            dz = dz.scatter_add_(1, ids[rows, None], g[rows]).to(states.dtype)
            d_states[rows] = dz @ weight
            if d_weight is not None:
                d_weight.addmm_(dz.T, states[rows])
        return d_states, d_weight, None, None, None, None


def _wide(x: Tensor) -> torch.dtype:
    return torch.promote_types(x.dtype, torch.float32)


def _rows(states: Tensor, chunk: int) -> list[slice]:
    return [slice(a, a + chunk) for a in range(0, len(states), chunk)]


def _logits(states: Tensor, weight: Tensor, tau: float, room: Tensor) -> Tensor:
    """Logits over tau (n, V), at least float32, in the first rows of `room` if that is as wide."""
    return torch.mm(states, weight.T, out=room[: len(states)]).to(_wide(states)).div_(tau)
