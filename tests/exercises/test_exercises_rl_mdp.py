"""The chapter's published solutions pass its checkers, and typical mistakes are named."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mmbook.exercises import Mistake, check

CHAPTER = Path(__file__).parents[2] / "book/rl/mdp.md"
CELLS = re.findall(r"```\{code-cell\}[^\n]*\n(.*?)```", CHAPTER.read_text(encoding="utf-8"), re.S)
NAMES = ("rl-mdp/returns", "rl-mdp/sweep", "rl-mdp/best-captions")


@pytest.mark.parametrize("name", NAMES)
def test_the_published_solution_is_right(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    (cell,) = (cell for cell in CELLS if f'check("{name}"' in cell)
    exec(cell, {"np": np})
    assert capsys.readouterr().out == "Right.\n"


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


def in_place(P: np.ndarray, r: np.ndarray, V: np.ndarray, gamma: float) -> np.ndarray:
    for s in range(len(V)):
        V[s] = max(r[s, a] + gamma * P[s, a] @ V for a in range(r.shape[1]))
    return V


def tilt(weights: np.ndarray) -> np.ndarray:
    return weights / weights.sum()


MISTAKES: list[tuple[str, Callable, str]] = [
    (NAMES[0], lambda r, g: sum(r), "expected one return for each of the 4 rewards"),
    (NAMES[0], one_for_all, "return of the whole episode"),
    (NAMES[0], backwards(lambda r, later: 0.5 * (r + later)), "discounts its first reward as well"),
    (NAMES[0], backwards(lambda r, later: r + later), "later rewards are not discounted"),
    (NAMES[0], from_the_start, "from the beginning of the episode"),
    (NAMES[0], past, "rewards of the past"),
    (NAMES[0], lambda r, g: r, r"expected \[1.5"),
    (NAMES[0], lambda r, g: r[9], "your answer stopped with IndexError"),
    (NAMES[1], in_place, "changes the values that it is still reading"),
    (NAMES[1], lambda P, r, V, g: (r + g * P @ V).mean(-1), "average over the actions"),
    (NAMES[1], lambda P, r, V, g: (r + g * P @ V).min(-1), "worst action"),
    (NAMES[1], lambda P, r, V, g: (g * P @ V).max(-1), "leaves out the reward"),
    (NAMES[1], lambda P, r, V, g: (r + P @ V).max(-1), "does not discount what follows"),
    (NAMES[1], lambda P, r, V, g: (g * (r + P @ V)).max(-1), "discount the reward of the action as well"),
    (
        NAMES[1],
        lambda P, r, V, g: (r + g * np.where(P > 0, V, -np.inf).max(-1)).max(-1),
        "best next state",
    ),
    (NAMES[1], lambda P, r, V, g: r + g * P @ V, r"shape \(4,\), got shape \(4, 3\)"),
    (NAMES[2], lambda p, R, beta: p * np.exp(R / beta), "do not add up to 1"),
    (NAMES[2], lambda p, R, beta: tilt(np.exp(R / beta)), "forgets the reference"),
    (NAMES[2], lambda p, R, beta: tilt(p * np.exp(R * beta)), "multiply by beta"),
    (NAMES[2], lambda p, R, beta: np.eye(4)[R.argmax()], "only the best caption"),
    (NAMES[2], lambda p, R, beta: tilt(p * np.exp(R)), "where is beta"),
    (NAMES[2], lambda p, R, beta: np.log(tilt(p * np.exp(R / beta))), "these are logarithms"),
    (NAMES[2], lambda p, R, beta: tilt(p * np.exp(R / beta)), "exponentials overflow"),
]


@pytest.mark.parametrize(("name", "answer", "says"), MISTAKES)
def test_typical_mistakes_have_messages_of_their_own(name: str, answer: Callable, says: str) -> None:
    with pytest.raises(Mistake, match=says):
        check(name, answer)
    others = [words for exercise, _, words in MISTAKES if exercise == name and words != says]
    with pytest.raises(Mistake) as caught:
        check(name, answer)
    assert not any(re.search(words, str(caught.value)) for words in others)
