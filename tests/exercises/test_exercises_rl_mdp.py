"""The chapter's published solutions pass its checkers, and typical mistakes are named."""

from collections.abc import Callable

import numpy as np


def backwards(step: Callable[[float, float], float]) -> Callable[[list[float], float], list[float]]:
    def answer(rewards: list[float], gamma: float) -> list[float]:
        out, later = [], 0.0
        for r in reversed(rewards):
            later = step(r, later)
            out.append(later)
        return out[::-1]

    return answer


def from_the_start(rewards: list[float], gamma: float) -> list[float]:
    return [sum(gamma**u * rewards[u] for u in range(t, len(rewards))) for t in range(len(rewards))]


def one_for_all(rewards: list[float], gamma: float) -> list[float]:
    return [sum(gamma**t * r for t, r in enumerate(rewards))] * len(rewards)


def past(rewards: list[float], gamma: float) -> list[float]:
    return [sum(gamma ** (t - u) * rewards[u] for u in range(t + 1)) for t in range(len(rewards))]


def after_it(rewards: list[float], gamma: float) -> list[float]:
    return [sum(gamma ** (u - t) * rewards[u] for u in range(t + 1, 4)) for t in range(4)]


def in_place(P: np.ndarray, r: np.ndarray, V: np.ndarray, gamma: float) -> np.ndarray:
    for s in range(len(V)):
        V[s] = max(r[s, a] + gamma * P[s, a] @ V for a in range(r.shape[1]))
    return V


def tilt(weights: np.ndarray) -> np.ndarray:
    return weights / weights.sum()


MISTAKES: dict[str, dict[str, Callable]] = {
    "rl-mdp/returns": {
        "expected one return for each of the 4 rewards": lambda r, g: sum(r),
        "return of the whole episode": one_for_all,
        "discounts its first reward as well": backwards(lambda r, later: 0.5 * (r + later)),
        "later rewards are not discounted": backwards(lambda r, later: r + later),
        "from the beginning of the episode": from_the_start,
        "rewards of the past": past,
        "leave out the reward of their own step": after_it,
        r"expected \[1.5": lambda r, g: r,
        "your answer stopped with IndexError": lambda r, g: r[9],
    },
    "rl-mdp/sweep": {
        "changes the values that it is still reading": in_place,
        "average over the actions": lambda P, r, V, g: (r + g * P @ V).mean(-1),
        "worst action": lambda P, r, V, g: (r + g * P @ V).min(-1),
        "leaves out the reward": lambda P, r, V, g: (g * P @ V).max(-1),
        "does not discount what follows": lambda P, r, V, g: (r + P @ V).max(-1),
        "discount the reward of the action as well": lambda P, r, V, g: (g * (r + P @ V)).max(-1),
        "you added V to its backup": lambda P, r, V, g: V + (r + g * P @ V).max(-1),
        "best next state": lambda P, r, V, g: (r + g * np.where(P > 0, V, -np.inf).max(-1)).max(-1),
        r"shape \(4,\), got shape \(4, 3\)": lambda P, r, V, g: r + g * P @ V,
    },
    "rl-mdp/best-captions": {
        "do not add up to 1": lambda p, R, beta: p * np.exp(R / beta),
        "forgets the reference": lambda p, R, beta: tilt(np.exp(R / beta)),
        "multiply by beta": lambda p, R, beta: tilt(p * np.exp(R * beta)),
        "only the best caption": lambda p, R, beta: np.eye(4)[R.argmax()],
        "where is beta": lambda p, R, beta: tilt(p * np.exp(R)),
        "these are logarithms": lambda p, R, beta: np.log(tilt(p * np.exp(R / beta))),
        "expected one probability for each": lambda p, R, beta: R.argmax(),
        "exponentials overflow": lambda p, R, beta: tilt(p * np.exp(R / beta)),
    },
}
