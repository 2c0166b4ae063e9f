"""Choices: probabilities and losses against closed forms."""

import math
from itertools import permutations

import pytest
import torch

from mmbook.equations import (
    ordinal_loss,
    preference_loss,
    preference_probability,
    ranking_loss,
    tie_loss,
    tie_probabilities,
)

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


@pytest.mark.parametrize("nu", [0.05, 1.0, 3.0])
def test_ties_equal_a_slow_ratio_of_strengths(nu: float) -> None:
    P = tie_probabilities(R_C, R_R, nu)
    for a, b, p in zip(R_C.tolist(), R_R.tolist(), P.tolist(), strict=True):
        strengths = [math.exp(a), math.exp(b), nu * math.sqrt(math.exp(a) * math.exp(b))]
        assert p == pytest.approx([s / sum(strengths) for s in strengths], abs=1e-12)
    assert P[2, 2] == pytest.approx(nu / (2 + nu), abs=1e-12)  # two equals
    outcome = torch.tensor([2, 0, 1])
    slow = -sum(math.log(p[k]) for p, k in zip(P.tolist(), outcome.tolist(), strict=True)) / 3
    assert tie_loss(R_C, R_R, outcome, nu).item() == pytest.approx(slow, abs=1e-12)


def test_ties_leave_the_odds_of_the_others_alone() -> None:
    """Checks id:tie-odds: among the judgements that are no ties, Bradley and Terry's probabilities."""
    P = tie_probabilities(R_C, R_R, 1.7)
    odds = P[:, 0] / (P[:, 0] + P[:, 1])
    assert torch.allclose(odds, preference_probability(R_C, R_R), atol=1e-12)
    near = tie_probabilities(R_C, R_R, 1e-9)[:, 0]
    assert torch.allclose(near, preference_probability(R_C, R_R), atol=1e-8)


def test_the_share_of_ties_is_learned() -> None:
    """Among equals, four ties in ten are fitted by nu / (2 + nu) = 0.4."""
    log_nu = torch.zeros((), dtype=F64, requires_grad=True)
    outcome = torch.tensor([2] * 4 + [0] * 3 + [1] * 3)
    optimizer = torch.optim.LBFGS([log_nu], max_iter=50)

    def descend() -> torch.Tensor:
        optimizer.zero_grad()
        loss = tie_loss(torch.zeros(10, dtype=F64), torch.zeros(10, dtype=F64), outcome, log_nu.exp())
        loss.backward()
        return loss

    optimizer.step(descend)
    assert log_nu.exp().item() == pytest.approx(4 / 3, abs=1e-4)


def test_ratings_equal_differences_of_cumulative_probabilities() -> None:
    kappa, rating = torch.tensor([-1.0, 0.2, 1.5], dtype=F64), torch.tensor([3, 0, 2])
    slow = 0.0
    for R, j in zip(R_C.tolist(), rating.tolist(), strict=True):
        at_most = [0.0, *(1 / (1 + math.exp(R - k)) for k in kappa.tolist()), 1.0]
        slow -= math.log(at_most[j + 1] - at_most[j]) / 3
    assert ordinal_loss(R_C, rating, kappa).item() == pytest.approx(slow, abs=1e-12)
    total = sum(
        math.exp(-ordinal_loss(R_C[:1], torch.tensor([j]), kappa).item()) for j in range(len(kappa) + 1)
    )
    assert total == pytest.approx(1, abs=1e-12)


def test_ratings_have_the_right_slope_and_stay_finite() -> None:
    kappa = torch.tensor([-1.0, 0.2, 1.5], dtype=F64, requires_grad=True)
    R, rating = R_C.clone().requires_grad_(), torch.tensor([3, 0, 2])
    assert torch.autograd.gradcheck(lambda R, kappa: ordinal_loss(R, rating, kappa), (R, kappa))
    far = torch.tensor([-300.0, 300.0], requires_grad=True)
    loss = ordinal_loss(far, torch.tensor([1, 1]), torch.tensor([0.0, 1.0]))
    loss.backward()
    assert loss.item() == pytest.approx(300 - 0.5 - math.log(-math.expm1(-1)), rel=1e-5)
    assert far.grad.tolist() == pytest.approx([-0.5, 0.5])
    for j in (0, 3):  # the ends of the scale: no threshold below, none above
        R.grad = None
        ordinal_loss(R, torch.full((3,), j), kappa).backward()
        assert R.grad.isfinite().all() and (R.grad.sign() == (1 if j == 0 else -1)).all()


def test_rankings_equal_a_row_of_choices() -> None:
    R = torch.stack([R_C, R_R, R_C - R_R])
    slow = 0.0
    for row in R.tolist():
        for k in range(3):
            slow -= math.log(math.exp(row[k]) / sum(map(math.exp, row[k:]))) / 3
    assert ranking_loss(R).item() == pytest.approx(slow, abs=1e-12)
    orders = torch.stack([R_C[list(p)] for p in permutations(range(3))])
    total = sum(math.exp(-ranking_loss(row[None]).item()) for row in orders)
    assert total == pytest.approx(1, abs=1e-12)
    pair = ranking_loss(torch.stack([R_C, R_R], -1))
    assert pair.item() == pytest.approx(preference_loss(R_C, R_R).item(), abs=1e-12)
    assert ranking_loss(torch.tensor([[1e4, -1e4, 0.0]])).item() == pytest.approx(1e4)


def test_bad_judgements_are_named() -> None:
    with pytest.raises(ValueError, match="nu: expected a number > 0, got 0"):
        tie_probabilities(R_C, R_R, 0.0)
    with pytest.raises(ValueError, match=r"outcome: expected one or more whole numbers from 0 to 2, got \[3"):
        tie_loss(R_C, R_R, torch.tensor([3, 0, 1]), 1.0)
    with pytest.raises(ValueError, match=r"rating: expected one or more whole numbers from 0 to 2, got \[-1"):
        ordinal_loss(R_C, torch.tensor([-1, 0, 1]), torch.tensor([0.0, 1.0]))
    with pytest.raises(
        ValueError, match=r"rating: expected one or more whole numbers from 0 to 1, got \[0.5"
    ):
        ordinal_loss(R_C, torch.full((3,), 0.5), torch.tensor([0.0]))
    with pytest.raises(ValueError, match=r"kappa: expected one or more rising thresholds, got \[1.0, 1.0\]"):
        ordinal_loss(R_C, torch.tensor([0, 1, 2]), torch.ones(2))
    with pytest.raises(ValueError, match=r"rating: expected shape \(3,\) like R"):
        ordinal_loss(R_C, torch.tensor([0]), torch.ones(1))
    with pytest.raises(ValueError, match=r"R: expected shape \(B, K\)"):
        ranking_loss(R_C)
    with pytest.raises(ValueError, match="outcome: expected one or more whole numbers"):
        tie_loss(R_C[:0], R_R[:0], torch.zeros(0, dtype=torch.long), 1.0)
