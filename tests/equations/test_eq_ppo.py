"""The losses of PPO against slow loops, their four cases, and every split of a minibatch."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from mmbook.equations import (
    approximate_kl,
    clip_fraction,
    entropy,
    explained_variance,
    log_prob,
    masked_mean,
    policy_loss,
    total_loss,
    value_loss,
)

F64 = torch.float64
EPS = 0.2


def minibatch(seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Three random tables (4, 5), the second close to the first, and a mask of ragged rows."""
    g = torch.Generator().manual_seed(seed)
    a, noise, b = (torch.randn(4, 5, generator=g, dtype=F64) for _ in range(3))
    return a, a + 0.4 * noise, b, (torch.arange(5) < torch.tensor([5, 2, 1, 4])[:, None]).to(F64)


def slow_clip(x: float, low: float, high: float) -> float:
    return low if x < low else high if x > high else x


def slow_mean(term: Callable[..., float], m: Tensor, *tables: Tensor) -> float:
    """Average `term` over the tokens with m = 1, in plain Python."""
    places = m.nonzero().tolist()
    return math.fsum(term(*(x[b, t].item() for x in tables)) for b, t in places) / len(places)


def slow_policy_term(log_p: float, log_p_old: float, A: float) -> float:
    rho = math.exp(log_p - log_p_old)
    return max(-A * rho, -A * slow_clip(rho, 1 - EPS, 1 + EPS))


def slow_value_term(V: float, V_old: float, G: float) -> float:
    return max((V - G) ** 2, (V_old + slow_clip(V - V_old, -EPS, EPS) - G) ** 2) / 2


def test_losses_and_diagnostics_equal_slow_loops() -> None:
    for seed in range(5):
        x, x_old, target, m = minibatch(seed)
        assert policy_loss(x, x_old, target, m, EPS).item() == pytest.approx(
            slow_mean(slow_policy_term, m, x, x_old, target), abs=1e-12
        )
        assert value_loss(x, x_old, target, m, EPS).item() == pytest.approx(
            slow_mean(slow_value_term, m, x, x_old, target), abs=1e-12
        )
        assert approximate_kl(x, x_old, m).item() == pytest.approx(
            slow_mean(lambda a, b: math.exp(a - b) - 1 - (a - b), m, x, x_old), abs=1e-12
        )
        outside = slow_mean(lambda a, b: float(abs(math.exp(a - b) - 1) > EPS), m, x, x_old)
        assert 0 < outside < 1
        assert clip_fraction(x, x_old, m, EPS).item() == pytest.approx(outside, abs=1e-12)


@pytest.mark.parametrize(
    ("A", "rho", "loss", "clipped"),
    [
        (2.0, 1.5, -2 * 1.2, True),  # better than expected and raised enough: stop
        (2.0, 0.5, -2 * 0.5, False),  # better than expected, yet lowered: push back
        (-2.0, 1.5, 2 * 1.5, False),  # worse than expected, yet raised: push back
        (-2.0, 0.5, 2 * 0.8, True),  # worse than expected and lowered enough: stop
        (2.0, 1.1, -2 * 1.1, False),
        (-2.0, 0.9, 2 * 0.9, False),
    ],
)
def test_policy_loss_by_side_and_sign(A: float, rho: float, loss: float, clipped: bool) -> None:
    log_p = torch.tensor([[math.log(rho)]], dtype=F64, requires_grad=True)
    got = policy_loss(log_p, torch.zeros(1, 1), torch.tensor([[A]]), torch.ones(1, 1), EPS)
    assert got.item() == pytest.approx(loss, abs=1e-7)
    got.backward()
    assert log_p.grad.item() == pytest.approx(0.0 if clipped else -A * rho, abs=1e-7)


@pytest.mark.parametrize(
    ("V", "G", "loss", "clipped"),
    [
        (0.5, 2.0, (0.2 - 2) ** 2 / 2, True),  # moved up towards a target above, by enough: stop
        (0.5, -1.0, (0.5 + 1) ** 2 / 2, False),  # moved up, away from the target: push back
        (-0.5, 1.0, (-0.5 - 1) ** 2 / 2, False),  # moved down, away from the target: push back
        (-0.5, -2.0, (-0.2 + 2) ** 2 / 2, True),  # moved down towards a target below, by enough: stop
        (0.1, 2.0, (0.1 - 2) ** 2 / 2, False),
    ],
)
def test_value_loss_by_side_and_sign(V: float, G: float, loss: float, clipped: bool) -> None:
    value = torch.tensor([[V]], dtype=F64, requires_grad=True)
    got = value_loss(value, torch.zeros(1, 1), torch.tensor([[G]], dtype=F64), torch.ones(1, 1), EPS)
    assert got.item() == pytest.approx(loss, abs=1e-12)
    got.backward()
    assert value.grad.item() == pytest.approx(0.0 if clipped else V - G, abs=1e-12)


def test_surrogate_has_the_policy_gradient_where_the_ratio_is_one() -> None:
    """Checks id:policy-gradient-at-one: autograd of the loss = the masked mean of -A times the scores."""
    torch.manual_seed(1)
    logits, actions = torch.randn(4, 5, 6, dtype=F64, requires_grad=True), torch.randint(0, 6, (4, 5))
    A, m = minibatch()[2:]
    log_p = log_prob(logits, actions)
    (surrogate,) = torch.autograd.grad(policy_loss(log_p, log_p.detach(), A, m, EPS), logits)
    # The gradient of log pi in closed form: one-hot less softmax.
    score = torch.eye(6, dtype=F64)[actions] - logits.detach().softmax(-1)
    assert torch.allclose(surrogate, -(m * A)[..., None] * score / m.sum(), atol=1e-12)


@pytest.mark.parametrize("loss", [policy_loss, value_loss])
def test_every_split_of_a_minibatch_has_the_same_gradient(loss: Callable[..., Tensor]) -> None:
    x, x_old, target, m = minibatch(2)
    rows = [x_old, target, m]

    def gradient(parts: tuple[tuple[int, ...], ...], own_count: bool = False) -> Tensor:
        weight = x.clone().requires_grad_()
        for part in parts:
            at = list(part)
            n = None if own_count else m.sum()
            share = loss(weight[at], *(row[at] for row in rows), EPS, N=n)
            (share / len(parts) if own_count else share).backward()
        return weight.grad

    whole = gradient(((0, 1, 2, 3),))
    for parts in (((0,), (1, 2, 3)), ((0, 1), (2, 3)), ((2,), (0, 3), (1,)), ((3,), (2,), (1,), (0,))):
        assert torch.allclose(gradient(parts), whole, atol=1e-14)
        assert not torch.allclose(gradient(parts, own_count=True), whole, atol=1e-3)  # the control
    assert torch.equal(loss(x, *rows, EPS), loss(x, *rows, EPS, N=float(m.sum())))


def test_padding_touches_neither_value_nor_gradient() -> None:
    x, x_old, target, m = minibatch(3)
    for garbage in (1e9, math.inf, math.nan):
        noisy = [t.masked_fill(m == 0, garbage) for t in (x, x_old, target)]
        for loss in (policy_loss, value_loss):
            clean, dirty = x.clone().requires_grad_(), noisy[0].clone().requires_grad_()
            one, two = loss(clean, x_old, target, m, EPS), loss(dirty, noisy[1], noisy[2], m, EPS)
            one.backward()
            two.backward()
            assert torch.equal(one, two) and torch.equal(clean.grad, dirty.grad)
            assert not dirty.grad[m == 0].any()
        assert torch.equal(approximate_kl(noisy[0], noisy[1], m), approximate_kl(x, x_old, m))
        assert torch.equal(clip_fraction(noisy[0], noisy[1], m, EPS), clip_fraction(x, x_old, m, EPS))
        assert torch.equal(explained_variance(noisy[0], noisy[2], m), explained_variance(x, target, m))


def test_total_loss_equals_the_hand_sum_and_so_does_its_gradient() -> None:
    assert total_loss(torch.tensor(2.0), torch.tensor(3.0), torch.tensor(5.0), 0.5, 0.1).item() == 3.0
    torch.manual_seed(4)
    logits, actions = torch.randn(4, 5, 6, dtype=F64, requires_grad=True), torch.randint(0, 6, (4, 5))
    V, V_old, G, m = minibatch(4)
    V.requires_grad_()

    def parts() -> tuple[Tensor, Tensor, Tensor]:
        log_p = log_prob(logits, actions)
        return (
            policy_loss(log_p, log_p.detach() + 0.1, G, m, EPS),
            value_loss(V, V_old, G, m, EPS),
            masked_mean(entropy(logits), m),
        )

    c_v, c_H = 0.3, 0.05
    whole = torch.autograd.grad(total_loss(*parts(), c_v, c_H), [logits, V])
    L_pi, L_v, H = parts()
    of_policy = torch.autograd.grad(L_pi, logits)[0] - c_H * torch.autograd.grad(H, logits)[0]
    assert torch.allclose(whole[0], of_policy, atol=1e-14)
    assert torch.allclose(whole[1], c_v * torch.autograd.grad(L_v, V)[0], atol=1e-14)


def test_diagnostics_at_known_points() -> None:
    x, _, G, m = minibatch(5)
    assert approximate_kl(x, x, m).item() == clip_fraction(x, x, m, EPS).item() == 0
    assert explained_variance(G, G, m).item() == pytest.approx(1)
    assert explained_variance(torch.full_like(G, 3.0), G, m).item() == pytest.approx(0, abs=1e-12)
    assert explained_variance(-G, G, m).item() == pytest.approx(-3)
    kept_G, kept_error = G[m == 1].numpy(), (G - x)[m == 1].numpy()
    assert explained_variance(x, G, m).item() == pytest.approx(1 - kept_error.var() / kept_G.var())
    assert explained_variance(x, torch.full_like(G, 0.1), m).item() == 0  # nothing to explain
    assert explained_variance(x[:1, :1], G[:1, :1], m[:1, :1]).item() == 0


def test_far_ratios_stay_finite() -> None:
    for gap in (-60.0, 60.0):
        for A in (-1.0, 1.0):
            log_p = torch.full((1, 1), gap, requires_grad=True)
            policy_loss(log_p, torch.zeros(1, 1), torch.full((1, 1), A), torch.ones(1, 1), EPS).backward()
            assert log_p.grad.isfinite().all()


def test_bad_input_is_named() -> None:
    x, m = torch.zeros(2, 3), torch.ones(2, 3)
    short = torch.zeros(2, 2)
    with pytest.raises(ValueError, match=r"A: expected shape \(2, 3\) like log_p, got \(2, 2\)"):
        policy_loss(x, x, short, m, EPS)
    with pytest.raises(ValueError, match=r"G: expected shape \(2, 3\) like V, got \(2, 2\)"):
        value_loss(x, x, short, m, EPS)
    with pytest.raises(ValueError, match="log_p"):
        approximate_kl(x, short, m)
    with pytest.raises(ValueError, match="log_p_old: expected shape"):
        clip_fraction(x, short, m, EPS)
    with pytest.raises(ValueError, match="G: expected shape"):
        explained_variance(x, short, m)
    calls = (
        lambda m: policy_loss(x, x, x, m, EPS),
        lambda m: value_loss(x, x, x, m, EPS),
        lambda m: approximate_kl(x, x, m),
        lambda m: clip_fraction(x, x, m, EPS),
        lambda m: explained_variance(x, x, m),
    )
    for call in calls:
        with pytest.raises(ValueError, match="m: expected at least one response token"):
            call(torch.zeros(2, 3))
    empty_part = torch.zeros(2, 3)
    assert policy_loss(x, x, x, empty_part, EPS, N=4).item() == 0
    with pytest.raises(ValueError, match="eps: expected a number > 0, got 0"):
        policy_loss(x, x, x, m, 0.0)
    with pytest.raises(ValueError, match="eps_v: expected a number > 0, got nan"):
        value_loss(x, x, x, m, math.nan)
