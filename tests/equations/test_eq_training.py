"""Training: each equation against another evaluation, and what the chapter says of the loop."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.optimize import minimize

from mmbook.equations import adversarial_step, clip_gradient, uncertainty_loss
from mmbook.training import Schedule

F64 = torch.float64


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


def test_learned_weights_equal_a_loop_over_gaussians() -> None:
    L, s = random(4).abs(), random(4, seed=1)
    slow = sum(
        float(a) / math.exp(float(b)) + math.log(math.sqrt(math.exp(float(b))))
        for a, b in zip(L, s, strict=True)
    )
    assert uncertainty_loss(L, s).item() == pytest.approx(slow)
    with pytest.raises(ValueError, match="s: expected shape"):
        uncertainty_loss(L, s[:2])


def test_the_best_uncertainty() -> None:
    """Checks id:best-uncertainty: a numerical minimum is where and what the formula says."""
    L = torch.tensor([0.7, 0.05, 3.0], dtype=F64)
    found = minimize(lambda s: uncertainty_loss(L, torch.tensor(s)).item(), [0.0] * 3, tol=1e-12)
    assert found.x.tolist() == pytest.approx((2 * L).log().tolist(), abs=1e-4)
    assert found.fun == pytest.approx((1 + (2 * L).log()).sum().item() / 2)


@pytest.mark.parametrize("size", [0.01, 1.0, 50.0])
def test_clipping_is_pytorchs(size: float) -> None:
    p = torch.nn.Parameter(torch.zeros(3, 4, dtype=F64))
    p.grad = size * random(3, 4)
    g = p.grad.clone()
    torch.nn.utils.clip_grad_norm_([p], 1.5)
    assert torch.allclose(clip_gradient(g, 1.5), p.grad, rtol=1e-5)
    assert torch.equal(clip_gradient(torch.zeros(2), 1.0), torch.zeros(2))
    with pytest.raises(ValueError, match="c: expected a number > 0"):
        clip_gradient(g, 0)


def test_the_adversarial_step_is_the_worst_corner_of_the_box() -> None:
    x, w = random(4), random(4, seed=1)
    corners = [
        x + 0.1 * torch.tensor(c) for c in torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * 4).tolist()
    ]
    worst = max(corners, key=lambda corner: float(w @ corner))
    assert torch.allclose(adversarial_step(x, w, 0.1), worst)


def test_the_schedule_is_the_lower_of_two_lines() -> None:
    """Checks id:schedule: the rate rises to step W and then falls to nothing."""
    schedule = Schedule(steps=50, lr=0.2, warmup=8)
    for t in range(50):
        rate = 0.2 * min((t + 1) / 8, (50 - t) / (50 - 8))
        assert schedule.rate(t) == pytest.approx(rate)
