"""Checkers of the chapter on trust regions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmbook.equations import approximate_kl, masked_mean, policy_loss
from mmbook.exercises import Mistake, exercise
from mmbook.exercises.comparing import compare


def _same(a: Any, b: Tensor) -> bool:
    return torch.allclose(torch.as_tensor(a, dtype=b.dtype), b, rtol=1e-4, atol=1e-6)


def _batch() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """New and old log-probabilities, advantages and mask (8, 6), with every case of the clip in it."""
    g = torch.Generator().manual_seed(3)
    old, noise, A = (torch.randn(8, 6, generator=g) for _ in range(3))
    return old + 0.5 * noise, old, A, (torch.arange(6) < torch.arange(8)[:, None] % 6 + 1).float()


@exercise("rl-trust-regions/clipped-surrogate")
def clipped_surrogate(answer: Callable[..., Tensor]) -> None:
    """`answer(log_p, log_p_old, A, m, eps)` is the clipped loss, a scalar."""
    log_p, log_p_old, A, m = _batch()
    loss = answer(log_p.requires_grad_(), log_p_old, A, m, 0.2)
    if not isinstance(loss, Tensor) or loss.dim():
        raise Mistake("the loss should be one number, a tensor without dimensions")
    rho = (log_p - log_p_old).exp()
    free, bounded, half = A * rho, A * rho.clamp(0.8, 1.2), A * rho.clamp(max=1.2)
    upside = torch.minimum(A / rho, A * (1 / rho).clamp(0.8, 1.2))
    mistakes = {
        "the sign is the other way round: a loss is descended": torch.minimum(free, bounded),
        "of the two terms you keep the better one; keep the worse": -torch.maximum(free, bounded),
        "you always clip: where the ratio went the wrong way no slope brings it back": -bounded,
        "nothing is clipped: this is the plain surrogate": -free,
        "the clip has no lower end: bad actions are pushed down without limit": -torch.minimum(free, half),
        "the ratio is upside down: new over old": -upside,
    }
    wrong = {says: masked_mean(x, m) for says, x in mistakes.items()}
    wrong["padding is counted: average over m = 1 only"] = -torch.minimum(free, bounded).mean()
    compare(loss, policy_loss(log_p, log_p_old, A, m, 0.2), wrong)
    if not _same(answer(log_p, log_p_old, A, m, 0.5), policy_loss(log_p, log_p_old, A, m, 0.5)):
        raise Mistake("with eps = 0.2 all is right, with 0.5 it is not: use the argument eps")
    if not loss.requires_grad:
        raise Mistake("no gradient reaches log_p: do not detach the new log-probabilities")
    loss = answer(log_p, log_p * 1.0, A, m, 0.2)  # the old ones come from the same weights
    if not (loss.requires_grad and _same(torch.autograd.grad(loss, log_p)[0], -A * m / m.sum())):
        raise Mistake("gradients flow through the old log-probabilities: they are numbers, so detach them")


@exercise("rl-trust-regions/conjugate-gradient")
def conjugate_gradient(answer: Callable[..., Tensor]) -> None:
    """`answer(product, b, steps)` solves F x = b for the matrix behind `product`."""
    g = torch.Generator().manual_seed(0)
    M, b = torch.randn(6, 6, generator=g).double(), torch.randn(6, generator=g).double()
    F, asked, kept = M @ M.T + torch.eye(6).double(), list[Tensor](), b.clone()

    def product(v: Tensor) -> Tensor:
        asked.append(v.to(F, copy=True))
        return F @ v.to(F)

    x = answer(product, b, 6)
    if x is None or np.shape(x) != b.shape:
        raise Mistake(f"the solution should have the shape of b, {tuple(b.shape)}, got {np.shape(x) or x}")
    x = torch.as_tensor(x).to(F)
    if not torch.equal(b, kept):
        raise Mistake("you change b itself: the residual begins as a copy of b")
    if not 2 <= len(asked) <= 7:
        raise Mistake(f"one product a step is enough and needed: 6 steps used {len(asked)} products")
    if torch.allclose(F @ x, -b):
        raise Mistake("the solution has the wrong sign: x grows by alpha times the direction")
    first, second = asked[:2]
    if not torch.allclose(first * b.norm(), b * first.norm()):
        raise Mistake("the first direction should be b, the residual of x = 0")
    if (first @ second).abs() < 1e-9 * (first @ first):
        raise Mistake("each direction is the bare residual, steepest descent: add a share of the last one")
    if (first @ F @ second).abs() > 1e-6 * (first @ F @ first):
        raise Mistake("a direction undoes the last one: its share is the new squared residual over the old")
    if not torch.allclose(F @ x, b, atol=1e-4):  # 32-bit floats will do
        raise Mistake(f"after 6 steps for 6 unknowns F x should be b; it is off by {(F @ x - b).norm():.3g}")


@exercise("rl-trust-regions/approximate-kl")
def kl_from_samples(answer: Callable[..., Tensor]) -> None:
    """`answer(log_p, log_p_old, m)` is the k3 estimate of the divergence from the old to the new policy."""
    log_p, log_p_old, _, m = _batch()
    d = log_p_old - log_p  # what k1 averages: the samples come from the old policy
    mistakes = {
        "this is k1, right on average but noisy and at times negative: add rho - 1 to it": d,
        "this is the log-ratio with its sign turned: samples come from the old policy": -d,
        "this is k2, whose mean is not the divergence": d**2 / 2,
        "old and new are exchanged: the old policy sampled, so rho is new over old": d.exp() - 1 - d,
    }
    wrong = {says: masked_mean(x, m) for says, x in mistakes.items()}
    wrong["padding is counted: average over m = 1 only"] = (torch.expm1(-d) + d).mean()
    wrong["this is the sum over tokens: divide by the number with m = 1"] = ((torch.expm1(-d) + d) * m).sum()
    wrong["rho - 1 alone averages 0: take its logarithm off"] = masked_mean(torch.expm1(-d), m)
    compare(answer(log_p, log_p_old, m), approximate_kl(log_p, log_p_old, m), wrong)
