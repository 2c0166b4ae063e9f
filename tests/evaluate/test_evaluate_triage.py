"""What triage costs: decisions, their exact least price, and costs read from choices."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mmbook.equations import preference_probability
from mmbook.evaluate.calibration import fit_softmax_temperature
from mmbook.evaluate.triage import (
    COST,
    PERSON,
    PRICE,
    decide,
    learned_costs,
    least_cost,
    logits,
    paid,
    priced,
)
from mmbook.feedback.mistakes import MISTAKES, Nurse, compare_mistakes, worse_counts
from mmbook.models.fusion import build_triage
from mmbook.training import Schedule
from mmbook.training.sentiment import fit
from mmbook.world.triage import MISSING, joint_table, posterior, sample_cases


def test_decisions_and_what_they_cost() -> None:
    p = np.array([[1, 0, 0], [0, 1, 0], [0.5, 0.0, 0.5], [0.0, 0.2, 0.8]])
    assert decide(p, COST).tolist() == [0, 1, 2, 2]
    assert decide(p, COST, PRICE).tolist() == [0, 1, PERSON, 2]
    label = np.array([2, 1, 0, 1])
    np.testing.assert_allclose(priced(p, label), [40, 0, PRICE, 1])
    np.testing.assert_allclose(paid(np.array([PERSON]), np.array([0]), COST, 3.0), [3])


def test_the_least_cost_is_that_of_the_exact_posterior() -> None:
    table, data = joint_table(), sample_cases(4000, 0)
    x = priced(posterior(table, data.findings, data.present), data.label)
    assert abs(x.mean() - least_cost(table)) < 3 * x.std() / 4000**0.5
    gone = [least_cost(table, missing=m) for m in (0.0, MISSING, 0.5, 1.0)]
    assert gone == sorted(gone) and gone[-1] < PRICE + 1e-9
    assert least_cost(table, missing=0.0) < least_cost(table, d=float("1e9"), missing=0.0)


def test_no_other_rule_on_the_findings_is_cheaper() -> None:
    """Every change of one decision raises the exact cost, or leaves it."""
    table = joint_table().reshape(3, -1)
    full = np.column_stack([COST, np.full(3, PRICE)])
    costs = full.T @ table
    best = costs.argmin(0)
    least = least_cost(joint_table(), missing=0.0)
    assert least == pytest.approx(costs[best, np.arange(27)].sum())
    for cell in range(27):
        for other in range(4):
            changed = best.copy()
            changed[cell] = other
            assert costs[changed, np.arange(27)].sum() >= least - 1e-12


def test_nurses_choose_as_bradley_and_terry_say() -> None:
    """Checks id:lesser-mistake: the share of choices, counted, and the costs that come back."""
    said = list(MISTAKES.values())
    nurse = Nurse(COST, PRICE, seed=0)
    pair = [said[2], said[1]]  # cost 5 and 2
    assert abs(np.mean([nurse(pair) for _ in range(4000)]) - 5 / 7) < 0.03
    sure = preference_probability(-torch.tensor(2.0).log(), -torch.tensor(5.0).log())
    assert float(sure) == pytest.approx(5 / 7)
    records = [r for i in range(150) for r in compare_mistakes(Nurse(COST, PRICE, i)).records]
    C, d = learned_costs(worse_counts(records))
    right = COST > 0
    np.testing.assert_allclose(np.log(C[right] / (COST[right] / PRICE)), 0, atol=0.35)
    assert d == 1 and (C[~right] == 0).all()
    with pytest.raises(ValueError, match="expected a cost above 0"):
        Nurse(0 * COST, PRICE)


def test_pairs_of_mistakes_are_asked_once_and_ties_count_half(tmp_path) -> None:
    asked = compare_mistakes(path=tmp_path / "a.jsonl")
    assert len(asked.items) == 21 and asked.live and not asked.records
    assert len({frozenset(item["responses"]) for item in asked.items}) == 21
    record = {"responses": list(MISTAKES.values())[:2], "outcome": "label", "choice": 1}
    tie, skip = {**record, "outcome": "tie"}, {**record, "outcome": "skip"}
    W = worse_counts([record, tie, skip])  # the second was chosen, so the first is worse
    assert W[0, 1] == 1.5 and W[1, 0] == 0.5 and W.sum() == 2
    with pytest.raises(ValueError, match="expected pairs of MISTAKES"):
        worse_counts([record, {**record, "responses": ["a sun", "a tree"]}])


def test_a_model_learns_and_sees_only_what_is_there() -> None:
    data = sample_cases(400, 0)
    model = build_triage("early", 0, width=16)
    losses = fit(model, data, 0, Schedule(steps=30, lr=4e-3, warmup=3), drop=MISSING)
    assert np.mean(losses[-5:]) < losses[0]
    z = logits(model, data)
    assert z.shape == (400, 3) and np.isfinite(z).all()
    other = data.shuffled("pulse", 0)
    hidden = data.present[:, 1] == 0
    np.testing.assert_allclose(logits(model, other)[hidden], z[hidden], atol=1e-5)


def test_the_softmax_temperature_that_was_put_in_is_found() -> None:
    rng = np.random.default_rng(0)
    z = rng.normal(0, 2, (20000, 3))
    label = (z + rng.gumbel(size=z.shape)).argmax(1)
    assert abs(fit_softmax_temperature(2.5 * z, label) - 2.5) < 0.1
    with pytest.raises(ValueError, match="label: expected one for each row"):
        fit_softmax_temperature(z, label[:5])
