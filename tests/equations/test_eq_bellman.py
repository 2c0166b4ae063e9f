"""Bellman's equations against slow sums over small random decision processes, and against simulation."""

import math

import pytest
import torch
from torch import Tensor

from mmbook.equations import (
    action_value,
    bellman_expectation,
    bellman_optimality,
    discounted_return,
    occupancy,
    policy_value,
    soft_policy,
    soft_value,
)

F64 = torch.float64


def process(
    seed: int = 0, S: int = 5, A: int = 3, ends: bool = False
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """P, r, pi and d_0 at random; with `ends`, a tenth leaves and the last state is over."""
    g = torch.Generator().manual_seed(seed)
    P = torch.rand(S, A, S, generator=g, dtype=F64) ** 3
    P = P / P.sum(-1, keepdim=True)
    if ends:
        P = 0.9 * P
        P[-1] = 0
    pi = torch.randn(S, A, generator=g, dtype=F64).softmax(-1)
    d_0 = torch.randn(S, generator=g, dtype=F64).softmax(-1)
    return P, torch.randn(S, A, generator=g, dtype=F64), pi, d_0


def test_backups_equal_slow_sums() -> None:
    P, r, pi, V = process()
    gamma, S, A = 0.8, 5, 3
    Q = [
        [r[s, a].item() + gamma * math.fsum((P[s, a, t] * V[t]).item() for t in range(S)) for a in range(A)]
        for s in range(S)
    ]
    assert torch.allclose(action_value(P, r, V, gamma), torch.tensor(Q, dtype=F64), atol=1e-14)
    expected = [sum(pi[s, a].item() * Q[s][a] for a in range(A)) for s in range(S)]
    assert bellman_expectation(P, r, pi, V, gamma).tolist() == pytest.approx(expected, abs=1e-14)
    assert bellman_optimality(P, r, V, gamma).tolist() == pytest.approx([max(q) for q in Q], abs=1e-14)


@pytest.mark.parametrize(("gamma", "ends"), [(0.0, False), (0.9, False), (0.99, True), (1.0, True)])
def test_policy_value_and_occupancy_are_the_limits_of_sums_over_time(gamma: float, ends: bool) -> None:
    P, r, pi, d_0 = process(1, ends=ends)
    V, here, counts = torch.zeros(5, dtype=F64), d_0.clone(), torch.zeros(5, 3, dtype=F64)
    for t in range(4000):
        V = bellman_expectation(P, r, pi, V, gamma)
        counts += gamma**t * here[:, None] * pi
        here = torch.einsum("s,sa,sat->t", here, pi, P)
    assert torch.allclose(policy_value(P, r, pi, gamma), V, atol=1e-10)
    assert torch.allclose(occupancy(P, pi, d_0, gamma), counts, atol=1e-10)


def test_the_value_of_a_loop_with_two_states_by_hand() -> None:
    """From 0 to 1 for 1, from 1 back for nothing: V_0 = 1 / (1 - gamma^2)."""
    P = torch.tensor([[[0.0, 1]], [[1, 0]]])
    V = policy_value(P, torch.tensor([[1.0], [0]]), torch.ones(2, 1), 0.5)
    assert V.tolist() == pytest.approx([4 / 3, 2 / 3])


def test_contraction() -> None:
    """Checks id:contraction: both operators bring any two value functions together by gamma, in sup norm."""
    P, r, pi, _ = process(2)
    g = torch.Generator().manual_seed(0)
    for gamma in (0.3, 0.9, 1.0):
        for _ in range(100):
            V, W = 10 * torch.randn(2, 5, generator=g, dtype=F64)
            apart = (V - W).abs().max()
            for T_V, T_W in (
                (bellman_expectation(P, r, pi, V, gamma), bellman_expectation(P, r, pi, W, gamma)),
                (bellman_optimality(P, r, V, gamma), bellman_optimality(P, r, W, gamma)),
            ):
                assert (T_V - T_W).abs().max() <= gamma * apart + 1e-12
    shifted = bellman_optimality(P, r, V + 1, 0.9) - bellman_optimality(P, r, V, 0.9)
    assert torch.allclose(shifted, torch.full_like(V, 0.9))  # no smaller factor would do


def test_occupancy_and_return() -> None:
    """Checks id:occupancy-return: rewards weighted by visits add up to the value of the first states."""
    for seed, gamma, ends in ((3, 0.9, False), (4, 1.0, True)):
        P, r, pi, d_0 = process(seed, ends=ends)
        d = occupancy(P, pi, d_0, gamma)
        assert (d * r).sum().item() == pytest.approx((d_0 @ policy_value(P, r, pi, gamma)).item(), abs=1e-10)
    d = occupancy(*(process(5)[i] for i in (0, 2, 3)), 0.9)
    assert d.sum().item() == pytest.approx(10)  # 1 / (1 - gamma) steps in all


def test_horizon() -> None:
    """Checks id:horizon: what n steps leave out is at most, and can be, gamma^n r_max / (1 - gamma)."""
    P, r, pi, _ = process(6)
    for reward in (r, torch.full_like(r, -2.0)):
        V, gamma = torch.zeros(5, dtype=F64), 0.9
        exact = policy_value(P, reward, pi, gamma)
        for n in range(60):
            bound = gamma**n * reward.abs().max() / (1 - gamma)
            gap = (exact - V).abs().max()
            assert gap <= bound + 1e-12
            if (reward == -2).all():
                assert gap.item() == pytest.approx(bound.item(), abs=1e-10)
            V = bellman_expectation(P, reward, pi, V, gamma)


def test_policy_improvement() -> None:
    """Checks id:policy-improvement: if each state's new actions are worth no less, so is the new policy."""
    for seed in range(20):
        P, r, pi, _ = process(seed)
        V = policy_value(P, r, pi, 0.9)
        Q = action_value(P, r, V, 0.9)
        for new in (
            torch.nn.functional.one_hot(Q.argmax(-1), 3).to(F64),
            (pi.log() + 0.1 * Q).softmax(-1),  # a small step will do as well
        ):
            assert ((new * Q).sum(-1) >= V - 1e-12).all()
            better = policy_value(P, r, new, 0.9)
            assert (better >= V - 1e-12).all() and (better > V + 1e-6).any()


def test_policy_value_is_differentiable_in_the_policy() -> None:
    P, r, pi, d_0 = process(7)
    z = pi.log().requires_grad_()
    assert torch.autograd.gradcheck(lambda z: d_0 @ policy_value(P, r, z.softmax(-1), 0.9), z)


@pytest.mark.parametrize("beta", [0.1, 1.0, 5.0])
def test_soft_value_is_the_best_of_reward_less_distance(beta: float) -> None:
    g = torch.Generator().manual_seed(0)
    Q, log_p_ref = torch.randn(6, 4, generator=g, dtype=F64), torch.randn(6, 4, generator=g, dtype=F64)
    log_p_ref = log_p_ref.log_softmax(-1)
    log_pi = soft_policy(Q, log_p_ref, beta)

    def attains(log_p: Tensor) -> Tensor:
        return (log_p.exp() * (Q - beta * (log_p - log_p_ref))).sum(-1)

    V = soft_value(Q, log_p_ref, beta)
    assert torch.allclose(log_pi.exp().sum(-1), torch.ones(6, dtype=F64))
    assert torch.allclose(attains(log_pi), V, atol=1e-12)
    for _ in range(200):
        other = (log_pi + torch.randn(6, 4, generator=g, dtype=F64)).log_softmax(-1)
        assert (attains(other) < V).all()
    assert torch.allclose(soft_value(Q, log_p_ref, 1e-4), Q.amax(-1), atol=1e-3)
    assert torch.allclose(soft_value(Q, log_p_ref, 1e6), (log_p_ref.exp() * Q).sum(-1), atol=1e-4)


def test_returns_equal_sums_row_by_row() -> None:
    r = torch.randn(3, 6, generator=torch.Generator().manual_seed(0), dtype=F64)
    m = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 0, 0, 0, 0], [1, 1, 1, 1, 0, 0]])
    for gamma in (0.0, 0.7, 1.0):
        G = discounted_return(r, m, gamma)
        for b in range(3):
            n = int(m[b].sum())
            slow = [math.fsum(gamma ** (u - t) * r[b, u].item() for u in range(t, n)) for t in range(n)]
            assert G[b].tolist() == pytest.approx(slow + [0] * (6 - n), abs=1e-14)


def test_a_return_without_limit_is_refused() -> None:
    P, r, pi, d_0 = process(8)
    lazy = torch.tensor([[[1.0, 0]], [[0, 0]]], dtype=F64)
    for call in (lambda: policy_value(P, r, pi, 1.0), lambda: occupancy(P, pi, d_0, 1.0)):
        with pytest.raises(ValueError, match=r"gamma: expected < 1 for a policy that need not end"):
            call()
    with pytest.raises(ValueError, match="need not end"):
        policy_value(lazy, torch.ones(2, 1), torch.ones(2, 1), 1.0)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"gamma": 1.1}, "gamma: expected a number >= 0 and <= 1, got 1.1"),
        ({"r": torch.zeros(5, 2)}, r"r or pi: expected shape \(5, 3\)"),
        ({"V": torch.zeros(4)}, r"V or d_0: expected shape \(5,\)"),
    ],
)
def test_what_does_not_fit_is_refused(change: dict, says: str) -> None:
    P, r, _, V = process()
    with pytest.raises(ValueError, match=says):
        action_value(**{"P": P, "r": r, "V": V, "gamma": 0.9, **change})
    with pytest.raises(ValueError, match="beta: expected a number > 0"):
        soft_value(r, r, 0.0)
