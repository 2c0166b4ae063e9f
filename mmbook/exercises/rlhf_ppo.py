"""Checkers of the chapter on PPO for RLHF."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mmbook.equations import adaptive_beta, kl_k1, kl_k2, kl_k3, masked_mean, shaped_reward
from mmbook.exercises import Mistake, exercise


def _same(a: Any, b: Tensor) -> bool:
    return torch.allclose(torch.as_tensor(a, dtype=b.dtype), b, rtol=1e-4, atol=1e-6)


def _batch() -> tuple[Tensor, Tensor, Tensor]:
    """Log-probabilities of policy and reference, and a mask (6, 5) with rows of every length."""
    draw = torch.Generator().manual_seed(4)
    log_p, log_p_ref = (-2 * torch.rand(6, 5, generator=draw) for _ in range(2))
    return log_p, log_p_ref, (torch.arange(5) < torch.tensor([5, 1, 2, 3, 4, 5])[:, None]).float()


@exercise("rlhf-ppo/shaped-reward")
def rewards(answer: Callable[..., Tensor]) -> None:
    """`answer(log_p, log_p_ref, m, S, beta)` is the reward of each token (B, T)."""
    log_p, log_p_ref, m = _batch()
    S, beta, end = torch.tensor([1.5, -0.5, 2.0, 0.7, -1.0, 0.3]), 0.4, m.sum(1).long() - 1
    right, rows = shaped_reward(log_p, log_p_ref, m, S, beta), torch.arange(len(m))
    r = answer(log_p.clone(), log_p_ref.clone(), m.clone(), S.clone(), beta)
    if not isinstance(r, Tensor) or r.shape != m.shape:
        raise Mistake(f"the rewards should be a tensor (B, T) = {tuple(m.shape)}, one for each token")
    price = -beta * (log_p - log_p_ref)
    after, last = torch.zeros_like(m), torch.zeros_like(m)
    after[rows, (end + 1).clamp(max=4)] = S
    last[:, -1] = S
    scored = right - price * m
    mistakes = {
        "the price has the wrong sign: a token that became likelier pays": scored - price * m,
        "the score stands after the end: it belongs to the last token with m = 1": price * m + after,
        "the score stands on the last column, which is padding in most rows": price * m + last,
        "every token gets the score; only the last one should": (price + S[:, None]) * m,
        "padding pays too: multiply the price by m": scored + price,
        "you clamp the log-ratio: a token that is less likely than in the reference earns": scored
        - beta * (log_p - log_p_ref).clamp(min=0) * m,
        "the price is charged once for the whole caption; charge each token for its own": scored
        + (price * m).sum(1, keepdim=True) * (scored != 0),
        "the price is missing": scored,
        "beta is missing": scored - (log_p - log_p_ref) * m,
    }
    for says, wrong in mistakes.items():
        if _same(r, wrong):
            raise Mistake(says)
    if not _same(r, right):
        row = int((r - right).abs().sum(1).argmax())
        raise Mistake(f"row {row} of a small batch is {r[row].tolist()}, but should be {right[row].tolist()}")


@exercise("rlhf-ppo/kl-loss")
def price_as_loss(answer: Callable[..., Tensor]) -> None:
    """`answer(log_p, log_p_ref, m)` is a loss whose mean gradient is that of KL(policy || reference)."""
    log_p, log_p_ref, m = _batch()
    log_p.requires_grad_(), log_p_ref.requires_grad_()
    loss = answer(log_p, log_p_ref, m)
    if not isinstance(loss, Tensor) or loss.dim():
        raise Mistake("the loss should be one number, a tensor without dimensions")
    if not loss.requires_grad:
        raise Mistake("no gradient reaches log_p: do not detach the policy's log-probabilities")
    g, g_ref = torch.autograd.grad(loss, [log_p, log_p_ref], allow_unused=True)
    if g_ref is not None and g_ref.any():
        raise Mistake("a gradient reaches the reference: it is fixed, so detach its log-probabilities")

    def slope(x: Tensor, N: Tensor | None = None) -> Tensor:
        return torch.autograd.grad(masked_mean(x, m, N), log_p)[0]

    d = log_p - log_p_ref
    mistakes = {
        "this is k1: as a loss its mean gradient is 0, so it holds nothing": slope(kl_k1(log_p, log_p_ref)),
        "this is k3: as a loss it pulls with KL(reference || policy)": slope(kl_k3(log_p, log_p_ref)),
        "the half is missing: the square alone pulls twice as hard": slope(d**2),
        "this is the absolute log-ratio: it pulls as hard at any distance": slope(d.abs()),
        "the sign is the other way round: this pushes away": slope(-kl_k2(log_p, log_p_ref)),
        "this adds up the tokens: average over those with m = 1": slope(
            kl_k2(log_p, log_p_ref), torch.tensor(1.0)
        ),
        "padding is counted: average over m = 1 only": torch.autograd.grad(
            kl_k2(log_p, log_p_ref).mean(), log_p
        )[0],
    }
    for says, wrong in mistakes.items():
        if g is not None and _same(g, wrong):
            raise Mistake(says)
    if g is None or not _same(g, slope(kl_k2(log_p, log_p_ref))):
        raise Mistake("the gradient for log_p should be (log_p - log_p_ref) m / N; yours is another one")


@exercise("rlhf-ppo/adaptive-beta")
def steering(answer: Callable[..., float]) -> None:
    """`answer(beta, KL, KL_target, n, horizon)` is the next price."""
    for KL in (6.3, 60.0, 5.7, 0.0, 6.0):
        beta, target, n, horizon = 0.1, 6.0, 256, 2000
        e, share = KL / target - 1, n / horizon
        bounded = min(max(e, -0.2), 0.2)
        got, right = float(answer(beta, KL, target, n, horizon)), adaptive_beta(beta, KL, target, n, horizon)
        mistakes = {
            "the direction is wrong: who is too far away must pay more": beta * (1 - bounded * share),
            "the error is not clipped: one odd batch may turn the price round": beta * (1 + e * share),
            "the error is how far KL / KL_target lies from 1: take 1 off": beta
            * (1 + min(max(e + 1, -0.2), 0.2) * share),
            "n / horizon is missing, so the price moves at once": beta * (1 + bounded),
            "the change is added; multiply, so that the price stays positive": beta + bounded * share,
            "the price itself is missing: return beta times the factor": 1 + bounded * share,
        }
        if abs(got - right) > 1e-9:
            for says, wrong in mistakes.items():
                if abs(got - wrong) < 1e-9:
                    raise Mistake(says)
            raise Mistake(f"for KL = {KL} and a target of {target} you return {got:.5f}, not {right:.5f}")
