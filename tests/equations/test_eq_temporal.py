"""Targets, policies, step sizes and traces against loops and enumeration."""

import itertools
import math

import pytest
import torch
from torch import Tensor

from mmbook.equations import (
    double_q_target,
    eligibility,
    epsilon_greedy,
    expected_sarsa_target,
    q_learning_target,
    softmax_policy,
    step_size,
    td_error,
)

F64 = torch.float64


def batch(seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Rewards (6,), two tables at the next state (6, 3), a policy there (6, 3), and which steps ended."""
    g = torch.Generator().manual_seed(seed)
    Q, other, z = torch.randn(3, 6, 3, generator=g, dtype=F64)
    r, ended = torch.randn(6, generator=g, dtype=F64), torch.tensor([0, 1, 0, 0, 1, 0], dtype=torch.bool)
    return r, Q, other, torch.softmax(z, -1), ended


def test_targets_equal_slow_loops() -> None:
    r, Q, other, pi, ended = batch()
    gamma, V = 0.7, Q[:, 0]
    got = {
        "sarsa": expected_sarsa_target(r, Q, pi, gamma, ended),
        "q": q_learning_target(r, Q, gamma, ended),
        "double": double_q_target(r, Q, other, gamma, ended),
        "td": td_error(r, other[:, 1], V, gamma, ended),
    }
    for i in range(6):
        row, go = Q[i].tolist(), gamma * (not ended[i])
        mean = math.fsum(p * q for p, q in zip(pi[i].tolist(), row, strict=True))
        assert got["sarsa"][i].item() == pytest.approx(r[i].item() + go * mean, abs=1e-12)
        assert got["q"][i].item() == pytest.approx(r[i].item() + go * max(row), abs=1e-12)
        worth = other[i, row.index(max(row))].item()
        assert got["double"][i].item() == pytest.approx(r[i].item() + go * worth, abs=1e-12)
        slow = r[i].item() + go * V[i].item() - other[i, 1].item()
        assert got["td"][i].item() == pytest.approx(slow, abs=1e-12)
    # Q-learning is expected SARSA with a greedy policy, and double Q-learning with one table.
    assert torch.allclose(got["q"], expected_sarsa_target(r, Q, epsilon_greedy(Q, 0.0), gamma, ended))
    assert torch.equal(got["q"], double_q_target(r, Q, Q, gamma, ended))


def test_nothing_follows_an_end() -> None:
    r, Q, _, pi, _ = batch(1)
    ended, garbage = torch.ones(6, dtype=torch.bool), torch.full_like(Q, math.nan)
    for y in (
        q_learning_target(r, garbage, 0.9, ended),
        expected_sarsa_target(r, garbage, pi, 0.9, ended),
        double_q_target(r, Q, garbage, 0.9, ended),
        td_error(r, torch.zeros(6, dtype=F64), garbage[:, 0], 0.9, ended.float()),
    ):
        assert torch.equal(y, r)


def test_epsilon_greedy_shares_ties() -> None:
    Q = torch.tensor([[1.0, 3.0, 2.0, 0.0], [5.0, 5.0, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0]], dtype=F64)
    wanted = [[0.1, 0.7, 0.1, 0.1], [0.4, 0.4, 0.1, 0.1], [0.25, 0.25, 0.25, 0.25]]
    assert torch.allclose(epsilon_greedy(Q, 0.4), torch.tensor(wanted, dtype=F64))
    assert torch.equal(epsilon_greedy(Q, 1.0), torch.full_like(Q, 0.25))
    assert epsilon_greedy(Q, 0.0)[1].tolist() == [0.5, 0.5, 0.0, 0.0]
    assert epsilon_greedy(Q.to(torch.bfloat16), 0.1).dtype == torch.float32


def test_softmax_policy_goes_from_greedy_to_uniform() -> None:
    Q = torch.tensor([0.0, math.log(2), math.log(5)], dtype=F64)
    assert softmax_policy(Q, 1.0).tolist() == pytest.approx([0.125, 0.25, 0.625])
    assert softmax_policy(Q, 0.5).tolist() == pytest.approx([1 / 30, 4 / 30, 25 / 30])
    assert softmax_policy(Q, 1e-3).tolist() == pytest.approx([0, 0, 1])
    assert softmax_policy(Q, 1e6).tolist() == pytest.approx([1 / 3] * 3, abs=1e-5)


def test_step_sizes_sum_to_infinity_and_their_squares_do_not() -> None:
    """Checks id:robbins-monro: the sum is above a bound that grows for ever, that of squares below one."""
    for c, p in ((10.0, 0.8), (1.0, 0.6), (3.0, 0.9)):
        for N in (1, 100, 100_000):
            alpha = step_size(torch.arange(N, dtype=F64), c, p)
            slow = [(c / (c + n)) ** p for n in range(min(N, 50))]
            assert alpha[:50].tolist() == pytest.approx(slow, rel=1e-12)
            least = c**p * ((c + N) ** (1 - p) - c ** (1 - p)) / (1 - p)
            assert alpha.sum() >= least and (alpha**2).sum() <= 1 + c / (2 * p - 1)
            assert alpha.sum() <= least + 1  # the bound is tight: it is the sum that grows
    assert step_size(torch.tensor([0.0, 10.0]), 10.0, 1.0).tolist() == [1.0, 0.5]
    # Without squares that can be summed the noise stays: p = 1/2 and below are too slow.
    squares = [(step_size(torch.arange(N, dtype=F64), 10.0, 0.5) ** 2).sum() for N in (10**3, 10**4, 10**5)]
    assert squares[2] - squares[1] > 0.9 * (squares[1] - squares[0]) > 10


def test_maximum_of_estimates_is_too_high() -> None:
    """Checks id:maximisation-bias: by enumeration of all pairs of samples, mean of the maximum >= maximum."""
    outcomes = (-1.0, 0.0, 2.0)
    for odds in (((0.5, 0.2, 0.3), (0.4, 0.4, 0.2), (0.3, 0.5, 0.2)), ((0.5, 0.2, 0.3),) * 3):
        q = [math.fsum(p * x for p, x in zip(row, outcomes, strict=True)) for row in odds]
        left = 0.0
        for drawn in itertools.product(range(3), repeat=3):
            left += math.prod(odds[a][k] for a, k in enumerate(drawn)) * max(outcomes[k] for k in drawn)
        assert left >= max(q) + 0.5  # and by how much, here


def test_a_second_table_is_not_too_high() -> None:
    """Checks id:double-estimator: on average it gives the true value of the action chosen."""
    outcomes, odds = (-1.0, 2.0), ((0.5, 0.5), (0.6, 0.4), (0.9, 0.1))
    q = [math.fsum(p * x for p, x in zip(row, outcomes, strict=True)) for row in odds]
    draws = list(itertools.product(range(2), repeat=3))
    chance = {d: math.prod(odds[a][k] for a, k in enumerate(d)) for d in draws}
    left = right = 0.0
    for d in draws:
        Q = torch.tensor([outcomes[k] for k in d], dtype=F64)
        right += chance[d] * q[int(Q.argmax())]
        for other in draws:
            Q_other = torch.tensor([outcomes[k] for k in other], dtype=F64)
            zero = torch.zeros((), dtype=F64)
            left += chance[d] * chance[other] * double_q_target(zero, Q, Q_other, 1.0, zero).item()
    assert left == pytest.approx(right, abs=1e-12) and left <= max(q) - 0.09


def episode(seed: int, T: int = 7, S: int = 4) -> tuple[list[int], list[float], list[float]]:
    """States visited (with repeats), rewards, and a table of values that is not 0."""
    g = torch.Generator().manual_seed(seed)
    s = torch.randint(S, (T,), generator=g).tolist()
    return s, torch.randn(T, generator=g).tolist(), torch.randn(S, generator=g).tolist()


@pytest.mark.parametrize(("gamma", "lam"), [(0.9, 0.8), (1.0, 0.5), (0.7, 1.0), (0.9, 0.0)])
def test_traces_add_up_to_the_forward_view(gamma: float, lam: float) -> None:
    """Checks id:forward-backward: over an episode, traces times surprises = lambda-returns less values."""
    for seed in range(5):
        s, r, V = episode(seed)
        T, S = len(s), len(V)

        def n_step(t: int, n: int, s=s, r=r, V=V, T=T) -> float:
            rewards = math.fsum(gamma**k * r[t + k] for k in range(min(n, T - t)))
            return rewards + (gamma**n * V[s[t + n]] if t + n < T else 0.0)

        forward = [0.0] * S
        for t in range(T):
            far = T - t
            G = (1 - lam) * math.fsum(lam ** (n - 1) * n_step(t, n) for n in range(1, far))
            forward[s[t]] += G + lam ** (far - 1) * n_step(t, far) - V[s[t]]
        e, backward = torch.zeros(S, dtype=F64), torch.zeros(S, dtype=F64)
        for t in range(T):
            e = eligibility(e, torch.eye(S, dtype=F64)[s[t]], gamma, lam)
            after = V[s[t + 1]] if t + 1 < T else math.nan
            one = [torch.tensor(x, dtype=F64) for x in (r[t], V[s[t]], after)]
            backward += td_error(*one, gamma, torch.tensor(t + 1 == T)) * e
        assert backward.tolist() == pytest.approx(forward, abs=1e-12)


def test_without_a_next_state_q_learning_averages_rewards() -> None:
    """Checks id:bandit-case: with alpha_n = 1 / (n + 1), the table is the running mean of the rewards."""
    rewards = torch.randn(200, generator=torch.Generator().manual_seed(0), dtype=F64)
    Q = torch.tensor(123.0, dtype=F64)  # where it began is forgotten at once
    for n, r in enumerate(rewards):
        y = q_learning_target(r, torch.full((3,), 7.0, dtype=F64), 0.9, torch.tensor(True))
        Q = Q + step_size(torch.tensor(float(n), dtype=F64), 1.0, 1.0) * (y - Q)
        assert Q.item() == pytest.approx(rewards[: n + 1].mean().item(), abs=1e-12)


def test_bad_input_is_named() -> None:
    r, Q, _, pi, ended = batch()
    with pytest.raises(ValueError, match=r"V_next: expected shape \(6,\) like r, got \(5,\)"):
        q_learning_target(r, Q[:5], 0.9, ended)
    with pytest.raises(ValueError, match=r"pi_next: expected shape \(6, 3\) like Q_next, got \(6, 2\)"):
        expected_sarsa_target(r, Q, pi[:, :2], 0.9, ended)
    with pytest.raises(ValueError, match="Q_other: expected shape"):
        double_q_target(r, Q, Q[:, :2], 0.9, ended)
    with pytest.raises(ValueError, match="V: expected shape"):
        td_error(r, r[:2], r, 0.9, ended)
    with pytest.raises(ValueError, match=r"gamma: expected a number >= 0 and <= 1, got 1\.1"):
        q_learning_target(r, Q, 1.1, ended)
    with pytest.raises(ValueError, match="eps: expected"):
        epsilon_greedy(Q, -0.1)
    with pytest.raises(ValueError, match="tau: expected a number > 0"):
        softmax_policy(Q, 0.0)
    with pytest.raises(ValueError, match="c: expected"):
        step_size(r, 0.0, 0.8)
    with pytest.raises(ValueError, match="lam: expected"):
        eligibility(r, r, 0.9, 1.5)
