"""The recipe of our own models: first the tower learns what stands where, then, frozen, it is put into words.

`python -m mmbook pretrain --out FOLDER` runs it; the weights in the package are its result with seed 0.
`--preset medium` is the same recipe for 78 million parameters, and wants a GPU.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers.utils import logging

from mmbook.models.build import MEDIUM, PROMPT, TINY, Shape, build
from mmbook.models.load import native_dtype
from mmbook.models.threads import one_thread
from mmbook.models.vlm import VLM
from mmbook.training import Schedule, train
from mmbook.world import (
    HELD_OUT_ARTWORK,
    KINDS,
    SIDE,
    TRAIN_ARTWORK,
    SceneBatch,
    careless_captions,
    render,
    sample_scenes,
    score,
)
from mmbook.world.fetch import data_folder

TOWER = Schedule(steps=800, lr=2e-3, warmup=50, weight_decay=0.05)
CAPTIONS = Schedule(steps=2200, lr=3e-3, warmup=100, weight_decay=0.05)
BATCH = 64
EVERY = 100


@dataclass(frozen=True)
class Recipe:
    """How a model is made, by default the tiny one: its shape, two schedules, scenes a step, steps a save."""

    shape: Shape = TINY
    tower: Schedule = field(default_factory=lambda: TOWER)
    captions: Schedule = field(default_factory=lambda: CAPTIONS)
    batch: int = field(default_factory=lambda: BATCH)
    every: int = field(default_factory=lambda: EVERY)


RECIPES: dict[str, Callable[[], Recipe]] = {
    "tiny": Recipe,
    "medium": lambda: Recipe(
        MEDIUM,
        tower=Schedule(steps=2000, lr=5e-4, warmup=100, weight_decay=0.05),
        captions=Schedule(steps=5000, lr=5e-4, warmup=200, weight_decay=0.05),
        batch=128,
        every=1000,
    ),
}


def pixels(scenes: SceneBatch, size: int = SIDE, device: torch.device | str = "cpu") -> Tensor:
    """Scenes as the model's input, float (B, 3, size, size) in [-1, 1]; equals what the processor gives."""
    drawn = torch.from_numpy(render(scenes, size)).to(device)
    return drawn.permute(0, 3, 1, 2).float().div(127.5).sub(1)


def bf16(device: torch.device) -> torch.autocast:
    """Products in bfloat16 on a card that has it."""
    return torch.autocast(device.type, torch.bfloat16, enabled=native_dtype(device) == torch.bfloat16)


def quarter_targets(scenes: SceneBatch) -> tuple[Tensor, Tensor, Tensor]:
    """For each quarter (B, 4): the kind (`len(KINDS)` for nothing), big or not, filled or not."""
    kind = np.full((len(scenes), 4), len(KINDS))
    big = np.zeros((len(scenes), 4), np.float32)
    row, column = np.nonzero(scenes.kind >= 0)
    quarter = scenes.quarter[row, column]
    kind[row, quarter], big[row, quarter] = scenes.kind[row, column], scenes.big[row, column]
    kinds = torch.from_numpy(kind)
    return kinds, torch.from_numpy(big), kinds < len(KINDS)


def train_tower(
    model: VLM,
    seed: int,
    folder: Path | None = None,
    progress: bool = True,
    stop_at: int | None = None,
    recipe: Recipe | None = None,
) -> None:
    """Stage 1: the tower alone names the sticker and its size in each quarter."""
    tower, recipe = model.module.model.vision_tower, recipe or Recipe()

    def loss_at(step: int) -> Tensor:
        scenes = sample_scenes(recipe.batch, np.random.default_rng([seed, 1, step]))
        kinds, big, there = (target.to(model.device) for target in quarter_targets(scenes))
        with bf16(model.device):
            kind_logits, big_logits = quarters(model, scenes)
        return F.cross_entropy(
            kind_logits.float().flatten(0, 1), kinds.flatten()
        ) + F.binary_cross_entropy_with_logits(big_logits.float()[there], big[there])

    tower.requires_grad_(True)
    how: dict = dict(folder=folder, every=recipe.every, progress=progress, stop_at=stop_at)
    train(tower, loss_at, recipe.tower, name="tower", **how)
    tower.requires_grad_(False)


def quarters(model: VLM, scenes: SceneBatch) -> tuple[Tensor, Tensor]:
    """The tower's logits for each quarter: kinds (B, 4, 33) and size (B, 4)."""
    pictures = pixels(scenes, model.picture_size, model.device)
    return model.module.model.vision_tower.quarter_head(tower_tokens(model, pictures))


def tower_tokens(model: VLM, pictures: Tensor) -> Tensor:
    """The tower's tokens (B, I, D) of the parts of pictures; a stock ViT's class token is left out."""
    tokens = model.module.model.vision_tower(pictures).last_hidden_state
    return tokens[:, -model.module.config.image_seq_length :]


def train_captions(
    model: VLM,
    seed: int,
    folder: Path | None = None,
    progress: bool = True,
    stop_at: int | None = None,
    recipe: Recipe | None = None,
) -> None:
    """Stage 2: with the tower frozen, projector and language model learn the careless writer's captions."""
    recipe = recipe or Recipe()
    parts = torch.nn.ModuleList([model.module.model.multi_modal_projector, model.module.model.language_model])
    prompt = model.tokenizer(
        model.prompt.replace("<image>", ""), add_special_tokens=False, return_tensors="pt"
    )["input_ids"].to(model.device)
    embed = model.module.get_input_embeddings()
    start = torch.tensor([[model.tokenizer.bos_token_id]], device=model.device)

    def loss_at(step: int) -> Tensor:
        rng = np.random.default_rng([seed, 2, step])
        scenes = sample_scenes(recipe.batch, rng)
        ids, mask = model.tokens(careless_captions(scenes, rng))
        with bf16(model.device):
            with torch.no_grad():
                seen = tower_tokens(model, pixels(scenes, model.picture_size, model.device))
            picture = model.module.model.multi_modal_projector(seen)
            words = embed(torch.cat([prompt.expand(recipe.batch, -1), ids], 1))
            embeds = torch.cat([embed(start).expand(recipe.batch, -1, -1), picture, words], 1)
            states = model.decoder(inputs_embeds=embeds, use_cache=False).last_hidden_state[
                :, -ids.shape[1] - 1 : -1
            ]
            z = model.logits(states)[mask.bool()]
        return F.cross_entropy(z.float(), ids[mask.bool()])

    parts.requires_grad_(True)
    how: dict = dict(folder=folder, every=recipe.every, progress=progress, stop_at=stop_at)
    train(parts, loss_at, recipe.captions, name="captions", **how)
    parts.requires_grad_(False)


@torch.no_grad()
def tower_accuracy(model: VLM, artwork: Sequence[str] | str, seed: int, scenes: int = 1024) -> float:
    """The share of stickers whose kind the tower names in the right quarter."""
    batch = sample_scenes(scenes, seed, artwork)
    kinds, _, there = quarter_targets(batch)
    with one_thread():
        named = quarters(model, batch)[0].argmax(-1).cpu()
    return (named == kinds)[there].float().mean().item()


def measure(model: VLM, seed: int, scenes: int = 1024) -> dict:
    """Tower accuracy and caption metrics, at temperature 1 and greedy, on seen and on held-out artwork."""
    out: dict = {}
    for name, artwork in (("seen", TRAIN_ARTWORK), ("held_out", (HELD_OUT_ARTWORK,))):
        batch = sample_scenes(scenes, seed, artwork)
        out[name] = {
            "tower": tower_accuracy(model, artwork, seed, scenes),
            "sampled": score(model.sample(batch, seed=seed), batch),
            "greedy": score(model.sample(batch, greedy=True), batch),
        }
    return out


def pretrain(
    seed: int = 0,
    folder: Path | None = None,
    tower: str = "stem",
    progress: bool = True,
    recipe: Recipe | None = None,
    device: torch.device | str = "cpu",
) -> VLM:
    """Both stages from nothing; checkpoints in `folder` let an interrupted run go on."""
    recipe = recipe or Recipe()
    module, processor = build(recipe.shape, seed, tower)
    model = VLM(module.to(device), processor, PROMPT, recipe.shape.picture)
    folder = folder and folder / f"{tower}-{seed}"  # another seed or tower never goes on from this one
    train_tower(model, seed, folder, progress, recipe=recipe)
    train_captions(model, seed, folder, progress, recipe=recipe)
    return model


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="mmbook pretrain", description=__doc__)
    parser.add_argument("--preset", choices=RECIPES, default="tiny")
    parser.add_argument(
        "--out", type=Path, help="folder for the finished model; by default where its preset is looked for"
    )
    parser.add_argument(
        "--checkpoints", type=Path, help="folder for checkpoints; a second call resumes from them"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", help="by default cuda for medium, cpu for tiny")
    options = parser.parse_args(arguments)
    device = options.device or ("cuda" if options.preset == "medium" else "cpu")
    if device.startswith("cuda") and not torch.cuda.is_available():
        parser.error("--device: expected one that is here, got cuda without a GPU; cpu takes days for medium")
    out = options.out or data_folder() / options.preset
    logging.disable_progress_bar()
    start, began = time.process_time(), time.perf_counter()
    recipe = RECIPES[options.preset]()
    model = pretrain(options.seed, options.checkpoints, recipe=recipe, device=device)
    seconds, waited = time.process_time() - start, time.perf_counter() - began
    model.save(out)
    metrics = {
        "seed": options.seed,
        "cpu_seconds": round(seconds),
        "seconds": round(waited),
        "device": device,
        "parameters": model.module.num_parameters(),
        "weights": model.hash,
        "evaluation_seed": 1,
        "evaluation_scenes": 1024,
        **measure(model, seed=1),
    }
    (out / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(metrics, indent=1))
