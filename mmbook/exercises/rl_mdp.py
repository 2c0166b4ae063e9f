"""Checkers for the chapter on Markov decision processes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from mmbook.exercises import Mistake, exercise

REWARDS, GAMMA = [1.0, 0.0, 3.0, -2.0], 0.5


def numbers(answer: Any, shape: tuple[int, ...], what: str) -> np.ndarray:
    """The answer as an array of the right shape."""
    array = np.asarray(answer, float)
    if array.shape != shape:
        raise Mistake(f"expected {what}, an array of shape {shape}, got shape {array.shape}")
    return array


def compare(got: np.ndarray, right: np.ndarray, mistakes: dict[str, np.ndarray]) -> None:
    """Raise the message of the wrong answer that was given, or one that shows both."""
    if np.allclose(got, right, atol=1e-5):
        return
    for message, wrong in mistakes.items():
        if np.allclose(got, wrong, atol=1e-5):
            raise Mistake(message)
    raise Mistake(f"expected {np.round(right, 4).tolist()}, got {np.round(got, 4).tolist()}")


@exercise("rl-mdp/returns")
def returns(answer: Callable[[list[float], float], Any]) -> None:
    """The discounted return from each step of one episode to its end."""
    got = numbers(answer(list(REWARDS), GAMMA), (4,), "one return for each of the 4 rewards")
    r, t = np.array(REWARDS), np.arange(4)
    ahead = GAMMA ** (t - t[:, None]) * (t >= t[:, None])  # (from, to)
    G, begin = ahead @ r, (GAMMA**t * r)[::-1].cumsum()[::-1]
    compare(
        got,
        G,
        {
            "every step has the return of the whole episode; count only what is still to come": G[[0] * 4],
            "your return discounts its first reward as well; that one counts in full, as gamma^0": GAMMA * G,
            "your later rewards are not discounted": r[::-1].cumsum()[::-1],
            "your rewards are discounted from the beginning of the episode, not the return's step": begin,
            "your returns add up the rewards of the past; go through the episode from its end": ahead.T @ r,
            "your returns leave out the reward of their own step": G - r,
        },
    )


@exercise("rl-mdp/sweep")
def sweep(answer: Callable[[np.ndarray, np.ndarray, np.ndarray, float], Any]) -> None:
    """One sweep of value iteration."""
    rng = np.random.default_rng(0)
    P, r, V, gamma = rng.dirichlet(np.ones(4), (4, 3)), rng.normal(size=(4, 3)), rng.normal(size=4), 0.5
    P = np.where(P > 0.1, P, 0)
    P /= P.sum(-1, keepdims=True)
    given = V.copy()
    got = numbers(answer(P.copy(), r.copy(), given, gamma), (4,), "one value for each of the 4 states")
    if (given != V).any():
        raise Mistake("your sweep changes the values that it is still reading; write into a new array")
    Q, both = r + gamma * P @ V, gamma * (r + P @ V)
    lucky = r + gamma * np.where(P > 0, V, -np.inf).max(-1)
    compare(
        got,
        Q.max(-1),
        {
            "you average over the actions, as if all were equally likely; take the best": Q.mean(-1),
            "you take the worst action; rewards are to be maximised": Q.min(-1),
            "your sweep leaves out the reward of the action itself": (gamma * P @ V).max(-1),
            "your sweep does not discount what follows": (r + P @ V).max(-1),
            "you discount the reward of the action as well; only what follows is a step away": both.max(-1),
            "you take the best next state; which one follows is up to P, so average over it": lucky.max(-1),
            "you added V to its backup; the backup replaces it": V + Q.max(-1),
        },
    )


@exercise("rl-mdp/best-captions")
def best_captions(answer: Callable[[np.ndarray, np.ndarray, float], Any]) -> None:
    """The best policy over whole captions when leaving the reference costs beta a nat."""
    p_ref, R, beta = np.array([0.6, 0.25, 0.1, 0.05]), np.array([-1.5, 0.5, 1.0, 0.0]), 0.4
    got = numbers(answer(p_ref.copy(), R.copy(), beta), (4,), "one probability for each of the 4 captions")
    weights = p_ref * np.exp(R / beta)
    right = weights / weights.sum()
    free, low, one = np.exp(R / beta), p_ref * np.exp(R * beta), p_ref * np.exp(R)

    compare(
        got,
        right,
        {
            "your weights do not add up to 1; divide by their sum": weights,
            "these are logarithms; return probabilities": np.log(right),
            "your policy forgets the reference: what it never says should stay unlikely": free / free.sum(),
            "you multiply by beta; a high price should keep you near the reference, so divide": low
            / low.sum(),
            "your policy says only the best caption: that is the limit of a price of 0": np.eye(4)[2],
            "your policy weighs by the rewards' exponentials at price 1; where is beta?": one / one.sum(),
        },
    )
    with np.errstate(all="ignore"):
        cheap = numbers(answer(p_ref.copy(), R.copy(), 1e-4), (4,), "4 probabilities")
    if not np.allclose(cheap, np.eye(4)[2], atol=1e-5):
        raise Mistake(
            "right at beta = 0.4, but at beta = 0.0001 your exponentials overflow: take the largest exponent "
            f"away from all of them first; got {cheap.tolist()}"
        )
