"""How the tabular learners' errors fall with the steps taken, on Gymnasium's own worlds: ten seeds.

python benchmarks/convergence.py

The error is the root mean square distance from the exact values of the learner's own target policy, over the
state-action pairs that an episode can meet, as a share of the largest reward. Step sizes are Robbins-Monro.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np
import torch
from results_file import number, write

from mmbook.equations import epsilon_greedy
from mmbook.rl import TableConfig, q_learning, sarsa
from mmbook.world.mdp import MDP

GAMMA, STEPS, SNAPSHOTS = 0.9, 320_000, 32


def world(name: str) -> tuple[MDP, np.ndarray]:
    """A world whose episodes begin in any state that can be met, and those states (S,)."""
    mdp = MDP.from_gymnasium(gymnasium.make(name))
    met = mdp.d_0 > 0
    for _ in mdp.d_0:
        met = met | (mdp.P[met].sum((0, 1)) > 0)
    met &= ~mdp.terminal
    return replace(mdp, d_0=met / met.sum()), met


def target(mdp: MDP, eps: float) -> np.ndarray:
    """Action values (S, A) of the best policy among those that explore with eps."""
    Q = np.zeros_like(mdp.r)
    for _ in range(600):
        Q = mdp.r + GAMMA * mdp.P @ ((1 - eps) * Q.max(-1) + eps * Q.mean(-1))
    return Q


def explore(eps: float) -> Any:
    """An epsilon-greedy explorer."""
    return lambda Q, step: epsilon_greedy(Q, eps)


METHODS = {
    "q": (lambda mdp, config: q_learning(mdp, explore(0.5), config), 0.0),
    "double_q": (lambda mdp, config: q_learning(mdp, explore(0.5), config, double=True), 0.0),
    "sarsa": (lambda mdp, config: sarsa(mdp, explore(0.3), config), 0.3),
}

if __name__ == "__main__":
    torch.set_num_threads(1)
    config = TableConfig(gamma=GAMMA, steps=STEPS, limit=50, snapshots=SNAPSHOTS)
    values, curves = {}, {}
    for name in ("FrozenLake-v1", "CliffWalking-v1"):
        mdp, met = world(name)
        for method, (learn, eps) in METHODS.items():
            wrong = (learn(mdp, config).tables - target(mdp, eps))[:, :, met]  # (snapshots, runs, met, A)
            errors = np.sqrt((wrong**2).mean((2, 3))) / np.abs(mdp.R).max()
            key = f"{name.split('-')[0].lower()}_{method}"
            curves[key] = [round(float(x), 5) for x in errors.mean(1)]
            for steps in (40_000, STEPS):
                at = errors[steps * SNAPSHOTS // STEPS - 1]
                says = f"largest error of {method} on {name} after {steps:,} steps, as a share of a reward"
                values[f"{key}_{steps}"] = number(at.max(), 0.3 * at.max() + 1e-3, says)
            print(key, [values[f"{key}_{steps}"]["value"] for steps in (40_000, STEPS)], flush=True)
    write("convergence", values, steps=STEPS, curves=curves)
