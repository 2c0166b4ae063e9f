"""CPU seconds to a policy within 0.01 of the best, for three ways to write Q-learning; interleaved by seed.

python benchmarks/tabular.py [seeds]
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from results_file import number, write

from mmbook.rl import TableConfig, greedy, q_learning_lists, q_learning_lockstep, q_learning_plain, regret
from mmbook.world.gridworld import gridworld
from mmbook.world.mdp import TableEnv

GAMMA, EPS, GOOD, IN_A_ROW, EVERY, CAP = 0.95, 0.5, 0.01, 5, 100, 8.0
MDP = gridworld("rooms", slip=0.2)
CONFIG = TableConfig(gamma=GAMMA, limit=200)
LOCKSTEP = {f"lockstep_{n}": n for n in (32, 256, 2048)}


def learner(name: str, seed: int) -> Iterator[tuple[int, Any]]:
    """Episodes so far and the table, for ever."""
    if name in LOCKSTEP:
        return q_learning_lockstep(MDP, EPS, replace(CONFIG, runs=LOCKSTEP[name]), seed)
    if name == "lists":
        return enumerate(q_learning_lists(MDP, EPS, CONFIG, seed), 1)
    return enumerate(q_learning_plain(TableEnv(MDP), EPS, CONFIG, seed), 1)


def race(name: str, seed: int) -> tuple[float, float, float]:
    """CPU seconds and episodes until five checks in a row, 100 episodes apart, were good; and episodes/s.

    Checking is not counted. Infinity where that did not happen within the cap.
    """
    spent, good, last = 0.0, 0, 0
    clock = time.process_time()
    for episodes, Q in learner(name, seed):
        if episodes < last + EVERY:
            continue
        last = episodes
        spent += time.process_time() - clock
        good = good + 1 if regret(MDP, greedy(torch.tensor(np.asarray(Q))), GAMMA) <= GOOD else 0
        if good == IN_A_ROW or spent > CAP:
            break
        clock = time.process_time()
    reached = good == IN_A_ROW
    return (spent, episodes, episodes / spent) if reached else (np.inf, np.inf, episodes / spent)


if __name__ == "__main__":
    torch.set_num_threads(1)
    names, seeds = ["plain", "lists", *LOCKSTEP], int(sys.argv[1]) if len(sys.argv) > 1 else 10
    rows: dict[str, list[tuple[float, float, float]]] = {name: [] for name in names}
    for seed in range(seeds):
        for name in names:
            rows[name].append(race(name, seed))
            print(seed, name, *(f"{x:.3g}" for x in rows[name][-1]), flush=True)
    values = {}
    for name in names:
        seconds, episodes, rate = np.array(rows[name]).T
        reached = np.isfinite(seconds)
        wide = float(np.median(seconds[reached])) if reached.any() else CAP
        values[f"{name}_reached"] = number(reached.mean(), 0.4, f"seeds that got there, {name}")
        values[f"{name}_seconds"] = number(wide, wide, f"median CPU seconds of those, {name}", unit="seconds")
        values[f"{name}_episodes"] = number(
            np.median(episodes[reached]) if reached.any() else 0,
            1e6,
            f"median episodes of those, {name}",
            unit="episodes",
        )
        values[f"{name}_rate"] = number(
            np.median(rate), 0.7 * float(np.median(rate)), f"episodes a CPU second, {name}", unit="per second"
        )
    values["seeds"] = number(seeds, 0, "seeds", unit="seeds")
    values["cap"] = number(CAP, 0, "CPU seconds after which a run was given up", unit="seconds")
    write("tabular", values)
