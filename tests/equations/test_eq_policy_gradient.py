"""Policy gradients against slow loops, differences of exact returns, and lists of all episodes."""

import itertools
import math
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from mmbook.equations import (
    gae,
    group_standardised,
    leave_one_out,
    log_prob,
    policy_gradient_loss,
    softmax_policy_gradient,
)

F64 = torch.float64
S, A, T, GAMMA = 4, 3, 3, 0.8
Episode = tuple[float, list[int], list[int], list[float]]  # probability, states, actions, rewards


def table(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


def world() -> tuple[Tensor, Tensor, Tensor]:
    """Transitions (S, A, S), rewards (S, A) and first states (S,); every episode ends after T steps."""
    return (
        torch.softmax(2 * table(S, A, S, seed=1), -1),
        table(S, A, seed=2),
        torch.softmax(table(S, seed=3), 0),
    )


def policy(theta: Tensor) -> Tensor:
    """Log-probabilities (S, A) whose two parameters are shared by all states: no table."""
    return torch.log_softmax(theta[0] * table(S, A, seed=4) + (theta[1] * table(S, A, seed=5)).tanh(), -1)


def episodes(pi: Tensor) -> Iterator[Episode]:
    """Every episode of T steps, with its probability under the policy pi (S, A)."""
    P, r, d_0 = world()
    for states in itertools.product(range(S), repeat=T):
        for actions in itertools.product(range(A), repeat=T):
            p = d_0[states[0]]
            for t in range(T):
                p = p * pi[states[t], actions[t]]
                if t + 1 < T:
                    p = p * P[states[t], actions[t], states[t + 1]]
            yield (
                float(p),
                list(states),
                list(actions),
                [float(r[x]) for x in zip(states, actions, strict=True)],
            )


def performance(log_pi: Tensor) -> Tensor:
    """Discounted return of T steps, by carrying the distribution of states forward."""
    P, r, d = world()
    J, pi = torch.zeros((), dtype=F64), log_pi.exp()
    for t in range(T):
        J = J + GAMMA**t * (d[:, None] * pi * r).sum()
        d = torch.einsum("s,sa,sau->u", d, pi, P)
    return J


def mean_gradient(weigh: Callable[[list[float], int], float]) -> Tensor:
    """Mean over all episodes of the sum of weigh(rewards, t) times the gradient of log pi(a_t | s_t)."""
    theta = torch.tensor([0.7, -0.4], dtype=F64, requires_grad=True)
    log_pi, total = policy(theta), torch.zeros(S, A, dtype=F64)
    for p, states, actions, rewards in episodes(log_pi.detach().exp()):
        for t in range(T):
            total[states[t], actions[t]] += p * weigh(rewards, t)
    return torch.autograd.grad((total * log_pi).sum(), theta)[0]


def exact_gradient() -> Tensor:
    theta = torch.tensor([0.7, -0.4], dtype=F64, requires_grad=True)
    return torch.autograd.grad(performance(policy(theta)), theta)[0]


def to_go(rewards: list[float], t: int) -> float:
    return math.fsum(GAMMA**u * rewards[u] for u in range(t, T))


def test_the_gradient_of_a_mean_is_a_mean_of_scores() -> None:
    """Checks id:log-derivative: the gradient of a mean, by differences, and the mean of f times the score."""
    f = table(A, seed=6)
    theta = torch.tensor([0.7, -0.4], dtype=F64, requires_grad=True)
    log_pi = policy(theta)[2]
    slow = torch.zeros(2, dtype=F64)
    for a in range(A):
        slow += log_pi[a].exp().item() * f[a] * torch.autograd.grad(log_pi[a], theta, retain_graph=True)[0]
    for i in range(2):
        step = 1e-6 * torch.eye(2, dtype=F64)[i]
        with torch.no_grad():
            up, down = (float((policy(x)[2].exp() * f).sum()) for x in (theta + step, theta - step))
        assert slow[i].item() == pytest.approx((up - down) / 2e-6, abs=1e-8)


def test_policy_gradient_theorem() -> None:
    """Checks id:policy-gradient-theorem: the gradient of the exact return, and visits times scores times Q.

    Time is part of the state, so that an episode of T steps is an MDP that ends: s is (t, s).
    """
    P, r, d = world()
    theta = torch.tensor([0.7, -0.4], dtype=F64, requires_grad=True)
    log_pi = policy(theta)
    pi = log_pi.detach().exp()
    Q: list[Tensor] = []
    for _ in range(T):  # from the last step to the first
        Q.insert(0, r + (GAMMA * torch.einsum("sau,u->sa", P, (pi * Q[0]).sum(-1)) if Q else 0))
    right = torch.zeros((), dtype=F64)
    for t in range(T):
        right = right + GAMMA**t * (d[:, None] * pi * Q[t] * log_pi).sum()
        d = torch.einsum("s,sa,sau->u", d, pi, P)
    assert torch.allclose(torch.autograd.grad(right, theta)[0], exact_gradient(), atol=1e-12)


def test_reward_before_an_action_says_nothing_about_it() -> None:
    """Checks id:reward-to-go: the whole return and the return to go have the same mean gradient."""
    whole = mean_gradient(lambda rewards, t: to_go(rewards, 0))
    assert torch.allclose(whole, mean_gradient(to_go), atol=1e-12)
    assert torch.allclose(whole, exact_gradient(), atol=1e-12)
    assert not torch.allclose(
        mean_gradient(lambda rewards, t: to_go(rewards, t) / GAMMA**t), whole, atol=1e-3
    )


def test_a_baseline_adds_nothing_on_average() -> None:
    """Checks id:baseline: a number for each state times the score is 0 in the mean over actions."""
    theta = torch.tensor([0.7, -0.4], dtype=F64, requires_grad=True)
    log_pi, b = policy(theta), table(S, seed=7)
    for s in range(S):
        score = [torch.autograd.grad(log_pi[s, a], theta, retain_graph=True)[0] for a in range(A)]
        assert max(x.abs().max() for x in score) > 0.1
        mean = sum(log_pi[s, a].exp().item() * b[s] * score[a] for a in range(A))
        assert torch.allclose(mean, torch.zeros(2, dtype=F64), atol=1e-12)
    assert torch.allclose(
        mean_gradient(lambda rewards, t: to_go(rewards, t) - 5), exact_gradient(), atol=1e-12
    )


def test_the_mean_surprise_is_the_advantage() -> None:
    """Checks id:surprise-advantage: for the exact V, the mean of one step's delta is Q - V."""
    P, r, _ = world()
    pi, V = policy(torch.tensor([0.7, -0.4], dtype=F64)).exp(), torch.zeros(S, dtype=F64)
    for _ in range(300):
        V = (pi * (r + GAMMA * P @ V)).sum(-1)
    for s, a in itertools.product(range(S), range(A)):
        mean, Q = 0.0, r[s, a].item()
        for u in range(S):
            step = [torch.tensor([[x, 0.0]], dtype=F64) for x in (r[s, a], V[s])]
            step[1][0, 1] = V[u]
            delta = gae(*step, torch.ones(1, 2), GAMMA, 0.0)[0][0, 0].item()
            mean += P[s, a, u].item() * delta
            Q += GAMMA * P[s, a, u].item() * math.fsum((pi[u] * (r[u] + GAMMA * P[u] @ V)).tolist())
        assert mean == pytest.approx(Q - V[s].item(), abs=1e-12)


def test_a_response_is_one_action_or_many() -> None:
    """Checks id:sequence-gradient: the score of a response is the sum of its tokens' scores."""
    z = table(2, 4, A).requires_grad_()
    actions, m = torch.tensor([[0, 2, 1, 0], [1, 1, 0, 0]]), torch.tensor([[1.0, 1, 1, 1], [1, 1, 0, 0]])
    R = torch.tensor([2.0, -1.0], dtype=F64)
    sequence = torch.ones(2, dtype=F64)
    for b, t in m.nonzero().tolist():  # probability of a response: the product of its tokens'
        sequence[b] = sequence[b].clone() * torch.softmax(z[b, t], -1)[actions[b, t]]
    left = torch.autograd.grad((R * sequence.log()).mean(), z, retain_graph=True)[0]
    loss = policy_gradient_loss(log_prob(z, actions), R[:, None].expand(2, 4), m.to(F64), N=2)
    assert torch.allclose(left, -torch.autograd.grad(loss, z)[0], atol=1e-12)


@pytest.mark.parametrize("N", [None, 3.0])
def test_the_loss_equals_a_slow_loop_and_its_gradient_minus_the_estimate(N: float | None) -> None:
    z, Adv, w = table(2, 4, A).requires_grad_(), table(2, 4, seed=8), table(2, 4, seed=9).abs()
    actions, m = torch.tensor([[0, 2, 1, 0], [1, 1, 0, 0]]), torch.tensor([[1.0, 1, 1, 0], [1, 0, 0, 0]])
    loss = policy_gradient_loss(log_prob(z, actions), Adv, m, w, N)
    count, slow, g = N or 4.0, 0.0, torch.zeros(2, 4, A, dtype=F64)
    for b, t in m.nonzero().tolist():
        p = torch.softmax(z[b, t], -1).detach()
        weight = (w[b, t] * Adv[b, t]).item() / count
        slow -= weight * math.log(p[actions[b, t]].item())
        for a in range(A):
            g[b, t, a] = weight * (float(a == actions[b, t]) - p[a].item())
    assert loss.item() == pytest.approx(slow, abs=1e-12)
    assert torch.allclose(-torch.autograd.grad(loss, z)[0], g, atol=1e-12)


def test_padding_touches_neither_loss_nor_gradient() -> None:
    log_p = table(1, 3).requires_grad_()
    m = torch.tensor([[1.0, 1.0, 0.0]])
    broken = torch.tensor([[1.0, 2.0, math.nan]], dtype=F64)
    g = torch.autograd.grad(policy_gradient_loss(log_p, broken, m), log_p)[0]
    assert g.tolist() == [[-0.5, -1.0, 0.0]]


def test_softmax_gradient_equals_differences_of_the_exact_return() -> None:
    """A table in an MDP that never ends: the return is a linear solve, its slope a difference."""
    P, r, d_0 = world()
    z, eye = table(S, A, seed=10), torch.eye(S, dtype=F64)

    def solve(z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        pi = torch.softmax(z, -1)
        step = torch.einsum("sa,sau->su", pi, P)
        return pi, step, torch.linalg.solve(eye - GAMMA * step, (pi * r).sum(-1))

    pi, step, V = solve(z)
    d = torch.linalg.solve(eye - GAMMA * step.T, d_0)
    g = softmax_policy_gradient(d, pi, r + GAMMA * P @ V - V[:, None])
    for s, a in itertools.product(range(S), range(A)):
        up, down = z.clone(), z.clone()
        up[s, a] += 1e-5
        down[s, a] -= 1e-5
        slope = float(d_0 @ (solve(up)[2] - solve(down)[2])) / 2e-5
        assert g[s, a].item() == pytest.approx(slope, abs=1e-8)


def test_groups_equal_slow_loops() -> None:
    R = table(3, 5)
    left, scaled = leave_one_out(R), group_standardised(R)
    for b in range(3):
        row = R[b].tolist()
        mean = math.fsum(row) / 5
        deviation = math.sqrt(math.fsum((x - mean) ** 2 for x in row) / 5 + 1e-8)
        for k in range(5):
            others = [x for j, x in enumerate(row) if j != k]
            assert left[b, k].item() == pytest.approx(row[k] - math.fsum(others) / 4, abs=1e-12)
            assert scaled[b, k].item() == pytest.approx((row[k] - mean) / deviation, abs=1e-12)


def test_leaving_one_out_is_subtracting_the_mean_and_scaling() -> None:
    """Checks id:rloo-mean: the reward less the mean of the others is K / (K - 1) times it less the mean."""
    for K in (2, 3, 7):
        R = table(4, K, seed=K)
        assert torch.allclose(leave_one_out(R), K / (K - 1) * (R - R.mean(1, keepdim=True)), atol=1e-12)


def test_in_pairs_only_the_winner_counts() -> None:
    """Checks id:grpo-pairs: for two responses, standardising leaves the sign of the difference."""
    for a, b in ((3.0, -3.0), (0.2, 0.1), (-1.0, 4.0)):
        got = group_standardised(torch.tensor([a, b], dtype=F64))
        assert got.tolist() == pytest.approx([math.copysign(1, a - b), math.copysign(1, b - a)], abs=1e-5)


def test_groups_that_agree_teach_nothing() -> None:
    for function in (leave_one_out, group_standardised):
        assert function(torch.full((2, 3), 0.1)).abs().max() < 1e-3
        assert function(torch.tensor([1, 2, 3], dtype=torch.bfloat16)).dtype == torch.float32


def test_bad_input_is_named() -> None:
    x, m = torch.zeros(2, 3), torch.ones(2, 3)
    with pytest.raises(ValueError, match=r"A: expected shape \(2, 3\) like log_p, got \(2, 4\)"):
        policy_gradient_loss(x, torch.zeros(2, 4), m)
    with pytest.raises(ValueError, match="m: expected at least one response token"):
        policy_gradient_loss(x, x, 0 * m)
    with pytest.raises(ValueError, match=r"A: expected shape \(2, 3\) like pi"):
        softmax_policy_gradient(torch.zeros(2), x, torch.zeros(3, 2))
    with pytest.raises(ValueError, match=r"d: expected shape \(2,\)"):
        softmax_policy_gradient(torch.zeros(3), x, x)
    for function in (leave_one_out, group_standardised):
        with pytest.raises(ValueError, match=r"R: expected at least two responses .* got \(4, 1\)"):
            function(torch.zeros(4, 1))
