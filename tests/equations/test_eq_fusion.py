"""Fusion: each equation against a slow or different evaluation, and what additive scores cannot do."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.optimize import linprog
from torch import Tensor

from mmbook.equations import (
    additive_accuracy,
    attention,
    bayes_accuracy,
    bilinear_fusion,
    gated_fusion,
    gated_residual,
    information,
    weighted_average,
)
from mmbook.world.sentiment import SETTINGS, Dials, joint_table

F64 = torch.float64
SUBSETS = [A for k in range(4) for A in itertools.combinations(range(3), k)]


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


def table(dials: Dials) -> Tensor:
    return torch.from_numpy(joint_table(dials))


@pytest.mark.parametrize("setting", SETTINGS)
def test_the_ceiling_is_what_counting_samples_gives(setting: str) -> None:
    """Brute force: draw a million, count labels for what is seen, answer the more frequent one."""
    p, rng = joint_table(SETTINGS[setting]), np.random.default_rng(0)
    y, *x = np.unravel_index(rng.choice(16, 1_000_000, p=p.ravel()), p.shape)
    for A in SUBSETS:
        seen = sum((x[i] << j for j, i in enumerate(A)), np.zeros_like(y))
        positive = np.bincount(seen, y, 8) > np.bincount(seen, 1 - y, 8)
        got = bayes_accuracy(torch.from_numpy(p), A).item()
        assert got == pytest.approx((positive[seen] == y).mean(), abs=0.002), A


def test_ceilings_that_can_be_computed_by_hand() -> None:
    p = table(SETTINGS["redundant"])
    assert bayes_accuracy(p, [0]).item() == pytest.approx(0.8)
    assert bayes_accuracy(p, [0, 1, 2]).item() == pytest.approx(0.8**3 + 3 * 0.8**2 * 0.2)  # a majority
    p = table(SETTINGS["synergistic"])
    assert [bayes_accuracy(p, A).item() for A in ((), (1,), (2,), (0, 1), (1, 2))] == pytest.approx(
        [0.5, 0.5, 0.5, 0.5, 0.95]
    )


def test_information_equals_a_loop_and_knows_its_ends() -> None:
    p = table(SETTINGS["mixed"])
    slow, seen = 0.0, p.sum(1)
    for y, v, w in np.ndindex(2, 2, 2):
        slow += seen[y, v, w] * math.log2(seen[y, v, w] / (seen[y].sum() * seen[:, v, w].sum()))
    assert information(p, [1, 2]).item() == pytest.approx(float(slow), abs=1e-12)
    assert information(p, []).item() == pytest.approx(0, abs=1e-12)
    p = table(SETTINGS["synergistic"])
    entropy = -(0.95 * math.log2(0.95) + 0.05 * math.log2(0.05))
    assert information(p, [2]).item() == pytest.approx(0, abs=1e-12)
    assert information(p, [1, 2]).item() == pytest.approx(1 - entropy)


def separable(labels: tuple[int, ...]) -> bool:
    """Is there an additive score with these signs on the eight cells? A linear program knows."""
    x = np.array(list(itertools.product((0, 1), repeat=3)))
    sign = np.where(labels, 1, -1)[:, None]
    rows = -sign * np.hstack([x, np.ones((8, 1))])
    return linprog(np.zeros(4), rows, -np.ones(8), bounds=[(None, None)] * 4).status == 0


def test_the_best_additive_rule_is_that_of_a_linear_program_over_all_rules() -> None:
    labellings = [c for c in itertools.product((0, 1), repeat=8) if separable(c)]
    assert len(labellings) == 104  # the threshold functions of three variables, a known number
    rng = np.random.default_rng(0)
    tables = [joint_table(dials) for dials in SETTINGS.values()]
    tables += [rng.dirichlet(np.full(16, 0.5)).reshape(2, 2, 2, 2) for _ in range(20)]
    for p in tables:
        best = max(sum(p.reshape(2, 8)[c, i] for i, c in enumerate(cells)) for cells in labellings)
        assert additive_accuracy(torch.from_numpy(p)).item() == pytest.approx(best, abs=1e-12)


def test_synergy_costs_an_additive_rule_one_cell_in_four() -> None:
    p = table(SETTINGS["synergistic"])
    assert additive_accuracy(p).item() == pytest.approx(0.75 * 0.95 + 0.25 * 0.05)
    assert additive_accuracy(p.sum(1)).item() == pytest.approx(0.725)
    for name in ("redundant", "unique"):
        p = table(SETTINGS[name])
        assert additive_accuracy(p).item() == pytest.approx(bayes_accuracy(p, [0, 1, 2]).item())


def test_additive_scores_on_a_square() -> None:
    """Checks id:square: for scores that add up, both diagonals of the square have the same sum."""
    f, g = random(50, 2), random(50, 2, seed=1)
    s = f[:, :, None] + g[:, None, :]
    assert torch.allclose(s[:, 0, 0] + s[:, 1, 1], s[:, 0, 1] + s[:, 1, 0])
    signs = {tuple(map(bool, row)) for row in (s > 0).flatten(1).tolist()}
    assert (True, False, False, True) not in signs and (False, True, True, False) not in signs


def test_one_query_is_additive_in_sign() -> None:
    """Checks id:one-query: a linear head on what one query reads, times the sum of weights, adds up."""
    q, c, bias = random(1, 4), random(4, seed=1), 0.3
    keys, values = random(2, 3, 4, seed=2), random(2, 3, 4, seed=3)  # (symbol, modality, D)
    modality = torch.arange(3)
    for x in itertools.product((0, 1), repeat=3):
        k, v = keys[list(x), modality], values[list(x), modality]
        left = (attention(q, k, v, torch.ones(3))[0] @ c + bias) * torch.exp(k @ q[0] / 2).sum()
        right = sum(torch.exp(k[i] @ q[0] / 2) * (v[i] @ c + bias) for i in range(3))
        assert left.item() == pytest.approx(right.item(), abs=1e-12)


def test_late_fusion_is_exact_when_modalities_are_independent_given_the_label() -> None:
    """Checks id:late-is-bayes: the sum of the experts' log-odds is the log-odds of all, for even labels."""
    p = table(SETTINGS["redundant"])
    experts = [p.sum([1 + j for j in range(3) if j != i]) for i in range(3)]
    odds = [torch.log(e[1] / e[0]) for e in experts]
    for x in itertools.product((0, 1), repeat=3):
        both = torch.log(p[(1, *x)] / p[(0, *x)])
        assert both.item() == pytest.approx(sum(odds[i][x[i]].item() for i in range(3)))
    p = table(SETTINGS["mixed"])  # a control: not independent, not the sum
    odds = [torch.log(e[1] / e[0]) for e in (p.sum([1 + j for j in range(3) if j != i]) for i in range(3))]
    assert torch.log(p[1, 1, 0, 1] / p[0, 1, 0, 1]).item() != pytest.approx(
        (odds[0][1] + odds[1][0] + odds[2][1]).item(), abs=0.1
    )


H, M = random(5, 3, 4), torch.tensor([[1, 1, 1], [1, 0, 0], [0, 1, 1], [1, 0, 1], [0, 0, 1]])


def test_averages_gates_and_products_equal_slow_loops() -> None:
    a, g = random(3, seed=1), random(5, 3, 4, seed=2)
    for b in range(5):
        there = [i for i in range(3) if M[b, i]]
        total = sum(math.exp(a[i]) for i in there)
        mean = sum(math.exp(a[i]) / total * H[b, i] for i in there)
        assert torch.allclose(weighted_average(H, a, M)[b], mean)
        for d in range(4):
            total = sum(math.exp(g[b, i, d]) for i in there)
            gated = sum(math.exp(g[b, i, d]) / total * math.tanh(H[b, i, d]) for i in there)
            assert gated_fusion(H, g, M)[b, d].item() == pytest.approx(gated)
            assert bilinear_fusion(H, M)[b, d].item() == pytest.approx(
                math.prod(1 + H[b, i, d].item() for i in there)
            )
    assert torch.allclose(weighted_average(H, torch.zeros(3), torch.ones(5, 3)), H.mean(1))


def test_a_product_of_three_holds_every_interaction() -> None:
    f, v, w = H[0]
    full = 1 + f + v + w + f * v + f * w + v * w + f * v * w
    assert torch.allclose(bilinear_fusion(H[:1], M[:1])[0], full)


def test_attention_equals_pytorchs_and_reads_nothing_from_nothing() -> None:
    q, k, v = random(5, 2, 4, seed=1), random(5, 3, 4, seed=2), random(5, 3, 4, seed=3)
    there = M.bool()[:, None].expand(5, 2, 3)
    right = torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=there)
    assert torch.allclose(attention(q, k, v, M), right)
    assert attention(q, k, v, torch.zeros(5, 3)).abs().max() == 0


@pytest.mark.parametrize("how", ["average", "gates", "product", "attention"])
def test_nan_in_what_is_missing_touches_neither_value_nor_gradient(how: str) -> None:
    fuse = {
        "average": lambda h: weighted_average(h, torch.zeros(3), M),
        "gates": lambda h: gated_fusion(h, h * 2, M),
        "product": lambda h: bilinear_fusion(h, M),
        "attention": lambda h: attention(torch.ones(5, 1, 4, dtype=F64), h, h, M),
    }[how]
    found = []
    for fill in (7.0, float("nan")):
        h = H.masked_fill(M[..., None] == 0, fill).requires_grad_()
        out = fuse(h)
        out.sum().backward()
        found.append((out.detach(), h.grad.masked_fill(M[..., None] == 0, 0)))
        assert (h.grad[M == 0] == 0).all()
    assert torch.equal(found[0][0], found[1][0]) and torch.equal(found[0][1], found[1][1])


def test_a_shut_gate_lets_nothing_through() -> None:
    x, u = random(3, 4), random(3, 4, seed=1)
    assert torch.equal(gated_residual(x, 0.0, u), x)
    assert torch.allclose(gated_residual(x, torch.tensor(0.5), u), x + math.tanh(0.5) * u)


def test_bad_input_is_named() -> None:
    p = table(SETTINGS["mixed"])
    with pytest.raises(ValueError, match=r"A: expected different modalities from 0 to 2, got \[0, 3\]"):
        bayes_accuracy(p, [0, 3])
    with pytest.raises(ValueError, match="add up to 1, got a sum of 2"):
        information(2 * p, [0])
    for wrong in (2 * p, torch.nan * p, -p):
        with pytest.raises(ValueError, match="p: expected probabilities"):
            additive_accuracy(wrong)
    with pytest.raises(ValueError, match=r"p: expected shape .* got \(2, 3\)"):
        additive_accuracy(torch.ones(2, 3) / 6)
    for fuse in (
        lambda m: weighted_average(H, torch.zeros(3), m),
        lambda m: gated_fusion(H, H, m),
        lambda m: bilinear_fusion(H, m),
    ):
        with pytest.raises(ValueError, match=r"m: expected shape \(5, 3\), .* got \(5, 2\)"):
            fuse(M[:, :2])
        with pytest.raises(ValueError, match=r"m: expected at least one modality .* row\(s\) \[2\]"):
            fuse(M * torch.tensor([1, 1, 0, 1, 1])[:, None])
    with pytest.raises(ValueError, match=r"a: expected a number for each of 3 modalities, got \(2,\)"):
        weighted_average(H, torch.zeros(2), M)
    with pytest.raises(ValueError, match=r"g: expected shape \(5, 3, 4\) like h"):
        gated_fusion(H, H[..., :2], M)
