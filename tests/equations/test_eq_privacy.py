"""Randomised answers: epsilon by the definition of differential privacy, the loss by counting both ways."""

import math

import pytest
import torch

from mmbook.equations import flipped_loss, preference_loss, preference_probability, response_epsilon

F64 = torch.float64


def test_epsilon_is_the_largest_log_ratio_of_an_answer() -> None:
    for p in (0.01, 0.25, 0.5):
        chances = {truth: {truth: 1 - p, 1 - truth: p} for truth in (0, 1)}
        largest = max(math.log(chances[a][said] / chances[1 - a][said]) for a in (0, 1) for said in (0, 1))
        assert response_epsilon(p) == pytest.approx(largest)
    assert response_epsilon(0.25) == pytest.approx(math.log(3))
    assert response_epsilon(0) == math.inf


def test_the_loss_is_that_of_either_an_honest_or_a_turned_choice() -> None:
    R_c, R_r = torch.randn(2, 50, dtype=F64).unbind()
    P = preference_probability(R_c, R_r)
    for p in (0.1, 0.4):
        direct = -((1 - p) * P + p * (1 - P)).log().mean()
        assert flipped_loss(R_c, R_r, p).item() == pytest.approx(direct.item())
    assert flipped_loss(R_c, R_r, 0.0).item() == pytest.approx(preference_loss(R_c, R_r).item())
    assert flipped_loss(R_c, R_r, 0.5).item() == pytest.approx(math.log(2))


def test_its_minimum_is_the_true_lead_where_the_plain_loss_shrinks_it() -> None:
    """Shares of choices are known exactly, so the best lead of either loss is too."""
    p, lead = 0.25, 1.7
    honest = 1 / (1 + math.exp(-lead))
    seen = (1 - p) * honest + p * (1 - honest)
    d = torch.linspace(-4, 4, 8001, dtype=F64)

    def best(loss) -> float:
        each = [
            seen * loss(x, torch.zeros_like(x)) + (1 - seen) * loss(torch.zeros_like(x), x)
            for x in d[:, None]
        ]
        return d[torch.stack(each).argmin()].item()

    assert best(lambda a, b: flipped_loss(a, b, p)) == pytest.approx(lead, abs=2e-3)
    assert best(preference_loss) == pytest.approx(math.log(seen / (1 - seen)), abs=2e-3)


def test_a_lead_that_is_far_off_costs_a_finite_amount() -> None:
    R_c = torch.tensor([-1e4], requires_grad=True)
    loss = flipped_loss(R_c, torch.zeros(1), 0.1)
    loss.backward()
    assert loss.item() == pytest.approx(-math.log(0.1)) and R_c.grad.isfinite().all()


def test_refusals() -> None:
    for p in (-0.1, 0.6):
        with pytest.raises(ValueError, match="p: expected"):
            response_epsilon(p)
        with pytest.raises(ValueError, match="p: expected"):
            flipped_loss(torch.zeros(1), torch.zeros(1), p)
    with pytest.raises(ValueError, match="R_r"):
        flipped_loss(torch.zeros(2), torch.zeros(3), 0.1)
    with pytest.raises(ValueError, match="at least one pair"):
        flipped_loss(torch.zeros(0), torch.zeros(0), 0.1)
