"""The equations of the contrastive chapter against slow loops, closed forms and enumeration."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from mmbook.equations import (
    alignment,
    clip_loss,
    info_nce,
    information,
    modality_gap,
    recall_at,
    similarity,
    uniformity,
)

F64 = torch.float64


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


def unit(x: Tensor) -> list[float]:
    return [value / math.sqrt(sum(v * v for v in x.tolist())) for value in x.tolist()]


def test_scores_are_cosines_over_the_temperature() -> None:
    u, v = random(4, 3), random(5, 3, seed=1)
    s = similarity(u, v, 0.1)
    for i, j in itertools.product(range(4), range(5)):
        angle = math.acos(sum(a * b for a, b in zip(unit(u[i]), unit(v[j]), strict=True)))
        assert s[i, j].item() == pytest.approx(math.cos(angle) / 0.1)
    assert torch.allclose(similarity(7 * u, 0.2 * v), s / 10)  # lengths do not matter
    assert similarity(u.half(), v.half()).dtype == torch.float32


def test_info_nce_equals_a_slow_loop() -> None:
    s, y = random(4, 6) * 3, torch.tensor([2, 0, 5, 5])
    slow = -sum(math.log(math.exp(s[i, y[i]]) / sum(math.exp(x) for x in s[i])) for i in range(4)) / 4
    assert info_nce(s, y).item() == pytest.approx(slow)
    assert info_nce(torch.zeros(3, 8), torch.zeros(3, dtype=torch.long)).item() == pytest.approx(math.log(8))


def test_the_loss_of_clip_looks_both_ways() -> None:
    s = random(5, 5) * 2
    m = (torch.rand(5, 5, generator=torch.Generator().manual_seed(2)) < 0.6).to(F64)
    for mask in (None, m):
        total = 0.0
        for a in (s, s.T):
            for i in range(5):
                b = torch.ones(5, 5) if mask is None else mask if a is s else mask.T
                others = sum(math.exp(a[i, j]) for j in range(5) if j == i or b[i, j])
                total += math.log(others) - a[i, i].item()
        assert clip_loss(s, mask).item() == pytest.approx(total / 10)
    assert clip_loss(s, torch.eye(5)).item() == pytest.approx(0)  # nothing left to be told apart from


def test_gradient_of_the_loss() -> None:
    """Checks id:nce-gradient: what is too likely is pushed, the partner is pulled by all of them."""
    s = (random(6, 6) * 2).requires_grad_()
    (gradient,) = torch.autograd.grad(clip_loss(s), s)
    rows, columns = (torch.exp(s) / torch.exp(s).sum(axis, keepdim=True) for axis in (1, 0))
    assert torch.allclose(gradient, (rows + columns - 2 * torch.eye(6)) / 12)
    assert gradient.sum().item() == pytest.approx(0, abs=1e-12)  # what is pulled is what is pushed


JOINT = torch.tensor([[0.25, 0.05, 0.02], [0.03, 0.2, 0.1], [0.05, 0.05, 0.25]], dtype=F64)


def posterior(u: int, candidates: tuple[int, ...]) -> Tensor:
    """By Bayes' rule, without dividing by p(v): which of the candidates came with u?"""
    p_v = JOINT.sum(0)
    given = JOINT[u] / JOINT[u].sum()
    worlds = [
        given[c] * math.prod(p_v[d].item() for j, d in enumerate(candidates) if j != i)
        for i, c in enumerate(candidates)
    ]
    return torch.stack(worlds) / sum(worlds)


def test_the_best_scores_are_log_ratios() -> None:
    """Checks id:nce-posterior: the softmax of log p(v|u)/p(v) is the probability of being the partner."""
    ratio = torch.log(JOINT / JOINT.sum(1, keepdim=True) / JOINT.sum(0))
    for u, *candidates in itertools.product(range(3), repeat=5):
        right = posterior(u, tuple(candidates))
        assert torch.allclose(torch.softmax(ratio[u, candidates], 0), right)
        shifted = ratio[u, candidates] + 1.7  # a constant for u changes nothing
        assert torch.allclose(torch.softmax(shifted, 0), right)


def expected_loss(s: Tensor, K: int) -> float:
    """The mean of InfoNCE over every draw of a pair and K - 1 more texts."""
    p_v, total = JOINT.sum(0), 0.0
    for u, *v in itertools.product(range(3), repeat=K + 1):
        weight = JOINT[u, v[0]] * math.prod(p_v[j].item() for j in v[1:])
        total += weight.item() * info_nce(s[u, v][None], torch.tensor([0])).item()
    return total


def test_loss_and_information() -> None:
    """Checks id:nce-bound: log K less the loss is never more than the information that the two share."""
    known = information(JOINT, [0]).item() * math.log(2)  # nats
    best = torch.log(JOINT / JOINT.sum(1, keepdim=True) / JOINT.sum(0))
    bounds = [math.log(K) - expected_loss(best, K) for K in (2, 3, 5)]
    assert bounds == sorted(bounds) and bounds[0] > 0 and bounds[-1] < known
    for seed in range(20):
        s = best + random(3, 3, seed=seed)
        assert math.log(3) - expected_loss(s, 3) < bounds[1]  # other scores say less


def test_recall_equals_sorting_and_gives_nothing_for_ties() -> None:
    s, y = random(40, 9), torch.arange(40) % 9
    for k in (1, 3, 9):
        slow = sum(int(y[i]) in s[i].argsort(descending=True)[:k].tolist() for i in range(40)) / 40
        assert recall_at(s, y, k).item() == pytest.approx(slow)
    same = torch.zeros(10, 10)
    assert (
        recall_at(same, torch.arange(10), 1).item() == 0 and recall_at(same, torch.arange(10), 5).item() == 1
    )


def test_alignment_uniformity_and_gap() -> None:
    u, v = random(6, 3), random(6, 3, seed=1)
    a, b = ([unit(row) for row in x] for x in (u, v))
    slow = sum(math.dist(p, q) ** 2 for p, q in zip(a, b, strict=True)) / 6
    assert alignment(u, v).item() == pytest.approx(slow)
    pairs = [math.exp(-2 * math.dist(p, q) ** 2) for p, q in itertools.combinations(a, 2)]
    assert uniformity(u).item() == pytest.approx(math.log(sum(pairs) / 15))
    means = [[sum(row[d] for row in x) / 6 for d in range(3)] for x in (a, b)]
    assert modality_gap(u, v).item() == pytest.approx(math.dist(*means))
    assert alignment(u, 3 * u).item() == pytest.approx(0) and modality_gap(u, u[:, [0, 1, 2]]).item() == 0
    assert alignment(u, -u).item() == pytest.approx(4)
    assert uniformity(torch.ones(5, 2)).item() == pytest.approx(0)
    assert uniformity(torch.tensor([[1.0, 0], [-1, 0]])).item() == pytest.approx(-8)


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(ValueError, match=r"as many pictures as texts, got shape \(3, 4\)"):
        clip_loss(torch.zeros(3, 4))
    with pytest.raises(ValueError, match=r"s, y: expected .* got \(3, 4\), \[0, 1, 4\]"):
        info_nce(torch.zeros(3, 4), torch.tensor([0, 1, 4]))
    with pytest.raises(ValueError, match=r"s, y: expected"):
        recall_at(torch.zeros(3, 4), torch.tensor([0, 1]), 1)
    with pytest.raises(ValueError, match=r"s, y: expected .* got \(0, 0\), \[\]"):
        clip_loss(torch.zeros(0, 0))
    with pytest.raises(ValueError, match="s: expected numbers, got NaN"):
        recall_at(torch.full((2, 3), torch.nan), torch.tensor([0, 1]), 1)
    with pytest.raises(ValueError, match="k: expected a number >= 1, got 0"):
        recall_at(torch.zeros(3, 4), torch.tensor([0, 1, 2]), 0)
    with pytest.raises(ValueError, match=r"u, v: expected .* got \(1, 2\) and \(1, 3\)"):
        similarity(torch.ones(1, 2), torch.ones(1, 3))
    with pytest.raises(ValueError, match="tau: expected a number > 0, got 0"):
        similarity(torch.ones(1, 2), torch.ones(1, 2), 0)
    with pytest.raises(ValueError, match="u: expected at least two vectors"):
        uniformity(torch.ones(1, 2))
    with pytest.raises(ValueError, match="v: expected shape"):
        alignment(torch.ones(1, 2), torch.ones(2, 2))
    with pytest.raises(ValueError, match="m: expected shape"):
        clip_loss(torch.zeros(3, 3), torch.ones(2, 2))
