"""Monte Carlo: wait for the end of the episode, then learn from what really came."""

from __future__ import annotations

import numpy as np
import torch

from mmbook.rl.walks import Explore, Learned, TableConfig, Walks
from mmbook.world.mdp import MDP


def monte_carlo(
    mdp: MDP,
    policy: np.ndarray | Explore,
    config: TableConfig,
    first_visit: bool = True,
    seed: int = 0,
) -> Learned:
    """Learn action values (runs, S, A) from whole episodes, `config.steps` of them in each run.

    The values of a fixed policy (S, A) are predicted; a policy that is made of the values so far improves as
    they are learned, which is control. `first_visit` counts only the first return of a state and action in an
    episode. The policy must end every episode: nothing is cut. Source: Singh and Sutton 1996.
    """
    walks, (S, A) = Walks(mdp, config, seed, "monte carlo"), mdp.r.shape
    runs = np.arange(config.runs)
    Q, n = np.zeros((2, config.runs, S, A))
    for episode in range(config.steps):
        s, alive = mdp.first(config.runs, walks.rng), np.ones(config.runs, bool)
        seen, steps = np.zeros((config.runs, S, A), bool), []
        pi = policy if isinstance(policy, np.ndarray) else policy(torch.from_numpy(Q), episode).numpy()
        while alive.any():
            a = walks.draw(pi[s] if pi.ndim == 2 else pi[runs, s])
            s_next, r, ended = mdp.step(s, a, walks.rng)
            counts = alive & ~(seen[runs, s, a] & first_visit)
            seen[runs, s, a] = True
            steps.append((s, a, r * alive, counts))
            s, alive = s_next, alive & ~ended
        G = np.zeros(config.runs)
        for s, a, r, counts in reversed(steps):  # from the end: each return is built from the next
            G = r + config.gamma * G
            Q[runs, s, a] += counts * config.step_sizes(n[runs, s, a]) * (G - Q[runs, s, a])
            n[runs, s, a] += counts
        walks.learned.episodes += [(i, episode + 1, float(G[i])) for i in range(config.runs)]
        learned = walks.keep(episode + 1, Q)
    return learned
