"""SARSA and expected SARSA: the values of the very policy that explores."""

from __future__ import annotations

import numpy as np
import torch

from mmbook.equations import expected_sarsa_target
from mmbook.rl.walks import Explore, Learned, TableConfig, Walks, on_arrays
from mmbook.world.mdp import MDP

_target = on_arrays(expected_sarsa_target)


def sarsa(mdp: MDP, explore: Explore, config: TableConfig, expected: bool = False, seed: int = 0) -> Learned:
    """Learn the values (runs, S, A) of the policy that `explore` makes of them, from that policy's own steps.

    The target takes the next action that was drawn, or, if `expected`, the mean over all actions. Source:
    Rummery and Niranjan 1994; van Seijen et al. 2009.
    """
    walks, (S, A) = Walks(mdp, config, seed, "sarsa"), mdp.r.shape
    runs, one_hot = np.arange(config.runs), np.eye(A)
    Q, n = np.zeros((2, config.runs, S, A))

    def policy(s: np.ndarray, step: int) -> np.ndarray:
        return explore(torch.from_numpy(Q[runs, s]), step).numpy()

    a = walks.draw(policy(walks.s, 0))
    for step in range(config.steps):
        here = (runs, walks.s, a)
        r, s_next, ended = walks.step(a)
        pi_next = policy(s_next, step)
        a = walks.draw(pi_next)
        y = _target(r, Q[runs, s_next], pi_next if expected else one_hot[a], config.gamma, ended)
        Q[here] += config.step_sizes(n[here]) * (y - Q[here])
        n[here] += 1
        if walks.over.any():  # another episode: its first action has nothing to do with s_next
            a = np.where(walks.over, walks.draw(policy(walks.s, step)), a)
        learned = walks.keep(step + 1, Q)
    return learned
