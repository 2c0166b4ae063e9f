"""The best of n samples: no training, n times the sampling."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mmbook.feedback.items import whole_seed
from mmbook.models.threads import one_thread
from mmbook.rlhf.rewards import Reward
from mmbook.world import SceneBatch


@torch.no_grad()
def best_of_n(
    model: Any, reward: Reward, scenes: SceneBatch, n: int, seed: int = 0, temperature: float = 1.0
) -> tuple[list[str], Tensor]:
    """The first of n sampled captions of each scene with the highest reward, and the rewards of all (N, n).

    Raises ValueError for n < 1 or a reward that is not finite.
    """
    if isinstance(n, bool) or not isinstance(n, int) or n < 1:
        raise ValueError(f"n: expected a whole number, 1 or more, got {n!r}")
    captions = model.sample(scenes, temperature, whole_seed(seed), samples=n)
    with one_thread():
        R = torch.cat(
            [
                reward(
                    reward.trunk.prefix(scenes[i : i + 64]).repeat(n),
                    *reward.trunk.tokens(captions[i * n : (i + 64) * n]),
                    scenes[i : i + 64].repeat(n),
                )
                for i in range(0, len(scenes), 64)
            ]
        ).view(-1, n)
    if not R.isfinite().all():
        bad = int((~R.flatten().isfinite()).nonzero()[0])
        raise ValueError(f"reward: expected finite numbers, got {R.flatten()[bad]} for {captions[bad]!r}")
    return [captions[i * n + int(best)] for i, best in enumerate(R.argmax(1))], R
