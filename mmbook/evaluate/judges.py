"""Judge models: a simulated one with the biases that are known of them, and what shows a bias."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.special import expit

from mmbook.equations import log_prob, masked_mean
from mmbook.models.threads import one_thread
from mmbook.world import Scene, check, normalise, parse, say
from mmbook.world.scenes import Seed, generator

if TYPE_CHECKING:
    from mmbook.models.vlm import VLM


class Judge:
    """A model that is asked which of two captions is better, and always chooses.

    The first has probability sigmoid(bt (utility + length words + own log p) + position), each a difference
    of first and second but the last: `position` is the lead of whatever is shown first, `length` what a word
    is worth, `own` what a nat a word of likelihood under `model` is worth, which is that model's own taste.
    Raises ValueError for `own` without a model.
    """

    def __init__(
        self,
        seed: Seed = 0,
        bt: float = 1.0,
        position: float = 0.0,
        length: float = 0.0,
        own: float = 0.0,
        model: VLM | None = None,
    ) -> None:
        if own and model is None:
            raise ValueError("model: expected the model whose captions this judge likes, got None")
        self.bt, self.position, self.length, self.own, self.model = bt, position, length, own, model
        self.name, self._rng = "judge", generator(seed, "judge")

    def worth(self, scene: Scene, captions: Sequence[str]) -> np.ndarray:
        """What captions are worth to this judge (n,), whichever is shown first."""
        worth = np.array(
            [check(c, scene).utility + self.length * len(normalise(c).split()) for c in captions]
        )
        return worth + self.own * self._likelihood(scene, captions) if self.own else worth

    @torch.no_grad()
    def _likelihood(self, scene: Scene, captions: Sequence[str]) -> np.ndarray:
        """Mean log p (n,) of a word under the judge's own model."""
        assert self.model is not None
        with one_thread():
            ids, m = self.model.tokens(captions)
            states = self.model.states(self.model.prefix([scene]).repeat(len(captions)), ids)[:, :-1]
            log_p = log_prob(self.model.logits(states), ids)
            return np.array([masked_mean(x[None], k[None]).item() for x, k in zip(log_p, m, strict=True)])

    def probability(self, scene: Scene, captions: Sequence[str]) -> float:
        """That the caption shown first is chosen."""
        first, second = self.worth(scene, captions)
        return float(expit(self.bt * (first - second) + self.position))

    def __call__(self, scene: Scene, captions: Sequence[str]) -> int:
        return int(self._rng.random() >= self.probability(scene, captions))


def restyled(caption: str, style: str) -> str | None:
    """The same claims, and no other, in another style; None where the two styles cannot claim the same."""
    statement = parse(caption)
    if statement is None or {statement.style, style} & {"detailed", "relation"}:
        return None
    return say(replace(statement, style=style))


def position_bias(both: np.ndarray) -> dict[str, float]:
    """What wins (n, 2) of `both_ways` say of position.

    "first" is the share of choices that fell on what was shown first, "changed" the share of pairs that were
    judged differently in the other order. Raises ValueError where all are ties.
    """
    both = np.asarray(both, float)
    first = np.concatenate([both[:, 0], 1 - both[:, 1]])
    if not (chosen := first[first != 0.5]).size:
        raise ValueError("both: expected a choice or more, got ties only")
    return {"first": float(chosen.mean()), "changed": float((both[:, 0] != both[:, 1]).mean())}
