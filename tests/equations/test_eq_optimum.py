"""The exact optimum against brute force over a handful of responses."""

import math

import pytest
import torch
from torch import Tensor

from mmbook.equations import kl_objective, kl_regularised_optimum

F64 = torch.float64


def problem(seed: int = 0, K: int = 5) -> tuple[Tensor, Tensor]:
    """A reference over K responses and their rewards."""
    g = torch.Generator().manual_seed(seed)
    return torch.randn(K, generator=g, dtype=F64).log_softmax(-1), torch.randn(K, generator=g, dtype=F64) * 2


@pytest.mark.parametrize("beta", [0.1, 1.0, 7.0])
def test_optimum_and_objective_equal_slow_sums(beta: float) -> None:
    log_p_ref, R = problem()
    weights = [math.exp(a + r / beta) for a, r in zip(log_p_ref.tolist(), R.tolist(), strict=True)]
    best = kl_regularised_optimum(log_p_ref, R, beta)
    assert best.exp().tolist() == pytest.approx([w / sum(weights) for w in weights], abs=1e-12)
    log_p = problem(1)[0]
    terms = zip(log_p.tolist(), log_p_ref.tolist(), R.tolist(), strict=True)
    slow = math.fsum(math.exp(a) * (r - beta * (a - b)) for a, b, r in terms)
    assert kl_objective(log_p, log_p_ref, R, beta).item() == pytest.approx(slow, abs=1e-12)


def test_ascent_on_the_objective_arrives_at_the_optimum() -> None:
    log_p_ref, R = problem(2)
    z = log_p_ref.clone().requires_grad_()
    optimiser = torch.optim.LBFGS([z], max_iter=200, line_search_fn="strong_wolfe", tolerance_change=1e-15)

    def descend() -> Tensor:
        optimiser.zero_grad()
        loss = -kl_objective(z.log_softmax(-1), log_p_ref, R, 0.8)
        loss.backward()
        return loss

    optimiser.step(descend)
    assert torch.allclose(z.detach().log_softmax(-1), kl_regularised_optimum(log_p_ref, R, 0.8), atol=1e-5)


@pytest.mark.parametrize("beta", [0.2, 1.0, 5.0])
def test_value_of_the_optimum(beta: float) -> None:
    """Checks id:kl-optimum-value: the objective at the optimum = beta log Z, with Z summed by hand."""
    log_p_ref, R = problem(3)
    Z = math.fsum(math.exp(a + r / beta) for a, r in zip(log_p_ref.tolist(), R.tolist(), strict=True))
    best = kl_regularised_optimum(log_p_ref, R, beta)
    assert kl_objective(best, log_p_ref, R, beta).item() == pytest.approx(beta * math.log(Z), abs=1e-12)


def test_every_other_policy_falls_short_by_its_distance() -> None:
    """Checks id:kl-gap: J(best) - J(p) = beta KL(p || best) for a hundred random policies."""
    log_p_ref, R = problem(4)
    best = kl_regularised_optimum(log_p_ref, R, 0.5)
    top = kl_objective(best, log_p_ref, R, 0.5)
    for seed in range(100):
        p = torch.distributions.Categorical(logits=problem(seed + 10)[0])
        kl = torch.distributions.kl_divergence(p, torch.distributions.Categorical(logits=best)).item()
        assert (top - kl_objective(p.logits, log_p_ref, R, 0.5)).item() == pytest.approx(0.5 * kl, abs=1e-12)
        assert kl > 0


def test_limits_of_beta_and_rewards() -> None:
    log_p_ref, R = problem(5)
    assert kl_regularised_optimum(log_p_ref, R, 1e-4).exp().max().item() == pytest.approx(1)
    assert kl_regularised_optimum(log_p_ref, R, 1e-4).argmax() == R.argmax()
    assert torch.allclose(kl_regularised_optimum(log_p_ref, R, 1e9), log_p_ref, atol=1e-8)
    flat = torch.full_like(R, 4.0)
    assert torch.allclose(kl_regularised_optimum(log_p_ref, flat, 0.3), log_p_ref, atol=1e-12)
    assert kl_regularised_optimum(torch.zeros(1), torch.ones(1), 0.1).item() == 0
    assert kl_objective(log_p_ref, log_p_ref, R, 3.0).item() == pytest.approx((log_p_ref.exp() @ R).item())


def test_batches_of_lists_and_responses_that_are_ruled_out() -> None:
    log_p_ref, R = torch.stack([problem(s)[0] for s in (6, 7)]), torch.stack([problem(s)[1] for s in (6, 7)])
    both = kl_regularised_optimum(log_p_ref, R, 0.4)
    assert torch.allclose(both[1], kl_regularised_optimum(log_p_ref[1], R[1], 0.4), atol=1e-14)
    assert kl_objective(both, log_p_ref, R, 0.4).shape == (2,)
    ruled_out = torch.tensor([0.5, 0.5, 0.0], dtype=F64).log()
    best = kl_regularised_optimum(ruled_out, torch.tensor([1.0, 2.0, 99.0], dtype=F64), 1.0)
    value = kl_objective(best, ruled_out, torch.tensor([1.0, 2.0, 99.0], dtype=F64), 1.0)
    assert best[2] == -math.inf
    assert value.item() == pytest.approx(math.log((math.e + math.e**2) / 2), abs=1e-12)


def test_bad_input_is_named() -> None:
    log_p_ref, R = problem()
    with pytest.raises(ValueError, match=r"R: expected shape \(5,\) like log_p_ref, got \(4,\)"):
        kl_regularised_optimum(log_p_ref, R[:4], 1.0)
    with pytest.raises(ValueError, match="beta: expected a number > 0, got 0"):
        kl_regularised_optimum(log_p_ref, R, 0.0)
    with pytest.raises(ValueError, match="log_p_ref: expected shape"):
        kl_objective(log_p_ref, log_p_ref[:4], R, 1.0)
    with pytest.raises(ValueError, match="beta: expected a number >= 0, got -1"):
        kl_objective(log_p_ref, log_p_ref, R, -1.0)
