"""The trust-region exercises: published solutions pass, typical mistakes get their own words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from mmbook.exercises import Mistake, check


def mean(x: Any, m: Any) -> Any:
    return (x * m).sum() / m.sum()


def clipped(
    log_p: Any, log_p_old: Any, A: Any, m: Any, eps: float, how: Callable[..., Any] = torch.minimum
) -> Any:
    rho = (log_p - log_p_old.detach()).exp()
    return -mean(how(A * rho, A * rho.clamp(1 - eps, 1 + eps)), m)


LOSSES = {
    "better one": lambda *x: clipped(*x, how=torch.maximum),
    "sign is the other way": lambda *x: -clipped(*x),
    "always clip": lambda *x: clipped(*x, how=lambda free, bounded: bounded),
    "nothing is clipped": lambda *x: clipped(*x, how=lambda free, bounded: free),
    "no lower end": lambda new, old, A, m, eps: (
        -mean(torch.minimum(A * (new - old).exp(), A * (new - old).exp().clamp(max=1 + eps)), m)
    ),
    "upside down": lambda new, old, A, m, eps: clipped(old, new.detach(), A, m, eps),
    "padding is counted": lambda new, old, A, m, eps: clipped(new, old, A, torch.ones_like(m), eps),
    "gradients flow through the old": lambda new, old, A, m, eps: (
        -mean(torch.minimum(A * (new - old).exp(), A * (new - old).exp().clamp(1 - eps, 1 + eps)), m)
    ),
    "use the argument eps": lambda *x: clipped(*x[:4], eps=0.2),
    "no gradient reaches": lambda new, *x: clipped(new.detach(), *x),
    "one number": lambda new, old, A, m, eps: -A * (new - old).exp(),
    "stopped with TypeError": lambda new: new,
}


def solver(
    sign: float = 1.0, share: Callable[..., Any] | None = None, last: int | None = None, inplace: bool = False
) -> Callable[..., Any]:
    def solve(product: Any, b: Any, steps: int) -> Any:
        x, e = torch.zeros_like(b), b if inplace else b.clone()
        v = e.clone()
        for _ in range(last or steps):
            Fv = product(v)
            old = e @ e
            alpha = old / (v @ Fv)
            x = x + sign * alpha * v
            if inplace:
                e -= alpha * Fv
            else:
                e = e - alpha * Fv
            v = e + (share(e @ e, old) if share else (e @ e) / old) * v
        return x

    return solve


SOLVERS = {
    "steepest descent": solver(share=lambda new, old: 0.0),
    "undoes the last one": solver(share=lambda new, old: old / new),
    "wrong sign": solver(sign=-1.0),
    "change b itself": solver(inplace=True),
    "one product a step": lambda product, b, steps: b / b.norm(),
    "the first direction": lambda product, b, steps: solver()(product, b * torch.arange(6), steps),
    "should have the shape of b": lambda product, b, steps: product(b)[:3],
    "it is off by": solver(last=3),
}


DIVERGENCES = {
    "this is k1": lambda new, old, m: mean(old - new, m),
    "sign turned": lambda new, old, m: mean(new - old, m),
    "this is k2": lambda new, old, m: mean((new - old) ** 2 / 2, m),
    "old and new are exchanged": lambda new, old, m: mean((old - new).exp() - 1 - (old - new), m),
    "padding is counted": lambda new, old, m: ((new - old).exp() - 1 - (new - old)).mean(),
    "sum over tokens": lambda new, old, m: (((new - old).exp() - 1 - (new - old)) * m).sum(),
    "alone averages 0": lambda new, old, m: mean((new - old).exp() - 1, m),
    "is right, on a small example": lambda new, old, m: 2 * mean((new - old) ** 2, m),
}


@pytest.mark.parametrize("answer", [lambda new, old, m: new - old, lambda new, old, m: None])
def test_a_divergence_that_is_no_number_is_named(answer):
    with pytest.raises(Mistake, match="should be one number"):
        check("rl-trust-regions/approximate-kl", answer)


def test_32_bits_are_enough_for_conjugate_gradients(capsys):
    def solve(product, b, steps):
        return solver()(lambda v: product(v).float(), b.float(), steps)

    check("rl-trust-regions/conjugate-gradient", solve)
    check("rl-trust-regions/conjugate-gradient", lambda *x: solver()(*x).numpy())
    assert capsys.readouterr().out == "Right.\n" * 2


MISTAKES = {
    "rl-trust-regions/clipped-surrogate": LOSSES,
    "rl-trust-regions/conjugate-gradient": SOLVERS,
    "rl-trust-regions/approximate-kl": DIVERGENCES,
}
