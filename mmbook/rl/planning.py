"""Planning: the exact values and the best policies of a decision process whose tables are known."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from mmbook.equations import action_value, bellman_optimality, policy_value, soft_value
from mmbook.world.mdp import MDP

TIE = 1e-11  # actions whose values differ by a smaller share are equally good: rounding decides nothing


class Plan(NamedTuple):
    """The best values V (S,) and Q (S, A), and the values (n, S) after each sweep or policy on the way."""

    V: Tensor
    Q: Tensor
    sweeps: Tensor


def tables(mdp: MDP) -> tuple[Tensor, Tensor, Tensor]:
    """P (S, A, S), r (S, A) and d_0 (S,) in float64; where an episode has ended P is 0."""
    P, r, d_0 = (torch.tensor(x, dtype=torch.float64) for x in (mdp.P, mdp.r, mdp.d_0))
    P[torch.tensor(mdp.terminal)] = 0
    return P, r, d_0


def _tie(Q: Tensor) -> float:
    return TIE * max(1.0, Q.abs().max().item())


def greedy(Q: Tensor) -> Tensor:
    """The policy (S, A) that takes the best action, the first of them where several are equally good."""
    best = (Q.amax(-1, keepdim=True) - _tie(Q) <= Q).float().argmax(-1)  # argmax takes the first
    return torch.nn.functional.one_hot(best, Q.shape[-1]).to(Q.dtype)


def evaluate_policy(mdp: MDP, pi: Tensor | np.ndarray, gamma: float) -> Tensor:
    """Exact values V (S,) of a policy pi (S, A), an array or a tensor.

    Raises ValueError for rows that are no probabilities, and as `policy_value` does.
    """
    P, r, _ = tables(mdp)
    pi = torch.as_tensor(pi).to(P)
    wrong = ((pi < 0).any(-1) | ((pi.sum(-1) - 1).abs() > 1e-4)).nonzero().flatten().tolist()
    if wrong:
        raise ValueError(f"pi: expected probabilities that sum to 1 in each row, not so in {wrong[:5]}")
    return policy_value(P, r, pi, gamma)


def value_iteration(mdp: MDP, gamma: float, tol: float = 1e-12) -> Plan:
    """Back up until no value changes by more than tol; the error is then at most tol gamma / (1 - gamma).

    Raises ValueError when 30,000 sweeps are not enough, as where gamma = 1 and rewards never end.
    """
    P, r, _ = tables(mdp)
    sweeps = iterate(lambda V: bellman_optimality(P, r, V, gamma), len(P), tol)
    return Plan(sweeps[-1], action_value(P, r, sweeps[-1], gamma), sweeps)


def soft_value_iteration(mdp: MDP, gamma: float, beta: float, log_p_ref: Tensor, tol: float = 1e-12) -> Plan:
    """Value iteration where leaving the reference log_p_ref (S, A) costs beta a nat; `soft_policy` acts on Q.

    Raises ValueError as `value_iteration` does.
    """
    P, r, _ = tables(mdp)
    live = torch.tensor(~mdp.terminal)
    sweeps = iterate(lambda V: live * soft_value(action_value(P, r, V, gamma), log_p_ref, beta), len(P), tol)
    return Plan(sweeps[-1], action_value(P, r, sweeps[-1], gamma), sweeps)


def iterate(backup: Callable[[Tensor], Tensor], states: int, tol: float) -> Tensor:
    """All values (n, S) from zero on, up to the first that change by no more than tol."""
    sweeps = [torch.zeros(states, dtype=torch.float64)]
    for _ in range(30_000):
        sweeps.append(backup(sweeps[-1]))
        if (sweeps[-1] - sweeps[-2]).abs().max() <= tol:
            return torch.stack(sweeps)
    raise ValueError("gamma: expected a discount at which values settle, but 30,000 sweeps were not enough")


def policy_iteration(mdp: MDP, gamma: float) -> Plan:
    """Evaluate a policy, take its best actions, and again, until no action is better; starts uniform."""
    P, r, _ = tables(mdp)
    pi = torch.full_like(r, 1 / r.shape[1])
    values: list[Tensor] = []
    while True:
        values.append(policy_value(P, r, pi, gamma))
        Q = action_value(P, r, values[-1], gamma)
        # A deterministic policy keeps its actions unless others are better, or ties would never settle.
        better = (Q.amax(-1) > (pi * Q).sum(-1) + _tie(Q)) | (pi.amax(-1) < 1)
        if not better.any():
            return Plan(values[-1], Q, torch.stack(values))
        pi = torch.where(better[:, None], greedy(Q), pi)


def performance(mdp: MDP, pi: Tensor | np.ndarray, gamma: float) -> float:
    """What a policy earns on average from the first states on, discounted."""
    return float(tables(mdp)[2] @ evaluate_policy(mdp, pi, gamma))


@lru_cache(maxsize=32)
def best_performance(mdp: MDP, gamma: float) -> float:
    """What the best policy earns."""
    return float(tables(mdp)[2] @ policy_iteration(mdp, gamma).V)


def regret(mdp: MDP, pi: Tensor | np.ndarray, gamma: float) -> float:
    """How much less than the best a policy earns."""
    return best_performance(mdp, gamma) - performance(mdp, pi, gamma)
