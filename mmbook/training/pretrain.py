"""The recipe of the tiny model: first the tower learns what stands where, then, frozen, it is put into words.

`python -m mmbook pretrain --out FOLDER` runs it; the weights in the package are its result with seed 0.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers.utils import logging

from mmbook.models.build import PROMPT, build_tiny
from mmbook.models.threads import one_thread
from mmbook.models.vlm import VLM
from mmbook.training import Schedule, train
from mmbook.world import (
    HELD_OUT_ARTWORK,
    KINDS,
    TRAIN_ARTWORK,
    SceneBatch,
    careless_captions,
    render,
    sample_scenes,
    score,
)

TOWER = Schedule(steps=800, lr=2e-3, warmup=50, weight_decay=0.05)
CAPTIONS = Schedule(steps=2200, lr=3e-3, warmup=100, weight_decay=0.05)
BATCH = 64


def pixels(scenes: SceneBatch) -> Tensor:
    """Scenes as the model's input, float (B, 3, 48, 48) in [-1, 1]; equals what the processor gives."""
    return torch.from_numpy(render(scenes)).permute(0, 3, 1, 2).float().div(127.5).sub(1)


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
    model: VLM, seed: int, folder: Path | None = None, progress: bool = True, stop_at: int | None = None
) -> None:
    """Stage 1: the tower alone names the sticker and its size in each quarter."""
    tower = model.module.model.vision_tower

    def loss_at(step: int) -> Tensor:
        scenes = sample_scenes(BATCH, np.random.default_rng([seed, 1, step]))
        kinds, big, there = quarter_targets(scenes)
        kind_logits, big_logits = quarters(model, pixels(scenes))
        return F.cross_entropy(
            kind_logits.flatten(0, 1), kinds.flatten()
        ) + F.binary_cross_entropy_with_logits(big_logits[there], big[there])

    tower.requires_grad_(True)
    train(tower, loss_at, TOWER, folder=folder, name="tower", progress=progress, stop_at=stop_at)
    tower.requires_grad_(False)


def quarters(model: VLM, pictures: Tensor) -> tuple[Tensor, Tensor]:
    """The tower's logits for each quarter: kinds (B, 4, 33) and size (B, 4)."""
    return model.module.model.vision_tower.quarter_head(tower_tokens(model, pictures))


def tower_tokens(model: VLM, pictures: Tensor) -> Tensor:
    """The tower's tokens (B, 16, D) of the parts of pictures; a stock ViT's class token is left out."""
    tokens = model.module.model.vision_tower(pictures).last_hidden_state
    return tokens[:, -model.module.config.image_seq_length :]


def train_captions(
    model: VLM, seed: int, folder: Path | None = None, progress: bool = True, stop_at: int | None = None
) -> None:
    """Stage 2: with the tower frozen, projector and language model learn the careless writer's captions."""
    parts = torch.nn.ModuleList([model.module.model.multi_modal_projector, model.module.model.language_model])
    prompt = model.tokenizer(
        model.prompt.replace("<image>", ""), add_special_tokens=False, return_tensors="pt"
    )["input_ids"]
    embed = model.module.get_input_embeddings()
    start = torch.tensor([[model.tokenizer.bos_token_id]])

    def loss_at(step: int) -> Tensor:
        rng = np.random.default_rng([seed, 2, step])
        scenes = sample_scenes(BATCH, rng)
        ids, mask = model.tokens(careless_captions(scenes, rng))
        with torch.no_grad():
            seen = tower_tokens(model, pixels(scenes))
        picture = model.module.model.multi_modal_projector(seen)
        words = embed(torch.cat([prompt.expand(BATCH, -1), ids], 1))
        embeds = torch.cat([embed(start).expand(BATCH, -1, -1), picture, words], 1)
        states = model.decoder(inputs_embeds=embeds, use_cache=False).last_hidden_state[
            :, -ids.shape[1] - 1 : -1
        ]
        return F.cross_entropy(model.logits(states)[mask.bool()], ids[mask.bool()])

    parts.requires_grad_(True)
    train(parts, loss_at, CAPTIONS, folder=folder, name="captions", progress=progress, stop_at=stop_at)
    parts.requires_grad_(False)


@torch.no_grad()
def tower_accuracy(model: VLM, artwork: Sequence[str] | str, seed: int, scenes: int = 1024) -> float:
    """The share of stickers whose kind the tower names in the right quarter."""
    batch = sample_scenes(scenes, seed, artwork)
    kinds, _, there = quarter_targets(batch)
    with one_thread():
        return (quarters(model, pixels(batch))[0].argmax(-1) == kinds)[there].float().mean().item()


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


def pretrain(seed: int = 0, folder: Path | None = None, tower: str = "stem", progress: bool = True) -> VLM:
    """Both stages from nothing; checkpoints in `folder` let an interrupted run go on."""
    module, processor = build_tiny(seed, tower)
    model = VLM(module, processor, PROMPT)
    folder = folder and folder / f"{tower}-{seed}"  # another seed or tower never goes on from this one
    train_tower(model, seed, folder, progress)
    train_captions(model, seed, folder, progress)
    return model


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="mmbook pretrain", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for the finished model")
    parser.add_argument(
        "--checkpoints", type=Path, help="folder for checkpoints; a second call resumes from them"
    )
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    logging.disable_progress_bar()
    start = time.process_time()
    model = pretrain(options.seed, options.checkpoints)
    seconds = time.process_time() - start
    model.save(options.out)
    metrics = {
        "seed": options.seed,
        "cpu_seconds": round(seconds),
        "parameters": model.module.num_parameters(),
        "weights": model.hash,
        "evaluation_seed": 1,
        "evaluation_scenes": 1024,
        **measure(model, seed=1),
    }
    (options.out / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(metrics, indent=1))
