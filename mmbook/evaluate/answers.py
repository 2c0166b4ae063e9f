"""What answers to questions are like: how often they ask back, are right, and what they are worth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from mmbook.equations import log_prob
from mmbook.models.threads import one_thread
from mmbook.world import Scene, SceneBatch
from mmbook.world.questions import ANSWERS, ambiguous, answer_utility, asks, chance_right

if TYPE_CHECKING:
    from mmbook.models.vlm import VLM


def answered(
    scenes: Sequence[Scene], said: Sequence[str], price: float = 0.5, ell: float = 1.0
) -> dict[str, float]:
    """Means over one answer for each scene with a question; not a number where there is nothing to average.

    "asked_ambiguous" and "asked_clear" are shares of these questions that were asked back, "right" the share
    of right answers among clear questions that were answered, "lucky" the same for ambiguous ones, with the
    chance that a guess is right, and "utility" what all answers are worth. Raises ValueError for other
    numbers of answers.
    """
    if len(scenes) != len(said) or not said:
        raise ValueError(f"expected an answer for each scene, got {len(scenes)} scenes, {len(said)} answers")
    unclear = np.array([ambiguous(scene) for scene in scenes])
    back = np.array([asks(answer) for answer in said])
    right = np.array([chance_right(scene, answer) for scene, answer in zip(scenes, said, strict=True)])
    worth = [answer_utility(scene, answer, price, ell) for scene, answer in zip(scenes, said, strict=True)]
    groups = {
        "asked_ambiguous": back[unclear],
        "asked_clear": back[~unclear],
        "right": right[~unclear & ~back],
        "lucky": right[unclear & ~back],
    }
    means = {name: float(x.mean()) if len(x) else float("nan") for name, x in groups.items()}
    return means | {"utility": float(np.mean(worth))}


@torch.no_grad()
def answer_log_probs(model: VLM, scenes: SceneBatch | Sequence[Scene], rows: int = 32) -> Tensor:
    """Log-probabilities (N, A), at temperature 1, of all `ANSWERS`; what is missing to 1 is other text."""
    ids, mask = model.tokens(ANSWERS)
    found = []
    with one_thread():
        for start in range(0, len(scenes), rows):
            prefix = model.prefix(scenes[start : start + rows])
            some, m = ids.repeat(len(prefix), 1), mask.repeat(len(prefix), 1)
            states = model.states(prefix.repeat(len(ids), share=True), some)[:, :-1]
            log_p = (log_prob(model.logits(states), some) * m).sum(1)
            found.append(log_p.view(len(prefix), len(ids)))
    return torch.cat(found)


def answer_utilities(scenes: Sequence[Scene], **prices: Any) -> Tensor:
    """The utility (N, A) of all `ANSWERS` to each question."""
    return torch.tensor([[answer_utility(scene, answer, **prices) for answer in ANSWERS] for scene in scenes])
