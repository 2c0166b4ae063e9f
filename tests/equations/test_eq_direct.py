"""Direct losses and the best of n, against slow sums, closed forms and enumeration of the caption tree."""

import math
from itertools import product

import pytest
import torch
from torch import Tensor

from mmbook.equations import (
    best_of_n_kl,
    best_of_n_policy,
    dpo_loss,
    ipo_loss,
    kl_regularised_optimum,
    preference_loss,
    preference_probability,
)
from mmbook.world.caption_tree import CaptionTree

F64 = torch.float64
D_C, D_R = torch.tensor([0.5, -1.0, 3.0], dtype=F64), torch.tensor([0.1, 1.5, -2.0], dtype=F64)


def problem(seed: int = 0, K: int = 6) -> tuple[Tensor, Tensor]:
    """A reference over K responses and their rewards, all different."""
    g = torch.Generator().manual_seed(seed)
    return torch.randn(K, generator=g, dtype=F64).log_softmax(-1), 2 * torch.randn(K, generator=g, dtype=F64)


@pytest.mark.parametrize("beta", [0.1, 1.0, 4.0])
def test_losses_equal_slow_means(beta: float) -> None:
    leads = [c - r for c, r in zip(D_C.tolist(), D_R.tolist(), strict=True)]
    dpo = math.fsum(math.log1p(math.exp(-beta * x)) for x in leads) / 3
    ipo = math.fsum((x - 1 / (2 * beta)) ** 2 for x in leads) / 3
    assert dpo_loss(D_C, D_R, beta).item() == pytest.approx(dpo, abs=1e-12)
    assert ipo_loss(D_C, D_R, beta).item() == pytest.approx(ipo, abs=1e-12)
    assert dpo_loss(D_C, D_R, beta).item() == pytest.approx(preference_loss(beta * D_C, beta * D_R).item())


def test_at_the_optimum_log_ratios_are_rewards() -> None:
    """Checks id:implicit-reward: R(c) - R(r) = beta (d_c - d_r) for every pair of responses."""
    log_p_ref, R = problem()
    d = kl_regularised_optimum(log_p_ref, R, 0.3) - log_p_ref
    assert torch.allclose(R[:, None] - R, 0.3 * (d[:, None] - d), atol=1e-12)


def all_pairs(log_p_ref: Tensor, R: Tensor) -> tuple[Tensor, Tensor]:
    """Weights (K, K) of pairs drawn from the reference whose first response is preferred; P (K, K)."""
    P = preference_probability(*torch.broadcast_tensors(R[:, None], R))
    return (log_p_ref[:, None] + log_p_ref).exp() * P, P


def test_choices_without_end_lead_dpo_to_the_optimum() -> None:
    log_p_ref, R = problem(1)
    weight, _ = all_pairs(log_p_ref, R)
    z = kl_regularised_optimum(log_p_ref, R, 0.5).requires_grad_()
    d = z.log_softmax(-1) - log_p_ref
    pairs = product(range(6), repeat=2)
    loss = sum(weight[c, r] * dpo_loss(d[c : c + 1], d[r : r + 1], 0.5) for c, r in pairs)
    (g,) = torch.autograd.grad(loss, z)
    assert g.abs().max() < 1e-12  # the loss is convex in the log-ratios, so this is its least


def test_ipo_goes_elsewhere() -> None:
    """Checks id:ipo-optimum: descent over all pairs arrives at the reference tilted by shares of wins."""
    log_p_ref, R = problem(2)
    weight, P = all_pairs(log_p_ref, R)
    z = log_p_ref.clone().requires_grad_()
    optimizer = torch.optim.LBFGS([z], max_iter=300, line_search_fn="strong_wolfe", tolerance_change=1e-16)

    def descend() -> Tensor:
        optimizer.zero_grad()
        d = z.log_softmax(-1) - log_p_ref
        loss = (weight * (d[:, None] - d - 1 / (2 * 0.4)) ** 2).sum()
        loss.backward()
        return loss

    optimizer.step(descend)
    d = z.detach().log_softmax(-1) - log_p_ref
    slow = sum(
        weight[c, r] * ipo_loss(d[c : c + 1], d[r : r + 1], 0.4) for c, r in product(range(6), repeat=2)
    )
    assert descend().item() == pytest.approx(slow.item(), abs=1e-12)
    wins = (P * log_p_ref.exp()).sum(-1)
    assert torch.allclose(z.log_softmax(-1), (log_p_ref + wins / 0.4).log_softmax(-1), atol=1e-6)
    assert not torch.allclose(z.log_softmax(-1), kl_regularised_optimum(log_p_ref, R, 0.4), atol=0.1)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_best_of_n_equals_enumeration_of_all_samples(n: int) -> None:
    log_p_ref, R = problem(3, K=5)
    R[2] = R[0]  # a tie: the first sample of the best wins
    slow = [0.0] * 5
    for drawn in product(range(5), repeat=n):
        winner = max(drawn, key=lambda y: R[y].item())
        slow[winner] += math.exp(sum(log_p_ref[y].item() for y in drawn))
    assert best_of_n_policy(log_p_ref, R, n).exp().tolist() == pytest.approx(slow, abs=1e-12)


def test_best_of_n_stays_within_its_bound() -> None:
    """Checks id:best-of-n-bound: on the caption tree, with its ties, and on many unlikely responses."""
    tree = CaptionTree()
    log_p_ref = problem(0, 341)[0]
    many = torch.full((4000,), 1 / 4000, dtype=F64).log()
    for n in (1, 2, 8, 64):
        bound = best_of_n_kl(n).item()
        policy = best_of_n_policy(log_p_ref, torch.as_tensor(tree.rewards), n)
        assert policy.exp().sum().item() == pytest.approx(1, abs=1e-9)
        kl = (policy.exp() * (policy - log_p_ref)).sum().item()
        assert kl <= bound + 1e-12 and (n == 1 or kl < 0.95 * bound)  # ties keep it below
        policy = best_of_n_policy(many, torch.arange(4000.0, dtype=F64), n)
        assert (policy.exp() * (policy - many)).sum().item() == pytest.approx(bound, abs=0.02)


def test_bound_at_a_few_n() -> None:
    n = torch.tensor([1, 2, 4])
    expected = [0.0, math.log(2) - 0.5, math.log(4) - 0.75]
    assert best_of_n_kl(n).tolist() == pytest.approx(expected, abs=1e-6)


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match=r"d_r: expected shape \(3,\) like d_c, got \(2,\)"):
        dpo_loss(D_C, D_R[:2], 0.1)
    with pytest.raises(ValueError, match="beta: expected a number > 0, got 0"):
        ipo_loss(D_C, D_R, 0.0)
    with pytest.raises(ValueError, match="d_c: expected at least one pair"):
        dpo_loss(D_C[:0], D_R[:0], 1.0)
    with pytest.raises(ValueError, match="n: expected a whole number, 1 or more, got 0"):
        best_of_n_policy(*problem(), 0)
    with pytest.raises(ValueError, match=r"n: expected numbers >= 1, got 0\.5"):
        best_of_n_kl(0.5)
