"""Decisions with unequal costs: against sums written out, and against a population that is counted."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mmbook.equations import expected_cost, hand_over, shifted_posterior

C = torch.tensor([[0.0, 1, 2], [5, 0, 1], [40, 6, 0]])
p = torch.tensor([[0.97, 0.02, 0.01], [0.2, 0.3, 0.5], [0.0, 0.0, 1.0]])


def test_expected_cost_is_the_sum_over_truths() -> None:
    slow = [[sum(float(row[k]) * float(C[k, a]) for k in range(3)) for a in range(3)] for row in p]
    torch.testing.assert_close(expected_cost(p, C), torch.tensor(slow))
    assert expected_cost(p[0], C).shape == (3,)
    with pytest.raises(ValueError, match="C: expected a row for each of 2 truths"):
        expected_cost(p[:, :2], C)


def test_a_case_is_handed_over_where_nothing_is_cheaper() -> None:
    assert hand_over(p, C, 0.4).tolist() == [True, True, False]
    assert hand_over(p, C, 0.6).tolist() == [False, True, False]
    assert hand_over(p, C, 1.0).tolist() == [False, False, False]  # 0.2 * 2 + 0.3 * 1 = 0.7 is less
    with pytest.raises(ValueError, match="d: expected a number >= 0"):
        hand_over(p, C, -1.0)


def test_two_truths_have_one_threshold() -> None:
    """Checks id:threshold: the cheaper of two decisions changes where p is the false alarm's share."""
    rng = np.random.default_rng(0)
    for false_alarm, miss in rng.uniform(0.1, 30, (20, 2)):
        two = torch.tensor([[0.0, false_alarm], [miss, 0.0]], dtype=torch.float64)
        q = torch.linspace(0, 1, 2001, dtype=torch.float64)
        alarm = expected_cost(torch.stack([1 - q, q], -1), two).argmin(-1) == 1
        assert torch.equal(alarm, q > false_alarm / (false_alarm + miss))


def test_other_base_rates_by_counting() -> None:
    """Copies of each truth's members change how common it is, and not how it looks."""
    rng = np.random.default_rng(0)
    counts, copies = rng.integers(1, 50, (3, 8)), np.array([1, 4, 2])  # truths by looks
    before, after = (torch.tensor(x / x.sum(0)).T for x in (counts, counts * copies[:, None]))
    w = torch.tensor(copies / 7.0)
    torch.testing.assert_close(shifted_posterior(before, w), after)
    torch.testing.assert_close(shifted_posterior(before, torch.ones(3, dtype=torch.float64)), before)
    for wrong in (torch.ones(2), torch.tensor([1.0, -1.0, 1.0])):
        with pytest.raises(ValueError, match="w: expected 3 ratios"):
            shifted_posterior(before, wrong)
