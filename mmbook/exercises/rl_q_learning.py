"""Checkers for the chapter on Monte Carlo, temporal differences and Q-learning."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from mmbook.exercises import Mistake, exercise
from mmbook.exercises.rl_mdp import compare, numbers


@exercise("rl-q-learning/target")
def target(answer: Callable[[np.ndarray, np.ndarray, float, np.ndarray], Any]) -> None:
    """What Q(s, a) should move towards after each of four steps."""
    r, ended, gamma = np.array([1.0, 0.5, -1.0, 0.0]), np.array([False, False, True, False]), 0.5
    Q = np.array([[1.0, 5.0, 2.0], [0.0, -2.0, -4.0], [3.0, 8.0, 1.0], [7.0, 2.0, 3.0]])
    got, go = (
        numbers(answer(r.copy(), Q.copy(), gamma, ended.copy()), (4,), "one target for each step"),
        ~ended,
    )
    mistakes = {
        "your target is the reward alone: without a next state it learns what one action earns": r,
        "your target takes something from beyond the end of an episode; nothing follows an end": r
        + gamma * Q.max(-1),
        "your target averages over the next actions; Q-learning takes the best": r + gamma * go * Q.mean(-1),
        "your target does not discount what follows": r + go * Q.max(-1),
        "your target discounts the reward as well; only what follows is one step away": gamma
        * (r + go * Q.max(-1)),
        "your target takes the best over the whole batch; each step has a next state of its own": r
        + gamma * go * Q.max(),
        "your target leaves out the reward": gamma * go * Q.max(-1),
        "your target drops the reward of the step that ended: it is still paid": go * (r + gamma * Q.max(-1)),
    }
    compare(got, r + gamma * go * Q.max(-1), mistakes)


@exercise("rl-q-learning/epsilon-greedy")
def choose(answer: Callable[[np.ndarray, float, np.random.Generator], Any]) -> None:
    """One action for one row of Q, judged by how often each comes in 10,000 draws."""
    Q, eps, rng = np.array([0.0, 2.0, 1.0, 2.0]), 0.6, np.random.default_rng(0)
    drawn = []
    for _ in range(10_000):
        action = answer(Q.copy(), eps, rng)
        try:
            drawn.append(operator.index(action))  # also of an array or a tensor that is one whole number
        except TypeError:
            drawn.append(-1)
        if not 0 <= drawn[-1] < 4:
            raise Mistake(f"expected one action, a whole number from 0 to 3, got {action!r}")
    p = np.bincount(drawn, minlength=4) / len(drawn)
    for message, wrong in {
        "your exploration always takes action 0; it has to draw among all actions": [0.6, 0.2, 0.0, 0.2],
        "your exploration always takes action 0, and ties always go to the first action": [
            0.6,
            0.4,
            0.0,
            0.0,
        ],
        "your ties always go to the first of the best actions; let them share": [0.15, 0.55, 0.15, 0.15],
        "your ties always go to the last of the best actions; let them share": [0.15, 0.15, 0.15, 0.55],
        "you never explore: eps has no effect": [0.0, 0.5, 0.0, 0.5],
        "you never explore, and ties always go to the first of the best actions": [0.0, 1.0, 0.0, 0.0],
        "you explore with probability 1 - eps and exploit with eps; turn it round": [0.1, 0.4, 0.1, 0.4],
        "you explore with 1 - eps and exploit with eps, and ties go to the first": [0.1, 0.7, 0.1, 0.1],
        "you explore only among other actions than the one you would take": [0.2, 0.3, 0.2, 0.3],
        "you explore only among actions that are not best; eps is shared by all": [0.3, 0.2, 0.3, 0.2],
    }.items():
        if np.abs(p - wrong).max() < 0.02:
            raise Mistake(message)
    if np.abs(p - [0.15, 0.35, 0.15, 0.35]).max() > 0.02:
        raise Mistake(
            f"expected shares near 0.15, 0.35, 0.15, 0.35 for Q = [0, 2, 1, 2], got {p.round(2).tolist()}"
        )


def _td(
    s: list[int], r: list[float], V: np.ndarray, alpha: float, gamma: float, lam: float, **fault: bool
) -> Any:
    """TD(lambda) over one episode, as it should be or with one of the typical faults."""
    V, e, change = V.copy(), np.zeros_like(V), np.zeros_like(V)
    for t, reward in enumerate(r):
        after = 0.0 if t + 1 == len(r) and not fault.get("beyond") else V[s[t + 1]]
        if fault.get("late"):
            delta = reward + gamma * after - V[s[t]]
            V, e = V + alpha * delta * e, e * gamma * lam + np.eye(len(V))[s[t]]
            continue
        if fault.get("replace"):
            e = e * (1 - np.eye(len(V))[s[t]])
        e = e * (1 if fault.get("unfaded") else lam if fault.get("no_gamma") else gamma * lam)
        e = e * 0 + np.eye(len(V))[s[t]] if fault.get("no_trace") else e + np.eye(len(V))[s[t]]
        surprise = (1 if fault.get("no_alpha") else alpha) * (reward + gamma * after - V[s[t]])
        change, V = change + surprise * e, V if fault.get("at_end") else V + surprise * e
    return V + change if fault.get("at_end") else V


@exercise("rl-q-learning/traces")
def traces(answer: Callable[[list[int], list[float], np.ndarray, float, float, float], Any]) -> None:
    """The values after one episode of TD(lambda)."""
    s, r, V = [0, 1, 0, 2, 3], [0.3, 1.0, -0.5, 2.0], np.array([0.5, -1.0, 2.0, 9.0, 7.0, 4.0])
    how = (0.1, 0.9, 0.6)
    got = numbers(answer(list(s), list(r), V.copy(), *how), (6,), "one value for each of the 6 states")
    says = {
        "beyond": "you use the value of the state in which the episode ended; nothing follows an end",
        "no_trace": "only the present state learns: that is TD(0); keep a trace of the states before",
        "unfaded": "your traces do not fade; multiply them by gamma times lambda at every step",
        "no_gamma": "your traces fade by lambda alone; gamma belongs there too",
        "no_alpha": "your values move by the whole surprise; multiply by the step size",
        "replace": "a state that is visited again adds 1 to what is left of its trace; yours begins anew",
        "at_end": "you keep the values fixed until the episode ends; let every step begin with the latest",
        "late": "you update before the present state has its trace, so it never learns from its own step",
    }
    compare(
        got, _td(s, r, V, *how), {text: _td(s, r, V, *how, **{name: True}) for name, text in says.items()}
    )
