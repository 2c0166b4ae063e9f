"""Sharpening is not learning: how much of a gain a mere change of temperature would have given."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from mmbook.evaluate.captions import captions
from mmbook.models.decoding import decode
from mmbook.models.threads import one_thread
from mmbook.world import sample_scenes

if TYPE_CHECKING:
    from mmbook.models.vlm import VLM


def sequence_entropy(model: VLM, temperature: float = 1.0, scenes: int = 512, seed: int = 1) -> float:
    """Entropy of a caption in nats, averaged over scenes: the mean of -log p of sampled captions."""
    generator = torch.Generator(model.device).manual_seed(seed)
    with one_thread():
        out = decode(model, model.prefix(sample_scenes(scenes, seed)), generator, temperature)
    return -out.log_p.sum(1).mean().item()


def matched_temperature(base: VLM, tuned: VLM, scenes: int = 512, seed: int = 1, rounds: int = 8) -> float:
    """The temperature at which `base` is as random as `tuned` at 1, by bisection between 0.02 and 1.5."""
    wanted = sequence_entropy(tuned, 1.0, scenes, seed)
    low, high = 0.02, 1.5
    for _ in range(rounds):
        middle = (low + high) / 2
        low, high = (middle, high) if sequence_entropy(base, middle, scenes, seed) < wanted else (low, middle)
    return (low + high) / 2


def sharpening_rows(base: VLM, tuned: VLM, scenes: int = 1024, seed: int = 1) -> dict[str, dict[str, Any]]:
    """The rows of every results table: base at temperature 1, greedy, at the tuned model's entropy; tuned."""
    temperature = matched_temperature(base, tuned, seed=seed)
    return {
        "base": captions(base, scenes, seed),
        "base greedy": captions(base, scenes, seed, greedy=True),
        "base matched": {**captions(base, scenes, seed, temperature), "temperature": temperature},
        "tuned": captions(tuned, scenes, seed),
        "tuned greedy": captions(tuned, scenes, seed, greedy=True),
    }
