"""Checkers of the chapter on applications."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from mmbook.exercises import Mistake, exercise
from mmbook.exercises.comparing import compare
from mmbook.world.mdp import MDP

F64 = torch.float64


@exercise("practice-applications/decide")
def decide(answer: Callable[[list[str], float, float], Any]) -> None:
    """`answer(rights, c, ell)` is the best guess or "ask"; rights are the answers to what may be meant."""
    cases = [
        (["a cat."], 0.5, 1.0),
        (["a cat.", "a bus."], 0.5, 1.0),
        (["yes.", "yes."], 0.5, 1.0),
        (["yes.", "no.", "yes."], 0.5, 1.0),
        (["yes.", "no.", "yes."], 0.8, 1.0),
        (["no.", "yes.", "no."], 0.8, 1.0),
        (["a cat.", "a bus."], 1.2, 1.0),
        (["a cat.", "a bus.", "a key."], 1.2, 1.0),
        (["a cat.", "a bus."], 1.2, 3.0),
        (["a cat."], 0.0, 1.0),
    ]

    def played(p: Callable[[list[str]], float], bar: Callable[[float, float], float]) -> list[bool]:
        return [p(rights) < bar(c, ell) - 1e-9 for rights, c, ell in cases]

    def best(rights: list[str]) -> float:
        return max(map(rights.count, rights)) / len(rights)

    def exact(c: float, ell: float) -> float:
        return 1 - c / (1 + ell)

    said = [answer(list(rights), c, ell) for rights, c, ell in cases]
    for (rights, _, _), x in zip(cases, said, strict=True):
        if x != "ask" and x not in rights:
            raise Mistake(f'expected "ask" or one of {rights}, got {x!r}')
    asked, right = [x == "ask" for x in said], played(best, exact)
    mistakes = {
        "you ask whenever several things are meant: where all have one answer, nothing is unclear": played(
            lambda rights: 1 / len(rights), exact
        ),
        "you ask whenever the answers differ: at a high price a guess is worth more": [
            len(set(rights)) > 1 for rights, _, _ in cases
        ],
        "you count each different answer alike: two of three things may share one": played(
            lambda rights: 1 / len(set(rights)), exact
        ),
        "a wrong answer costs ell besides the 1 that is missed: divide by 1 + ell": played(
            best, lambda c, ell: 1 - c
        ),
        "you divide by ell: the difference between right and wrong is 1 + ell": played(
            best, lambda c, ell: 1 - c / ell
        ),
        "it is the other way round: ask where the guess is less likely than the threshold": [
            not x for x in right
        ],
    }
    if asked != right:
        known = [says for says, wrong in mistakes.items() if wrong == asked]
        raise Mistake(known[0] if known else f"expected to ask in the cases {right}, you ask in {asked}")
    for (rights, c, ell), x in zip(cases, said, strict=True):
        if x != "ask" and rights.count(x) < max(map(rights.count, rights)):
            raise Mistake(
                f"of {rights} at c = {c:g}, ell = {ell:g} the likeliest is the best guess, not {x!r}"
            )


@exercise("practice-applications/tutor")
def tutor(answer: Callable[[float, float, float], MDP]) -> None:
    """`answer(e, h, f)` is a learner as an MDP: states new, shaky, firm, done; tasks easy, hard."""
    e, h, f = 0.6, 0.4, 0.3
    mdp = answer(e, h, f)
    if not isinstance(mdp, MDP) or mdp.P.shape != (4, 2, 4):
        got = mdp.P.shape if isinstance(mdp, MDP) else type(mdp).__name__
        raise Mistake(f"expected an MDP with P of shape (4, 2, 4), got {got}")
    if mdp.terminal.tolist() != [False, False, False, True]:
        raise Mistake(f"only the last state is terminal, got {mdp.terminal.tolist()}")
    if not np.allclose(mdp.d_0, [1, 0, 0, 0]):
        raise Mistake(f"every learner begins new, in state 0, got the start {np.asarray(mdp.d_0).tolist()}")
    right = np.zeros((4, 2, 4))
    right[0, 0], right[0, 1] = [1 - e, e, 0, 0], [1, 0, 0, 0]
    right[1, 0], right[1, 1] = [0, 1 - e, e, 0], [(1 - h / 2) * f, (1 - h / 2) * (1 - f), 0, h / 2]
    right[2, 0], right[2, 1], right[3, :, 3] = [0, 0, 1, 0], [0, (1 - h) * f, (1 - h) * (1 - f), h], 1
    variants: dict[str, dict[tuple[int, int], list[float]]] = {
        "without the basics a hard task teaches nothing: state 0 stays": {(0, 1): [1 - h, 0, 0, h]},
        "with shaky basics the hard task succeeds only half as often": {
            (1, 1): [(1 - h) * f, (1 - h) * (1 - f), 0, h]
        },
        "only who fails can fall back: (1 - h) f, not f": {
            (1, 1): [f, 1 - f - h / 2, 0, h / 2],
            (2, 1): [0, f, 1 - f - h, h],
        },
        "who fails the hard task may fall back one state, with probability f": {
            (1, 1): [0, 1 - h / 2, 0, h / 2],
            (2, 1): [0, 0, 1 - h, h],
        },
        "whoever falls back falls by one state: from firm to shaky": {
            (2, 1): [(1 - h) * f, 0, (1 - h) * (1 - f), h]
        },
    }
    wrong = {}
    for says, rows in variants.items():
        wrong[says] = torch.as_tensor(right).clone()
        for (state, task), row in rows.items():
            wrong[says][state, task] = torch.tensor(row, dtype=F64)
    compare(torch.as_tensor(mdp.P, dtype=F64), torch.as_tensor(right), wrong)
    cost = torch.tensor([[-1.0] * 2] * 3 + [[0.0] * 2], dtype=F64)
    paid = {
        "a lesson costs: its reward is -1, not 1": -cost,
        "each lesson costs 1, whatever comes of it; you pay only for the last step": -torch.as_tensor(
            right[..., 3]
        )
        * (cost < 0),
        "no lesson costs anything: then the tutor need not hurry": 0 * cost,
    }
    compare(torch.as_tensor(mdp.r, dtype=F64), cost, paid)
