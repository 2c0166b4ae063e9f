"""Two learners in a game that is a table: what one wins, the other loses."""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import linprog
from torch import Tensor

from mmbook.equations import regret_matching


def nash(A: Tensor) -> tuple[Tensor, float]:
    """The first player's strategy (I,) at an equilibrium of the game A (I, J), and what it wins on average.

    Solved as a linear program: the largest v such that every answer leaves at least v.
    """
    I, J = A.shape
    at_least = np.hstack([-A.T.double().numpy(), np.ones((J, 1))])  # v - (x A)_j <= 0
    whole = np.append(np.ones(I), 0.0)[None]
    bounds = [(0, None)] * I + [(None, None)]
    found = linprog(np.append(np.zeros(I), -1.0), at_least, np.zeros(J), whole, [1.0], bounds)
    return torch.tensor(found.x[:-1]), float(found.x[-1])


def play(A: Tensor, steps: int, lr: float | None = None, seed: int = 0) -> tuple[Tensor, Tensor]:
    """The strategies (steps, I) and (steps, J) of two learners who see each other's and learn at once.

    With `lr` both follow the policy gradient in the logits of a softmax; without, both match their regrets.
    Both begin at random.
    """
    policy = regret_matching if lr is None else lambda z: z.softmax(-1)
    generator = torch.Generator().manual_seed(seed)
    z = [torch.randn(n, generator=generator, dtype=torch.float64) for n in A.shape]
    played = []
    for _ in range(steps):
        x, y = policy(z[0]), policy(z[1])
        played.append((x, y))
        for i, (p, u) in enumerate([(x, A.double() @ y), (y, -(x @ A.double()))]):
            regret = u - p @ u
            z[i] = z[i] + (regret if lr is None else lr * p * regret)
    xs, ys = zip(*played, strict=True)
    return torch.stack(xs), torch.stack(ys)
