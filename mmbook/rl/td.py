"""Temporal-difference learning of a policy's values: TD(0), and TD(lambda) with eligibility traces."""

from __future__ import annotations

import numpy as np

from mmbook.equations import eligibility, td_error
from mmbook.rl.walks import Learned, TableConfig, Walks, on_arrays
from mmbook.world.mdp import MDP

_error, _faded = on_arrays(td_error), on_arrays(eligibility)


def td(mdp: MDP, pi: np.ndarray, config: TableConfig, lam: float = 0.0, seed: int = 0) -> Learned:
    """Learn the values (runs, S) of the policy pi (S, A) from every step; `lam` 0 is TD(0).

    A surprise is credited to the states of the episode so far, as far as their traces have not faded. Source:
    Sutton 1988.
    """
    walks, S = Walks(mdp, config, seed, "td"), len(mdp.d_0)
    runs, states = np.arange(config.runs), np.eye(S)
    V, n, e = np.zeros((3, config.runs, S))
    for step in range(config.steps):
        s = walks.s
        r, s_next, ended = walks.step(walks.draw(pi[s]))
        delta = _error(r, V[runs, s], V[runs, s_next], config.gamma, ended)
        e = _faded(e, states[s], config.gamma, lam)
        V += config.step_sizes(n) * delta[:, None] * e
        n[runs, s] += 1
        e[walks.over] = 0  # what happens next is another episode
        learned = walks.keep(step + 1, V)
    return learned
