"""The exercises on PPO for RLHF: published solutions pass, typical mistakes get their own words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch


def shaped(
    sign: float = -1.0,
    where: Callable[..., Any] | None = None,
    over: Callable[..., Any] | None = None,
    use_beta: bool = True,
) -> Callable[..., Any]:
    def rewards(log_p: Any, log_p_ref: Any, m: Any, S: Any, beta: float) -> Any:
        d = log_p - log_p_ref
        r = sign * (beta if use_beta else 1.0) * (over(d, m) if over else d * m)
        end = m.sum(1).long() - 1
        r[torch.arange(len(r)), where(end) if where else end] += S
        return r

    return rewards


REWARDS = {
    "wrong sign": shaped(sign=1.0),
    "after the end": shaped(where=lambda end: (end + 1).clamp(max=4)),
    "last column": shaped(where=lambda end: torch.full_like(end, 4)),
    "every token gets": lambda p, q, m, S, beta: (-beta * (p - q) + S[:, None]) * m,
    "padding pays": shaped(over=lambda d, m: d),
    "clamp the log-ratio": shaped(over=lambda d, m: d.clamp(min=0) * m),
    "charged once": shaped(
        over=lambda d, m: (d * m).sum(1, keepdim=True) * (torch.arange(5) == m.sum(1, keepdim=True) - 1)
    ),
    "the price is missing": shaped(sign=0.0),
    "beta is missing": shaped(use_beta=False),
    "one for each token": lambda p, q, m, S, beta: S,
    "of a small batch": shaped(sign=-2.0),
    "stopped with TypeError": lambda p: p,
}


def mean(x: Any, m: Any) -> Any:
    return (x * m).sum() / m.sum()


LOSSES = {
    "this is k1": lambda p, q, m: mean(p - q.detach(), m),
    "this is k3": lambda p, q, m: mean((q.detach() - p).exp() - 1 + p - q.detach(), m),
    "the half is missing": lambda p, q, m: mean((p - q.detach()) ** 2, m),
    "absolute log-ratio": lambda p, q, m: mean((p - q.detach()).abs(), m),
    "pushes away": lambda p, q, m: -mean((p - q.detach()) ** 2 / 2, m),
    "adds up the tokens": lambda p, q, m: ((p - q.detach()) ** 2 / 2 * m).sum(),
    "padding is counted": lambda p, q, m: ((p - q.detach()) ** 2 / 2).mean(),
    "reaches the reference": lambda p, q, m: mean((p - q) ** 2 / 2, m),
    "no gradient reaches": lambda p, q, m: mean((p.detach() - q.detach()) ** 2 / 2, m),
    "one number": lambda p, q, m: (p - q.detach()) ** 2 / 2,
    "another one": lambda p, q, m: mean((p - q.detach()) ** 4, m),
}


def bounded(KL: float, target: float) -> float:
    return min(max(KL / target - 1, -0.2), 0.2)


PRICES = {
    "direction is wrong": lambda b, KL, t, n, h: b * (1 - bounded(KL, t) * n / h),
    "not clipped": lambda b, KL, t, n, h: b * (1 + (KL / t - 1) * n / h),
    "take 1 off": lambda b, KL, t, n, h: b * (1 + min(max(KL / t, -0.2), 0.2) * n / h),
    "n / horizon is missing": lambda b, KL, t, n, h: b * (1 + bounded(KL, t)),
    "the change is added": lambda b, KL, t, n, h: b + bounded(KL, t) * n / h,
    "price itself is missing": lambda b, KL, t, n, h: 1 + bounded(KL, t) * n / h,
    "you return": lambda b, KL, t, n, h: 2 * b,
}


MISTAKES = {
    "rlhf-ppo/shaped-reward": REWARDS,
    "rlhf-ppo/kl-loss": LOSSES,
    "rlhf-ppo/adaptive-beta": PRICES,
}
