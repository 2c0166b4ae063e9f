"""Games, options and causes against slow sums, simulation and what is known by hand."""

import math
from itertools import product

import numpy as np
import pytest
import torch
from test_eq_bellman import process

from mmbook.equations import (
    back_door,
    bellman_optimality,
    exploitability,
    option_model,
    policy_value,
    regret_matching,
)

F64 = torch.float64
ROCK = torch.tensor([[0, -1, 1], [1, 0, -1], [-1, 1, 0]], dtype=F64)


def test_exploitability_is_what_two_best_answers_win() -> None:
    g = torch.Generator().manual_seed(0)
    A, x, y = (torch.rand(*n, generator=g, dtype=F64) for n in ((3, 4), (3,), (4,)))
    x, y = x / x.sum(), y / y.sum()
    rows = [math.fsum(A[i, j].item() * y[j].item() for j in range(4)) for i in range(3)]
    columns = [math.fsum(A[i, j].item() * x[i].item() for i in range(3)) for j in range(4)]
    assert exploitability(A, x, y).item() == pytest.approx(max(rows) - min(columns), abs=1e-14)
    even, rock = torch.full((3,), 1 / 3, dtype=F64), torch.tensor([1.0, 0, 0], dtype=F64)
    assert exploitability(ROCK, even, even).abs() < 1e-15 and exploitability(ROCK, rock, rock) == 2
    with pytest.raises(ValueError, match="y: expected shape"):
        exploitability(A, x, x)


def test_regrets_are_matched() -> None:
    R = torch.tensor([[3.0, -1.0, 1.0], [-1.0, -2.0, 0.0]])
    assert regret_matching(R).tolist() == [[0.75, 0, 0.25], pytest.approx([1 / 3] * 3)]


def test_an_option_is_what_its_simulation_earns_and_where_it_ends() -> None:
    P, r, pi, _ = process(2, S=4, ends=True)
    stop, gamma = torch.tensor([0.0, 0.3, 1.0, 0.0], dtype=F64), 0.9
    earned, ends = option_model(P, r, pi, stop, gamma)
    for s in range(4):
        here, total, ended = torch.eye(4, dtype=F64)[s], 0.0, torch.zeros(4, dtype=F64)
        for t in range(400):  # all that can happen, step by step
            total += gamma**t * (here[:, None] * pi * r).sum().item()
            arrived = torch.einsum("s,sa,sat->t", here, pi, P)
            ended += gamma ** (t + 1) * arrived * stop
            here = arrived * (1 - stop)
        assert earned[s].item() == pytest.approx(total, abs=1e-12)
        assert torch.allclose(ends[s], ended, atol=1e-12)
    never = option_model(P, r, pi, 0 * stop, gamma)
    assert torch.allclose(never[0], policy_value(P, r, pi, gamma)) and not never[1].any()


def test_options_beside_all_actions_leave_the_best_values() -> None:
    """Checks id:smdp-backup: the fixed point with and without options is the same."""
    for seed in range(5):
        P, r, pi, _ = process(seed, ends=True)
        stop, gamma = torch.rand(5, generator=torch.Generator().manual_seed(seed), dtype=F64), 0.9
        earned, ends = option_model(P, r, pi, stop, gamma)
        V, W = torch.zeros(2, 5, dtype=F64)
        for _ in range(400):
            V = bellman_optimality(P, r, V, gamma)
            W = torch.maximum(bellman_optimality(P, r, W, gamma), earned + ends @ W)
        assert torch.allclose(V, W, atol=1e-12)


def test_back_door_is_what_a_world_gives_in_which_x_is_set() -> None:
    rng = np.random.default_rng(0)
    p_z, p_x, p_y = rng.dirichlet(np.ones(3)), rng.dirichlet(np.ones(2), 3), rng.dirichlet(np.ones(4), (2, 3))
    p, done = torch.zeros(2, 3, 4, dtype=F64), torch.zeros(2, 4, dtype=F64)
    for x, z, y in product(range(2), range(3), range(4)):
        p[x, z, y] = p_z[z] * p_x[z, x] * p_y[x, z, y]
        done[x, y] += p_z[z] * p_y[x, z, y]
    assert torch.allclose(back_door(p), done, atol=1e-14)
    padded = torch.cat([p, torch.zeros(2, 1, 4, dtype=F64)], 1)  # a z that never occurs
    assert torch.allclose(back_door(padded), done, atol=1e-14)
    with pytest.raises(ValueError, match="adds up to 1"):
        back_door(2 * p)
    p[0, 1], p[1, 1] = 0, p[:, 1].sum(0)
    with pytest.raises(ValueError, match="never seen"):
        back_door(p)
