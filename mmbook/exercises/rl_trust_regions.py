"""Checkers of the chapter on trust regions."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from mmbook.equations import approximate_kl, policy_loss
from mmbook.exercises import Mistake, exercise


def _same(a: Tensor, b: Tensor) -> bool:
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
    log_p.requires_grad_()
    loss = answer(log_p, log_p_old, A, m, 0.2)
    if not isinstance(loss, Tensor) or loss.dim():
        raise Mistake("the loss should be one number, a tensor without dimensions")
    right, rho = policy_loss(log_p, log_p_old, A, m, 0.2), (log_p - log_p_old).exp()

    def mean(x: Tensor) -> Tensor:
        return (x * m).sum() / m.sum()

    free, bounded = A * rho, A * rho.clamp(0.8, 1.2)
    for wrong, says in {
        mean(torch.minimum(free, bounded)): "the sign is the other way round: a loss is descended",
        -mean(torch.maximum(free, bounded)): "of the two terms you keep the better one; keep the worse",
        -mean(
            bounded
        ): "you always clip: where the ratio went the wrong way there is no slope to bring it back",
        -mean(free): "nothing is clipped: this is the plain surrogate",
        -mean(torch.minimum(free, A * rho.clamp(max=1.2))): "the clip has no lower end, so an action with a "
        "negative advantage is pushed down without limit",
        -mean(
            torch.minimum(A / rho, A * (1 / rho).clamp(0.8, 1.2))
        ): "the ratio is upside down: new over old",
        -torch.minimum(free, bounded).mean(): "padding is counted: average over m = 1 only",
    }.items():
        if _same(loss, wrong):
            raise Mistake(says)
    if not _same(loss, right):
        raise Mistake(f"the loss is {float(loss):.4f} where {float(right):.4f} is right, on a small batch")
    if not loss.requires_grad:
        raise Mistake("no gradient reaches log_p: do not detach the new log-probabilities")
    z = log_p.detach().clone().requires_grad_()
    loss = answer(z, z * 1.0, A, m, 0.2)  # the old ones come from the same weights
    if not (loss.requires_grad and _same(torch.autograd.grad(loss, z)[0], -A * m / m.sum())):
        raise Mistake("gradients flow through the old log-probabilities: they are numbers, so detach them")


@exercise("rl-trust-regions/conjugate-gradient")
def conjugate_gradient(answer: Callable[..., Tensor]) -> None:
    """`answer(product, b, steps)` solves F x = b for the matrix behind `product`."""
    g = torch.Generator().manual_seed(0)
    M, b = torch.randn(6, 6, generator=g).double(), torch.randn(6, generator=g).double()
    F, asked = M @ M.T + torch.eye(6).double(), list[Tensor]()

    def product(v: Tensor) -> Tensor:
        asked.append(v.clone())
        return F @ v

    kept = b.clone()
    x = answer(product, b, 6)
    if not torch.equal(b, kept):
        raise Mistake("you change b itself: the residual begins as a copy of b")
    if not 2 <= len(asked) <= 7:
        raise Mistake(f"one product a step is enough and needed: 6 steps used {len(asked)} products")
    if torch.allclose(F @ x, -b):
        raise Mistake("the solution has the wrong sign: x grows by alpha times the direction")
    if not torch.allclose(asked[0] * b.norm(), b * asked[0].norm()):
        raise Mistake("the first direction should be b, the residual of x = 0")
    first, second = asked[:2]
    if (first @ second).abs() < 1e-9 * (first @ first):
        raise Mistake("each direction is the bare residual, steepest descent: add a share of the last one")
    if (first @ F @ second).abs() > 1e-6 * (first @ F @ first):
        raise Mistake("a direction undoes the last one: its share is the new squared residual over the old")
    if not torch.allclose(F @ x, b, atol=1e-6):
        raise Mistake(f"after 6 steps for 6 unknowns F x should be b; it is off by {(F @ x - b).norm():.3g}")


@exercise("rl-trust-regions/approximate-kl")
def kl_from_samples(answer: Callable[..., Tensor]) -> None:
    """`answer(log_p, log_p_old, m)` is the k3 estimate of the divergence from the old to the new policy."""
    log_p, log_p_old, _, m = _batch()
    d = log_p_old - log_p  # what k1 averages: the samples come from the old policy
    got, right = answer(log_p, log_p_old, m), approximate_kl(log_p, log_p_old, m)
    for wrong, says in {
        d: "this is k1, right on average but noisy and at times negative: add rho - 1 to it",
        -d: "this is the log-ratio with its sign turned: samples come from the old policy",
        d**2 / 2: "this is k2, whose mean is not the divergence",
        (
            d.exp() - 1 - d
        ): "old and new are exchanged: the samples come from the old policy, so rho is new over old",
    }.items():
        if _same(got, (wrong * m).sum() / m.sum()):
            raise Mistake(says)
    if _same(got, (torch.expm1(-d) + d).mean()):
        raise Mistake("padding is counted: average over m = 1 only")
    if not _same(got, right):
        raise Mistake(f"the estimate is {float(got):.4f} where {float(right):.4f} is right, on a small batch")
