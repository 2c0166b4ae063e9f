"""Q-learning with many environments in lockstep that share one table: faster steps, staler targets."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mmbook.equations import epsilon_greedy, q_learning_target
from mmbook.rl.walks import TableConfig, Walks, on_arrays
from mmbook.world.mdp import MDP

_policy, _target = on_arrays(epsilon_greedy), on_arrays(q_learning_target)


def q_learning_lockstep(
    mdp: MDP, eps: float, config: TableConfig, seed: int = 0
) -> Iterator[tuple[int, np.ndarray]]:
    """Learn one table (S, A) from `config.runs` environments; yields episodes so far and the table, for ever.

    Another algorithm than q_learning: all environments act and learn from the table before the step. Where k
    of them took the same action in the same state, its entry moves towards their mean target as far as k
    single steps would.
    """
    walks, (S, A) = Walks(mdp, config, seed, "q-learning lockstep"), mdp.r.shape
    Q, n = np.zeros((2, S * A))
    while True:
        rows = Q.reshape(S, A)
        s, a = walks.s, walks.draw(_policy(rows, eps)[walks.s])
        r, s_next, ended = walks.step(a)
        y = _target(r, rows[s_next], config.gamma, ended)
        k = np.bincount(s * A + a, minlength=S * A)
        mean = np.bincount(s * A + a, y, S * A) / np.maximum(k, 1)
        Q += (1 - (1 - config.step_sizes(n)) ** k) * (mean - Q)
        n += k
        yield len(walks.learned.episodes), Q.reshape(S, A)
