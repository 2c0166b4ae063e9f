"""What to learn from one step of experience, how to choose the next action, and how far to move."""

from __future__ import annotations

import torch
from torch import Tensor

from ._arguments import Number, check_range, check_shapes, widen


def _step_ahead(r: Tensor, V_next: Tensor, gamma: Number, ended: Tensor) -> Tensor:
    check_shapes(r=r, V_next=V_next, ended=ended)
    check_range("gamma", gamma, 0, 1, open_low=False)
    # Nothing follows an end, whatever the table holds there, even NaN.
    return widen(r) + gamma * widen(V_next).masked_fill(ended != 0, 0.0)


def td_error(r: Tensor, V: Tensor, V_next: Tensor, gamma: Number, ended: Tensor) -> Tensor:
    """Surprise of one step: reward plus discounted next value less the value before; all of one shape.

    Implements {eq}`eq:td-error`. Raises ValueError for differing shapes or gamma outside [0, 1]. Source:
    Sutton 1988.
    """
    check_shapes(r=r, V=V)
    return _step_ahead(r, V_next, gamma, ended) - widen(V)


def expected_sarsa_target(r: Tensor, Q_next: Tensor, pi_next: Tensor, gamma: Number, ended: Tensor) -> Tensor:
    """Reward (...) plus the discounted mean of Q_next under pi_next, both (..., A); one-hot pi_next: SARSA.

    Implements {eq}`eq:expected-sarsa`. Returns (...). Raises ValueError for differing shapes or gamma outside
    [0, 1]. Source: van Seijen et al. 2009.
    """
    check_shapes(Q_next=Q_next, pi_next=pi_next)
    return _step_ahead(r, (widen(pi_next) * widen(Q_next)).sum(-1), gamma, ended)


def q_learning_target(r: Tensor, Q_next: Tensor, gamma: Number, ended: Tensor) -> Tensor:
    """Reward (...) plus the discounted best of Q_next (..., A).

    Implements {eq}`eq:q-learning`. Returns (...). Raises ValueError for differing shapes or gamma outside
    [0, 1]. Source: Watkins and Dayan 1992.
    """
    return _step_ahead(r, Q_next.amax(-1), gamma, ended)


def double_q_target(r: Tensor, Q_next: Tensor, Q_other: Tensor, gamma: Number, ended: Tensor) -> Tensor:
    """Reward (...) plus the discounted value that Q_other gives to the best action of Q_next, both (..., A).

    Implements {eq}`eq:double-q`. Both are taken at the next state. Returns (...). Raises ValueError for
    differing shapes or gamma outside [0, 1]. Source: van Hasselt 2010.
    """
    check_shapes(Q_next=Q_next, Q_other=Q_other)
    return _step_ahead(r, Q_other.gather(-1, Q_next.argmax(-1, keepdim=True)).squeeze(-1), gamma, ended)


def epsilon_greedy(Q: Tensor, eps: Number) -> Tensor:
    """Probabilities (..., A): eps shared by all actions, the rest by those with the highest Q (..., A).

    Implements {eq}`eq:epsilon-greedy`. Raises ValueError for eps outside [0, 1].
    """
    check_range("eps", eps, 0, 1, open_low=False)
    best = Q.eq(Q.amax(-1, keepdim=True)).to(widen(Q).dtype)
    return eps / Q.shape[-1] + (1 - eps) * best / best.sum(-1, keepdim=True)


def softmax_policy(Q: Tensor, tau: Number) -> Tensor:
    """Probabilities (..., A) that grow with Q (..., A): greedy for tau near 0, uniform for a large tau.

    Implements {eq}`eq:softmax-policy`. Raises ValueError for tau <= 0.
    """
    check_range("tau", tau, 0)
    return torch.softmax(widen(Q) / tau, dim=-1)


def step_size(n: Tensor, c: float, p: float) -> Tensor:
    """Step size after n earlier visits: 1 at first, halved to 2**-p at n = c; 1/2 < p <= 1 for Robbins-Monro.

    Implements {eq}`eq:step-size`. Returns the shape of n. Raises ValueError for c <= 0 or p outside [0, 1].
    """
    check_range("c", c, 0)
    check_range("p", p, 0, 1, open_low=False)
    return (c / (c + n)) ** p


def eligibility(e: Tensor, visited: Tensor, gamma: Number, lam: Number) -> Tensor:
    """Traces e (..., S) one step later: all fade, those of the states just `visited` (0 or 1) grow by 1.

    Implements {eq}`eq:eligibility`. Raises ValueError for differing shapes, gamma or lam outside [0, 1].
    """
    check_shapes(e=e, visited=visited)
    check_range("gamma", gamma, 0, 1, open_low=False)
    check_range("lam", lam, 0, 1, open_low=False)
    return gamma * lam * e + visited
