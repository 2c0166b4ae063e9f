"""The Q-learning chapter's exercises: published solutions pass, each typical mistake has its own message."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from mmbook.exercises import check

TARGETS: dict[str, Callable[..., Any]] = {
    "without a next state": lambda r, Q, gamma, ended: r,
    "nothing follows an end": lambda r, Q, gamma, ended: r + gamma * Q.max(-1),
    "averages over the next actions": lambda r, Q, gamma, ended: r + gamma * ~ended * Q.mean(-1),
    "does not discount": lambda r, Q, gamma, ended: r + ~ended * Q.max(-1),
    "discounts the reward as well": lambda r, Q, gamma, ended: gamma * (r + ~ended * Q.max(-1)),
    "best over the whole batch": lambda r, Q, gamma, ended: r + gamma * ~ended * Q.max(),
    "leaves out the reward": lambda r, Q, gamma, ended: gamma * ~ended * Q.max(-1),
    "it is still paid": lambda r, Q, gamma, ended: ~ended * (r + gamma * Q.max(-1)),
    "array of shape": lambda r, Q, gamma, ended: r[:, None] + gamma * Q,
    "stopped with AxisError": lambda r, Q, gamma, ended: r + Q.max(axis=2),
}


def first(Q: np.ndarray) -> int:
    return int(Q.argmax())


def any_best(Q: np.ndarray, rng: np.random.Generator) -> int:
    return int(rng.choice(np.flatnonzero(Q.max() == Q)))


def others(Q: np.ndarray, eps: float, rng: np.random.Generator) -> int:
    """Explores among all actions but the one it would take."""
    best = any_best(Q, rng)
    return int(rng.choice([a for a in range(4) if a != best])) if rng.random() < eps else best


def none_of_the_best(Q: np.ndarray, eps: float, rng: np.random.Generator) -> int:
    """Explores among the actions that are not best."""
    return int(rng.choice(np.flatnonzero(Q.max() != Q)) if rng.random() < eps else any_best(Q, rng))


CHOICES: dict[str, Callable[..., Any]] = {
    "always takes action 0; it": lambda Q, eps, rng: 0 if rng.random() < eps else any_best(Q, rng),
    "always takes action 0, and ties": lambda Q, eps, rng: 0 if rng.random() < eps else first(Q),
    "to the first of the best actions; let": lambda Q, eps, rng: (
        rng.integers(4) if rng.random() < eps else first(Q)
    ),
    "to the last of the best": lambda Q, eps, rng: (
        rng.integers(4) if rng.random() < eps else 3 - first(Q[::-1])
    ),
    "never explore: eps": lambda Q, eps, rng: any_best(Q, rng),
    "never explore, and ties": lambda Q, eps, rng: first(Q),
    "turn it round": lambda Q, eps, rng: any_best(Q, rng) if rng.random() < eps else rng.integers(4),
    "and exploit with eps, and ties": lambda Q, eps, rng: first(Q) if rng.random() < eps else rng.integers(4),
    "other actions than the one": others,
    "actions that are not best": none_of_the_best,
    "a whole number from 0 to 3": lambda Q, eps, rng: Q.max(),
    "expected shares near": lambda Q, eps, rng: 2,
}


def episode(late: bool = False, beyond: bool = False, **how: Any) -> Callable[..., Any]:
    """TD(lambda) as a reader might write it; `how` gives the fading, the step and whether traces are kept."""

    def answer(
        s: list[int], r: list[float], V: np.ndarray, alpha: float, gamma: float, lam: float
    ) -> np.ndarray:
        e = np.zeros_like(V)
        for t in range(len(r)):
            after = V[s[t + 1]] if t + 1 < len(r) or beyond else 0.0
            delta = r[t] + gamma * after - V[s[t]]
            if late:
                V += alpha * delta * e
            e *= how.get("fade", lambda g, lam: g * lam)(gamma, lam)
            e[s[t]] = how.get("left", 1.0) * e[s[t]] + 1
            if not late:
                V += how.get("step", alpha) * delta * e
        return V

    return answer


def at_the_end(s: list[int], r: list[float], V: np.ndarray, alpha: float, gamma: float, lam: float) -> Any:
    """TD(lambda) that adds up the changes: steps so small that the values hardly move, magnified."""
    return V + 1e6 * (episode()(s, r, V.copy(), 1e-6 * alpha, gamma, lam) - V)


TRACES: dict[str, Callable[..., Any]] = {
    "state in which the episode ended": episode(beyond=True),
    r"that is TD\(0\)": episode(fade=lambda gamma, lam: 0.0),
    "do not fade": episode(fade=lambda gamma, lam: 1.0),
    "gamma belongs there too": episode(fade=lambda gamma, lam: lam),
    "multiply by the step size": episode(step=1.0),
    "before the present state has its trace": episode(late=True),
    "yours begins anew": episode(left=0.0),
    "keep the values fixed": at_the_end,
    "expected one value for each": lambda s, r, V, alpha, gamma, lam: V[:3],
    r"expected \[": episode(fade=lambda gamma, lam: gamma),
}


MISTAKES = {
    "rl-q-learning/target": TARGETS,
    "rl-q-learning/epsilon-greedy": CHOICES,
    "rl-q-learning/traces": TRACES,
}


def test_an_action_may_be_a_tensor() -> None:
    check(
        "rl-q-learning/epsilon-greedy",
        lambda Q, eps, rng: torch.tensor(int(rng.integers(4) if rng.random() < eps else any_best(Q, rng))),
    )
