"""What a model's captions are like, measured on scenes it has not seen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mmbook.world import TRAIN_ARTWORK, Scene, sample_scenes, score

if TYPE_CHECKING:
    from mmbook.models.vlm import VLM


def captions(
    model: VLM,
    scenes: int | Sequence[Scene] = 1024,
    seed: int = 1,
    temperature: float = 1.0,
    greedy: bool = False,
    artwork: Sequence[str] | str = TRAIN_ARTWORK,
) -> dict[str, Any]:
    """Sample one caption for each of `scenes`, given or drawn at random, and average the checker's verdicts.

    Returns shares and means: "grammatical", "true" (every claim right), "full" (true and nothing left out),
    "coverage", "claim_precision", "utility", and "style": the share of all captions in each style. Raises
    ValueError when there is no scene.
    """
    if isinstance(scenes, int):
        scenes = sample_scenes(scenes, seed, artwork)
    if not len(scenes):
        raise ValueError("scenes: expected one scene or more, got none")
    return score(model.sample(scenes, temperature, seed, greedy), scenes)
