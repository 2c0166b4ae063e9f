"""The equations of deep Q-learning and soft actor-critic against slow loops, gradients and closed forms."""

import math

import pytest
import torch

from mmbook.equations import (
    dqn_loss,
    q_learning_target,
    sac_policy_loss,
    soft_policy,
    soft_state_value,
    soft_value,
    td_error,
)

F64 = torch.float64


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return 2 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


def test_dqn_loss_equals_a_slow_loop() -> None:
    Q, y = draw(50), draw(50, seed=1)
    errors = [b - a for a, b in zip(Q.tolist(), y.tolist(), strict=True)]
    assert min(map(abs, errors)) < 1 < max(map(abs, errors))
    slow = math.fsum(x * x / 2 if abs(x) <= 1 else abs(x) - 0.5 for x in errors) / 50
    assert dqn_loss(Q, y).item() == pytest.approx(slow, abs=1e-12)


def test_huber_gradient() -> None:
    """Checks id:huber-gradient: the loss moves Q by the error, but never by more than 1; y is a constant."""
    Q, y = draw(50).requires_grad_(), draw(50, seed=1).requires_grad_()
    dqn_loss(Q, y).backward()
    assert torch.allclose(Q.grad, -(y - Q).detach().clamp(-1, 1) / 50, atol=1e-14)
    assert y.grad is None


def test_bandit_target() -> None:
    """Checks id:bandit-target: where every step ends, targets are rewards; nobody reads next values."""
    r, Q_next = draw(20), torch.full((20, 3), math.nan, dtype=F64)
    assert torch.equal(q_learning_target(r, Q_next, 0.99, torch.ones(20)), r)


def test_deadly_triad() -> None:
    """Checks id:deadly-triad: k updates of one weight multiply it by a known factor, which may exceed 1."""
    for gamma, alpha in ((0.99, 0.1), (0.4, 0.1), (0.5, 0.3)):
        theta = torch.tensor([1.0], dtype=F64)
        for _ in range(20):  # features 1 and 2: V = theta here and 2 theta in the next state
            theta = theta + alpha * td_error(torch.zeros(1), theta, 2 * theta, gamma, torch.zeros(1))
        assert theta.item() == pytest.approx((1 + alpha * (2 * gamma - 1)) ** 20, rel=1e-12)
        assert (theta.item() > 1) == (gamma > 0.5)


def test_soft_values_equal_slow_loops_and_the_policy_loss_is_their_mean() -> None:
    Q, log_p, beta = draw(7, 4), draw(7, 4, seed=1).log_softmax(-1), 0.3
    slow = [
        math.fsum(math.exp(lp) * (q - beta * lp) for q, lp in zip(*rows, strict=True))
        for rows in zip(Q.tolist(), log_p.tolist(), strict=True)
    ]
    assert soft_state_value(Q, log_p, beta).tolist() == pytest.approx(slow, abs=1e-12)
    assert sac_policy_loss(Q, log_p, beta).item() == pytest.approx(-sum(slow) / 7, abs=1e-12)
    greedy = Q.argmax(-1)
    nearly = 50.0 * torch.nn.functional.one_hot(greedy, 4).to(F64)
    assert torch.allclose(soft_state_value(Q, nearly.log_softmax(-1), 0.0), Q.amax(-1), atol=1e-12)


def test_sac_optimum() -> None:
    """Checks id:sac-optimum: the loss is least for the softmax of Q / beta, and what it is worth."""
    Q, beta = draw(7, 4).requires_grad_(), 0.3
    best = (Q / beta).log_softmax(-1).detach()
    value = beta * (Q / beta).logsumexp(-1)
    assert torch.allclose(soft_state_value(Q, best, beta), value, atol=1e-12)
    ones = torch.zeros_like(Q)  # the entropy alone: a reference of weight 1 for each action
    assert torch.allclose(value, soft_value(Q, ones, beta)) and torch.allclose(
        best, soft_policy(Q, ones, beta)
    )
    z = best.clone().requires_grad_()
    loss = sac_policy_loss(Q, z.log_softmax(-1), beta)
    loss.backward()
    assert z.grad.abs().max() < 1e-14 and Q.grad is None
    for seed in range(20):
        other = (best + 0.1 * draw(7, 4, seed=seed)).log_softmax(-1)
        assert sac_policy_loss(Q, other, beta) > loss


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="y: expected shape"):
        dqn_loss(draw(4), draw(4, 1))
    with pytest.raises(ValueError, match="log_p: expected shape"):
        soft_state_value(draw(4, 2), draw(4), 0.1)
    with pytest.raises(ValueError, match="beta: expected a number"):
        soft_state_value(draw(4), draw(4), -0.1)


def test_half_precision_is_widened() -> None:
    Q = torch.tensor([60000.0, 60000.0], dtype=torch.float16)
    assert torch.isfinite(dqn_loss(Q, -Q)) and dqn_loss(Q, -Q).dtype == torch.float32
