"""What a model's captions are like, measured on scenes it has not seen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mmbook.world import TRAIN_ARTWORK, sample_scenes, score

if TYPE_CHECKING:
    from mmbook.models.vlm import VLM


def captions(
    model: VLM,
    scenes: int = 1024,
    seed: int = 1,
    temperature: float = 1.0,
    greedy: bool = False,
    artwork: Sequence[str] | str = TRAIN_ARTWORK,
) -> dict[str, Any]:
    """Sample one caption for each of `scenes` random scenes and average the truth checker's verdicts.

    Returns shares and means: "grammatical", "true" (every claim right), "full" (true and nothing left out),
    "coverage", "claim_precision", "utility", and "style": the share of all captions in each style.
    """
    batch = sample_scenes(scenes, seed, artwork)
    return score(model.sample(batch, temperature, seed, greedy), batch)
