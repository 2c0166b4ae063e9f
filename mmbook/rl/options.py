"""Options: policies that run until they end, as actions of a plan that looks further ahead."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from mmbook.equations import action_value, bellman_optimality, option_model
from mmbook.rl.planning import Plan, greedy, iterate, tables
from mmbook.world.mdp import MDP


class Option(NamedTuple):
    """A policy pi (S, A) that ends on arrival in a state with probability stop (S,)."""

    pi: Tensor
    stop: Tensor


def way_to(mdp: MDP, s: int, gamma: float) -> Option:
    """The option that goes to state s as fast as it can and ends there; what it is paid does not matter."""
    P, _, _ = tables(mdp)
    arrival = P[:, :, s].clone()
    arrival[s], P[s] = 0, 0
    V = iterate(lambda V: bellman_optimality(P, arrival, V, gamma), len(P), 1e-12)[-1]
    return Option(greedy(action_value(P, arrival, V, gamma)), (torch.arange(len(P)) == s).to(V))


def value_iteration_with_options(
    mdp: MDP, options: Sequence[Option], gamma: float, tol: float = 1e-12
) -> Plan:
    """Value iteration where each state also offers all options; Q (S, A + options).

    Raises ValueError as `value_iteration` does. Source: Sutton, Precup and Singh 1999.
    """
    P, r, _ = tables(mdp)
    earned, ends = zip(*(option_model(P, r, o.pi, o.stop, gamma) for o in options), strict=True)
    r, P = torch.cat([r, torch.stack(earned, 1)], 1), torch.cat([gamma * P, torch.stack(ends, 1)], 1)
    sweeps = iterate(lambda V: bellman_optimality(P, r, V, 1.0), len(P), tol)  # P is discounted already
    return Plan(sweeps[-1], action_value(P, r, sweeps[-1], 1.0), sweeps)
