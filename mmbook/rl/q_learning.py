"""Q-learning and double Q-learning: the values of the best policy, whichever policy explores."""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Iterator
from typing import Any

import gymnasium
import numpy as np
import torch

from mmbook.equations import double_q_target, q_learning_target
from mmbook.rl.walks import Explore, Learned, TableConfig, Walks, on_arrays
from mmbook.world.mdp import MDP
from mmbook.world.scenes import generator

_target, _double_target = on_arrays(q_learning_target), on_arrays(double_q_target)


def q_learning(
    mdp: MDP, explore: Explore, config: TableConfig, double: bool = False, seed: int = 0
) -> Learned:
    """Learn the best action values (runs, S, A) from the steps of a policy that explores.

    `double` keeps two tables: a coin decides which of them learns, and the other says what its best action is
    worth. The policy then sees their mean, and so does whoever reads the result. Source: Watkins and Dayan
    1992; van Hasselt 2010.
    """
    walks, (S, A) = Walks(mdp, config, seed, "q-learning"), mdp.r.shape
    runs, k = np.arange(config.runs), np.zeros(config.runs, np.int64)
    Q, n = np.zeros((2, 1 + double, config.runs, S, A))
    for step in range(config.steps):
        s = walks.s
        seen = Q[:, runs, s].mean(0) if double else Q[0, runs, s]
        a = walks.draw(explore(torch.from_numpy(seen), step).numpy())
        r, s_next, ended = walks.step(a)
        if double:
            k = walks.rng.integers(2, size=config.runs)
            y = _double_target(r, Q[k, runs, s_next], Q[1 - k, runs, s_next], config.gamma, ended)
        else:
            y = _target(r, Q[0, runs, s_next], config.gamma, ended)
        here = (k, runs, s, a)
        Q[here] += config.step_sizes(n[here]) * (y - Q[here])
        n[here] += 1
        learned = walks.keep(step + 1, Q.mean(0))
    return learned


def q_learning_plain(
    env: gymnasium.Env[Any, Any], eps: float, config: TableConfig, seed: int = 0
) -> Iterator[np.ndarray]:
    """One run in a Gymnasium environment with numbered states, as one would first write it.

    Yields the table (S, A) after every episode, for ever; `config.steps` and `runs` have no meaning here.
    """
    rng, A = generator(seed, "q-learning plain"), int(env.action_space.n)  # type: ignore[attr-defined]
    Q, n = np.zeros((2, int(env.observation_space.n), A))  # type: ignore[attr-defined]
    s, _ = env.reset(seed=seed)
    while True:
        over, t = False, 0
        while not over:
            a = rng.integers(A) if rng.random() < eps else rng.choice(np.flatnonzero(Q[s] == Q[s].max()))
            s_next, r, ended, cut, _ = env.step(a)
            y = float(r) + config.gamma * (0.0 if ended else Q[s_next].max())
            alpha = config.alpha or (config.c / (config.c + n[s, a])) ** config.p
            Q[s, a] += alpha * (y - Q[s, a])
            n[s, a] += 1
            s, t = s_next, t + 1
            over = ended or cut or t >= config.limit
        yield Q
        s, _ = env.reset()


def q_learning_lists(mdp: MDP, eps: float, config: TableConfig, seed: int = 0) -> Iterator[list[list[float]]]:
    """The same run on Python lists, which are faster than arrays when numbers are taken one at a time.

    Yields the table after every episode, for ever.
    """
    rng = random.Random(int(generator(seed, "q-learning lists").integers(2**62)))
    S, A = mdp.r.shape
    first, ends, gamma = mdp.d_0.cumsum()[:-1].tolist(), mdp.terminal.tolist(), config.gamma
    follow = [[np.flatnonzero(p) for p in row] for row in mdp.P]
    odds = [
        [mdp.P[s, a, t].cumsum()[:-1].tolist() for a, t in enumerate(row)] for s, row in enumerate(follow)
    ]
    reward = [[mdp.R[s, a, t].tolist() for a, t in enumerate(row)] for s, row in enumerate(follow)]
    after = [[t.tolist() for t in row] for row in follow]
    Q, n = [[0.0] * A for _ in range(S)], [[0] * A for _ in range(S)]
    while True:
        s, over, t = bisect_right(first, rng.random()), False, 0
        while not over:
            row = Q[s]
            if rng.random() < eps:
                a = int(rng.random() * A)
            else:
                best = max(row)
                a = rng.choice([b for b in range(A) if row[b] == best])
            k = bisect_right(odds[s][a], rng.random())
            s_next, r = after[s][a][k], reward[s][a][k]
            y = r if ends[s_next] else r + gamma * max(Q[s_next])
            alpha = config.alpha or (config.c / (config.c + n[s][a])) ** config.p
            row[a] += alpha * (y - row[a])
            n[s][a] += 1
            s, t = s_next, t + 1
            over = ends[s] or t >= config.limit
        yield Q
