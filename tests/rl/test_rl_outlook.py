"""Options, shaping and games: exact answers, and learners that reach them or are meant not to."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mmbook.equations import exploitability
from mmbook.rl import (
    evaluate_policy,
    greedy,
    nash,
    play,
    policy_iteration,
    value_iteration,
    value_iteration_with_options,
    way_to,
)
from mmbook.world.gridworld import gridworld

F64 = torch.float64
ROCK = torch.tensor([[0, -1, 1], [1, 0, -1], [-1, 1, 0]], dtype=F64)


def test_a_way_ends_where_it_should_and_is_the_shortest_on_a_dry_floor() -> None:
    world = gridworld("rooms", slip=0.0)
    door = world.cells.tolist().index([2, 3])
    way, s, steps = way_to(world, door, 0.9), int(world.d_0.argmax()), 0
    while s != door:
        s, steps = int(world.P[s, int(way.pi[s].argmax())].argmax()), steps + 1
        assert steps <= 5
    assert steps == 5 and way.stop.nonzero().tolist() == [[door]]


def test_options_reach_the_same_values_in_fewer_sweeps() -> None:
    world, gamma = gridworld("rooms"), 0.95
    doors = [world.cells.tolist().index(cell) for cell in ([2, 3], [4, 2], [4, 6], [6, 3])]
    plan = value_iteration(world, gamma)
    jumps = value_iteration_with_options(world, [way_to(world, d, gamma) for d in doors], gamma)
    assert torch.allclose(jumps.V, plan.V, atol=1e-10)
    late = [int(((p.sweeps - plan.V).abs().amax(1) > 0.1).sum()) for p in (plan, jumps)]
    assert late[1] < 0.7 * late[0]


def test_a_potential_changes_values_and_no_choice() -> None:
    """Checks id:potential-shaping: Q less the potential, for random potentials in a random world."""
    world, gamma = gridworld("bridge"), 0.9
    best = policy_iteration(world, gamma)
    for seed in range(5):
        U = np.where(world.terminal, 0, np.random.default_rng(seed).normal(size=len(world.d_0)))
        R = world.R + gamma * U - U[:, None, None]
        shaped = policy_iteration(replace(world, R=R * ~world.terminal[:, None, None]), gamma)
        live = torch.tensor(~world.terminal)
        assert torch.allclose((best.Q - torch.tensor(U)[:, None])[live], shaped.Q[live], atol=1e-10)
        assert torch.allclose(evaluate_policy(world, greedy(shaped.Q), gamma), best.V, atol=1e-10)


def test_an_equilibrium_is_found_also_where_the_numbers_of_actions_differ() -> None:
    A = torch.rand(3, 5, generator=torch.Generator().manual_seed(0), dtype=F64)
    x, v = nash(A)
    y, w = nash(-A.T)
    assert x.sum() == pytest.approx(1) and v == pytest.approx(-w, abs=1e-9)
    assert exploitability(A, x, y).abs() < 1e-9
    assert nash(ROCK)[0].tolist() == pytest.approx([1 / 3] * 3)


def test_gradients_spiral_outwards_and_the_mean_of_regret_matching_settles() -> None:
    x, y = play(ROCK, 2000, lr=0.2, seed=1)
    assert exploitability(ROCK, x[-1], y[-1]) > 1.5 * exploitability(ROCK, x[0], y[0])
    x, y = play(ROCK, 2000)
    assert exploitability(ROCK, x.mean(0), y.mean(0)) < 0.1 < exploitability(ROCK, x[-1], y[-1])
    assert torch.equal(x, play(ROCK, 2000)[0])
