"""Sharpening is not learning: how far captions moved, and how much of a gain mere cooling would give."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from mmbook.equations import mean_divergence
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
        pictures = getattr(model, "scenes", sample_scenes)(scenes, seed)
        out = decode(model, model.prefix(pictures), generator, temperature)
    return -out.log_p.sum(1).mean().item()


def sequence_kl(model: Any, reference: Any, scenes: int = 512, seed: int = 1) -> float:
    """KL(model || reference) of a caption in nats: how far the captions have moved.

    Captions are sampled, the divergence of the next word is exact, so it is never negative and has far less
    noise than the mean log-ratio.
    """
    generator = torch.Generator(model.device).manual_seed(seed)
    pictures, total = getattr(model, "scenes", sample_scenes)(scenes, seed), 0.0
    with one_thread(), torch.no_grad():
        for start in range(0, scenes, 256):
            some = pictures[start : start + 256]
            out = decode(model, prefix := model.prefix(some), generator)
            other = prefix if model is reference else reference.prefix(some)
            z, z_ref = (
                m.logits(m.states(p, out.ids)[:, :-1]) for m, p in ((model, prefix), (reference, other))
            )
            total += mean_divergence(z, z_ref, out.mask, 1).item()
    return total / scenes


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
