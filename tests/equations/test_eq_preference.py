"""Choices: probabilities and losses against closed forms."""

import math

import pytest
import torch

from mmbook.equations import preference_loss, preference_probability

F64 = torch.float64
R_C = torch.tensor([2.0, -1.0, 0.3], dtype=F64)
R_R = torch.tensor([1.0, 1.5, 0.3], dtype=F64)


def test_probability_equals_the_ratio_of_strengths() -> None:
    """Bradley and Terry's own form: strength over the sum of strengths, with strength exp(R)."""
    for c, r, p in zip(R_C.tolist(), R_R.tolist(), preference_probability(R_C, R_R).tolist(), strict=True):
        assert p == pytest.approx(math.exp(c) / (math.exp(c) + math.exp(r)), abs=1e-12)
    assert preference_probability(R_C, R_R)[2].item() == 0.5


def test_the_two_orders_share_one_whole() -> None:
    """Checks id:pair-symmetry: P(c over r) + P(r over c) = 1."""
    both = preference_probability(R_C, R_R) + preference_probability(R_R, R_C)
    assert torch.allclose(both, torch.ones(3, dtype=F64), atol=1e-15)


def test_a_constant_changes_nothing() -> None:
    """Checks id:bt-shift: the same number added to both rewards leaves the probability alone."""
    for b in (-50.0, 0.25, 1000.0):
        shifted = preference_probability(R_C + b, R_R + b)
        assert torch.allclose(shifted, preference_probability(R_C, R_R), atol=1e-12)
    assert not torch.allclose(preference_probability(2 * R_C, 2 * R_R), preference_probability(R_C, R_R))


@pytest.mark.parametrize(("margin", "c"), [(0.0, 0.0), (0.5, 0.0), (0.0, 0.01), (1.0, 0.1)])
def test_loss_equals_a_slow_mean(margin: float, c: float) -> None:
    pairs = list(zip(R_C.tolist(), R_R.tolist(), strict=True))
    slow = [math.log1p(math.exp(-(a - b - margin))) + c * (a + b) ** 2 for a, b in pairs]
    assert preference_loss(R_C, R_R, margin, c).item() == pytest.approx(math.fsum(slow) / 3, abs=1e-12)
    margins = torch.full((3,), margin, dtype=F64)
    assert preference_loss(R_C, R_R, margins, c).item() == pytest.approx(math.fsum(slow) / 3, abs=1e-12)


def test_loss_is_the_negative_log_likelihood_and_its_gradient_the_surprise() -> None:
    chosen, rejected = R_C.clone().requires_grad_(), R_R.clone().requires_grad_()
    loss = preference_loss(chosen, rejected)
    assert loss.item() == pytest.approx(-preference_probability(R_C, R_R).log().mean().item(), abs=1e-12)
    loss.backward()
    surprise = (1 - preference_probability(R_C, R_R)) / 3
    assert torch.allclose(chosen.grad, -surprise, atol=1e-12)
    assert torch.allclose(rejected.grad, surprise, atol=1e-12)
    assert preference_loss(R_C[:1], R_R[:1]) < preference_loss(R_R[:1], R_C[:1])


def test_extreme_rewards_stay_finite_and_half_precision_is_widened() -> None:
    far = torch.tensor([-1e4, 1e4], requires_grad=True)
    loss = preference_loss(far, torch.zeros(2))
    assert loss.item() == pytest.approx(5e3)
    loss.backward()
    assert far.grad.tolist() == [-0.5, 0.0]
    assert preference_probability(far.detach(), torch.zeros(2)).tolist() == [0.0, 1.0]
    half = torch.tensor([1000.0, 3.0]).half()
    assert preference_loss(half, -half, c=1e4).isfinite()
    assert preference_loss(half, half).dtype == torch.float32


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match=r"R_r: expected shape \(3,\) like R_c, got \(2,\)"):
        preference_loss(R_C, R_R[:2])
    with pytest.raises(ValueError, match=r"R_r: expected shape \(3,\) like R_c, got \(3, 1\)"):
        preference_probability(R_C, R_R[:, None])
    with pytest.raises(ValueError, match="R_c: expected at least one pair"):
        preference_loss(R_C[:0], R_R[:0])
