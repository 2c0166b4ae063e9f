"""The equations of Bellman: what a state or an action is worth, when the tables of the world are known.

P (S, A, S) holds transition probabilities, r (S, A) mean rewards, pi (S, A) a policy. A row of P may sum to
less than one: what is missing leaves and earns nothing more. The rows of states that end an episode are 0.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ._arguments import Number, check_range, check_shapes, widen
from .optimum import kl_regularised_optimum


def _check(P: Tensor, gamma: float, actions: Tensor, states: Tensor | None = None) -> None:
    """Raise ValueError unless `actions` (S, A) and `states` (S,) fit P and gamma is in [0, 1]."""
    check_shapes(**{"P[:, :, 0]": P[:, :, 0], "r or pi": actions})
    check_shapes(**{"P[0, 0]": P[0, 0], "V or d_0": P[0, 0] if states is None else states})
    check_range("gamma", gamma, 0, 1, open_low=False)


def action_value(P: Tensor, r: Tensor, V: Tensor, gamma: float) -> Tensor:
    """Value Q (S, A) of each action, where states that follow are worth V (S,).

    Implements {eq}`eq:action-value`. Raises ValueError for shapes that do not fit or gamma outside [0, 1].
    """
    _check(P, gamma, r, V)
    return widen(r) + gamma * widen(P) @ widen(V)


def bellman_expectation(P: Tensor, r: Tensor, pi: Tensor, V: Tensor, gamma: float) -> Tensor:
    """One backup (S,) of the values V (S,) under a policy: its fixed point is what the policy is worth.

    Implements {eq}`eq:bellman-expectation`. Raises ValueError as `action_value` does.
    """
    _check(P, gamma, pi)
    return (widen(pi) * action_value(P, r, V, gamma)).sum(-1)


def bellman_optimality(P: Tensor, r: Tensor, V: Tensor, gamma: float) -> Tensor:
    """One backup (S,) of the values V (S,) under the best action: its fixed point is the best there is.

    Implements {eq}`eq:bellman-optimality`. Raises ValueError as `action_value` does.
    """
    return action_value(P, r, V, gamma).amax(-1)


def policy_value(P: Tensor, r: Tensor, pi: Tensor, gamma: float) -> Tensor:
    """Exact value (S,) of a policy, solved as linear equations; differentiable in pi.

    Implements {eq}`eq:policy-value`. Raises ValueError as `action_value` does, and with gamma = 1 where the
    policy need never end.
    """
    _check(P, gamma, pi)
    return torch.linalg.solve(_leaving(P, pi, gamma), (widen(pi) * widen(r)).sum(-1))


def occupancy(P: Tensor, pi: Tensor, d_0: Tensor, gamma: float) -> Tensor:
    """Discounted number of times (S, A) that each action is taken in each state, from first states d_0 (S,).

    Implements {eq}`eq:occupancy`. Raises ValueError as `policy_value` does.
    """
    _check(P, gamma, pi, d_0)
    return torch.linalg.solve(_leaving(P, pi, gamma).T, widen(d_0))[:, None] * widen(pi)


def _leaving(P: Tensor, pi: Tensor, gamma: float) -> Tensor:
    """The matrix I - gamma P_pi (S, S); raises ValueError where it has no inverse."""
    P_pi = torch.einsum("sa,sat->st", widen(pi), widen(P))
    if gamma == 1 and (torch.linalg.matrix_power(P_pi.detach(), 2**20).sum(-1) > 0.5).any():
        raise ValueError("gamma: expected < 1 for a policy that need not end, got 1: its return has no limit")
    return torch.eye(len(P), dtype=P_pi.dtype) - gamma * P_pi


def soft_value(Q: Tensor, log_p_ref: Tensor, beta: Number) -> Tensor:
    """Best value (...) of acting once when leaving the reference costs beta a nat; Q and log_p_ref (..., A).

    Implements {eq}`eq:soft-value`. Raises ValueError for differing shapes or beta <= 0.
    """
    check_shapes(Q=Q, log_p_ref=log_p_ref)
    check_range("beta", beta, 0)
    return beta * torch.logsumexp(widen(log_p_ref) + widen(Q) / beta, dim=-1)


def soft_policy(Q: Tensor, log_p_ref: Tensor, beta: Number) -> Tensor:
    """Log-probabilities (..., A) of the policy that attains the soft value.

    Implements {eq}`eq:soft-policy`. Raises ValueError as `soft_value` does.
    """
    return kl_regularised_optimum(log_p_ref, Q, beta)


def option_model(P: Tensor, r: Tensor, pi: Tensor, stop: Tensor, gamma: float) -> tuple[Tensor, Tensor]:
    """What an option earns (S,) before it ends, and where it ends (S, S), both discounted to its start.

    Implements {eq}`eq:option-model`. The option acts by pi (S, A) and ends on arrival in a state with
    probability stop (S,). Raises ValueError as `policy_value` does. Source: Sutton, Precup and Singh 1999.
    """
    _check(P, gamma, pi, stop)
    on = widen(P) * (1 - widen(stop))
    arrive = torch.einsum("sa,sat->st", widen(pi), widen(P)) * stop
    leaving = _leaving(on, pi, gamma)
    return torch.linalg.solve(leaving, (widen(pi) * widen(r)).sum(-1)), torch.linalg.solve(
        leaving, gamma * arrive
    )
