"""Scores, shaped rewards and advantages against loops and definitions."""

import math

import pytest
import torch

from mmbook.equations import gae, kl_k1, shaped_reward, standardised_score

F64 = torch.float64
LENGTHS = (5, 1, 3)


def rollout(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Two random tables (3, 6) and a mask of ragged rows, none of them full."""
    g = torch.Generator().manual_seed(seed)
    m = (torch.arange(6) < torch.tensor(LENGTHS)[:, None]).to(F64)
    return torch.randn(3, 6, generator=g, dtype=F64), torch.randn(3, 6, generator=g, dtype=F64), m


def deltas(r: list[float], V: list[float], gamma: float) -> list[float]:
    """TD errors of one unpadded response."""
    return [r[t] + gamma * (V[t + 1] if t + 1 < len(V) else 0.0) - V[t] for t in range(len(r))]


def test_score_has_four_cases() -> None:
    R, ended = torch.tensor([3.0, 3.0, 99.0, -99.0]), torch.tensor([True, False, True, False])
    got = standardised_score(R, mu=1.0, sigma=4.0, c=2.0, p=0.75, ended=ended)
    assert got.tolist() == [0.5, -0.25, 2.0, -2.75]
    assert torch.equal(standardised_score(R, 1.0, 4.0, 2.0, 0.75, ended.float()), got)
    assert standardised_score(R, 1.0, 4.0, math.inf, 0.0, ended).tolist() == [0.5, 0.5, 24.5, -25.0]


def test_shaped_reward_equals_a_slow_loop() -> None:
    log_p, log_p_ref, m = rollout()
    S, beta = torch.tensor([2.0, -1.0, 0.5], dtype=F64), 0.3
    got = shaped_reward(log_p, log_p_ref, m, S, beta)
    for b, length in enumerate(LENGTHS):
        for t in range(6):
            slow = -beta * (log_p[b, t] - log_p_ref[b, t]).item() if t < length else 0.0
            slow += S[b].item() if t == length - 1 else 0.0  # on EOS itself, never in the slot after it
            assert got[b, t].item() == pytest.approx(slow, abs=1e-12)
    assert torch.equal(shaped_reward(log_p, log_p_ref, m.bool(), S, beta), got)
    garbage = log_p.masked_fill(m == 0, -math.inf)
    assert torch.equal(shaped_reward(garbage, garbage.masked_fill(m == 1, 0.0) + log_p_ref, m, S, beta), got)


def test_shaped_rewards_add_up_to_score_less_penalty() -> None:
    """Checks id:shaped-sum: per response, sum r = S - beta sum k1."""
    log_p, log_p_ref, m = rollout(1)
    S, beta = torch.tensor([2.0, -1.0, 0.5], dtype=F64), 0.07
    r = shaped_reward(log_p, log_p_ref, m, S, beta)
    assert torch.allclose(r.sum(1), S - beta * (m * kl_k1(log_p, log_p_ref)).sum(1), atol=1e-12)
    assert torch.equal(shaped_reward(log_p, log_p, m, S, beta).sum(1), S)


@pytest.mark.parametrize(("gamma", "lam"), [(1.0, 0.95), (0.9, 0.5), (0.0, 0.7)])
def test_gae_equals_its_double_sum(gamma: float, lam: float) -> None:
    """Checks id:gae-definition: the recursion = the O(T^2) sum of discounted surprises."""
    r, V, m = rollout(2)
    A, G = gae(r, V, m, gamma, lam)
    for b, length in enumerate(LENGTHS):
        delta = deltas(r[b, :length].tolist(), V[b, :length].tolist(), gamma)
        for t in range(6):
            slow = math.fsum((gamma * lam) ** (u - t) * delta[u] for u in range(t, length))
            assert A[b, t].item() == pytest.approx(slow, abs=1e-12)
            assert G[b, t].item() == pytest.approx(slow + V[b, t].item() if t < length else 0.0, abs=1e-12)


def test_gae_at_lambda_one_is_the_discounted_return() -> None:
    """Checks id:gae-lambda-one: the target is the discounted sum of rewards, whatever the critic says."""
    r, V, m = rollout(3)
    for gamma in (1.0, 0.8):
        G = gae(r, V, m, gamma, 1.0)[1]
        for b, length in enumerate(LENGTHS):
            for t in range(length):
                slow = math.fsum(gamma ** (u - t) * r[b, u].item() for u in range(t, length))
                assert G[b, t].item() == pytest.approx(slow, abs=1e-12)
        assert torch.allclose(gae(r, 10 * V, m, gamma, 1.0)[1], G, atol=1e-11)


def test_gae_at_lambda_zero_is_td_zero() -> None:
    """Checks id:gae-lambda-zero: the advantage is one TD error, the target one step of lookahead."""
    r, V, m = rollout(4)
    A, G = gae(r, V, m, 0.9, 0.0)
    for b, length in enumerate(LENGTHS):
        delta = torch.tensor(deltas(r[b, :length].tolist(), V[b, :length].tolist(), 0.9), dtype=F64)
        assert torch.allclose(A[b, :length], delta, atol=1e-12)
        following = torch.cat([V[b, 1:length], torch.zeros(1, dtype=F64)])
        assert torch.allclose(G[b, :length], r[b, :length] + 0.9 * following, atol=1e-12)


def test_gae_does_not_see_padding() -> None:
    r, V, m = rollout(5)
    A, G = gae(r, V, m, 0.9, 0.8)
    assert not A[m == 0].any() and not G[m == 0].any()
    for garbage in (1e9, math.nan):
        other = gae(r.masked_fill(m == 0, garbage), V.masked_fill(m == 0, garbage), m, 0.9, 0.8)
        assert torch.equal(other[0], A) and torch.equal(other[1], G)
    for b, length in enumerate(LENGTHS):  # each row alone, unpadded
        row = (slice(b, b + 1), slice(0, length))
        assert torch.allclose(gae(r[row], V[row], m[row], 0.9, 0.8)[0], A[row], atol=1e-12)
    left = [torch.cat([torch.full((3, 2), 5.0, dtype=F64) * k, x], 1) for x, k in ((r, 1), (V, 1), (m, 0))]
    shifted = gae(left[0], left[1], left[2], 0.9, 0.8)[0]
    assert torch.allclose(shifted[:, 2:], A, atol=1e-12) and not shifted[:, :2].any()


def test_gae_of_a_single_token_and_of_equal_values() -> None:
    one = torch.ones(1, 1)
    A, G = gae(2 * one, 0.5 * one, one.bool(), 1.0, 0.95)
    assert (A.item(), G.item()) == (1.5, 2.0)
    flat = torch.ones(2, 4)
    assert torch.equal(gae(torch.zeros(2, 4), flat, flat, 1.0, 1.0)[0], -flat)


def test_half_precision_critics_are_widened() -> None:
    r, V, m = (x.to(torch.bfloat16) for x in rollout(6))
    A, G = gae(r, V, m, 1.0, 0.95)
    assert A.dtype == G.dtype == torch.float32
    assert torch.allclose(A.double(), gae(r.double(), V.double(), m, 1.0, 0.95)[0], atol=1e-5)


def test_bad_input_is_named() -> None:
    x, m, S = torch.zeros(2, 3), torch.ones(2, 3), torch.zeros(2)
    with pytest.raises(ValueError, match=r"S: expected shape \(2,\) .*got \(3,\)"):
        shaped_reward(x, x, m, torch.zeros(3), 0.1)
    with pytest.raises(ValueError, match=r"m: expected shape \(2, 3\) like log_p, got \(2, 4\)"):
        shaped_reward(x, x, torch.ones(2, 4), S, 0.1)
    with pytest.raises(ValueError, match=r"V: expected shape \(2, 3\) like r, got \(2, 4\)"):
        gae(x, torch.zeros(2, 4), m, 1.0, 1.0)
    empty = torch.tensor([[1, 1, 0], [0, 0, 0]])
    for call in (lambda: shaped_reward(x, x, empty, S, 0.1), lambda: gae(x, x, empty, 1.0, 1.0)):
        with pytest.raises(ValueError, match=r"m: expected .* in each row, got none in row\(s\) \[1\]"):
            call()
    with pytest.raises(ValueError, match=r"gamma: expected a number >= 0 and <= 1, got 1\.5"):
        gae(x, x, m, 1.5, 1.0)
    with pytest.raises(ValueError, match="lam: expected"):
        gae(x, x, m, 1.0, -0.1)
    ended = torch.ones(2)
    with pytest.raises(ValueError, match="sigma: expected a number > 0, got 0"):
        standardised_score(S, 0.0, 0.0, 1.0, 1.0, ended)
    with pytest.raises(ValueError, match="ended: expected shape"):
        standardised_score(S, 0.0, 1.0, 1.0, 1.0, torch.ones(3))
    with pytest.raises(ValueError, match="p: expected a number >= 0, got -1"):
        standardised_score(S, 0.0, 1.0, 1.0, -1.0, ended)
