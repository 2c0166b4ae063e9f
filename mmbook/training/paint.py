"""The recipe of the painter: codes of pictures are learned first, then, fixed, put after captions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mmbook.equations import nearest_code
from mmbook.models.painter import Painter
from mmbook.models.vq import SceneVQ, to_quarters
from mmbook.training.loop import Schedule, train
from mmbook.world import render, sample_scenes

ARTWORK = ("noto",)  # what the painter learns to draw
CODEBOOK = Schedule(steps=1800, lr=3e-3, warmup=50, weight_decay=0.0)
PAINTING = Schedule(steps=1500, lr=3e-3, warmup=100, weight_decay=0.05)
SCENES, BATCH = 48, 64  # of a step of the first stage, of the second
RESTART = 50  # steps after which a code that nothing chose is put where a vector is


def filled(x: Tensor) -> Tensor:
    """Which quarters (Q, 3, 24, 24) have anything in them."""
    return (x - x[:, :, :1, :1]).abs().amax((1, 2, 3)) > 0.02


def train_codes(
    vq: SceneVQ, seed: int, schedule: Schedule = CODEBOOK, folder: Path | None = None, progress: bool = True
) -> list[float]:
    """Stage 1: quarters are drawn from nine codes each; codes out of use begin anew. Returns the losses."""

    def draw(scenes: int, rng: np.random.Generator) -> Tensor:
        x = to_quarters(render(sample_scenes(scenes, rng, ARTWORK)))
        keep = filled(x)
        keep[:4] = True  # some empty ones too
        return x[keep]

    def loss_at(step: int) -> Tensor:
        rng = np.random.default_rng([seed, 3, step])
        if step % RESTART == 0 and step < 0.7 * schedule.steps:
            with torch.no_grad():
                vectors = vq.vectors(draw(4 * SCENES, rng)).flatten(0, 1)
            used = torch.bincount(nearest_code(vectors, vq.codebook.detach()), minlength=len(vq.codebook))
            dead = ((used == 0) | (step == 0)).nonzero().squeeze(1)
            vq.codebook.data[dead] = vectors[torch.from_numpy(rng.choice(len(vectors), len(dead)))]
        return vq.loss(draw(SCENES, rng))

    vq.requires_grad_(True)
    losses = train(vq, loss_at, schedule, folder=folder, name="codes", progress=progress)
    vq.requires_grad_(False)
    return losses


def train_painter(
    painter: Painter,
    seed: int,
    schedule: Schedule = PAINTING,
    folder: Path | None = None,
    progress: bool = True,
) -> list[float]:
    """Stage 2: the language model learns which codes follow a caption. Returns the losses, nats a code."""

    def loss_at(step: int) -> Tensor:
        scenes = sample_scenes(BATCH, np.random.default_rng([seed, 4, step]), ARTWORK)
        ids, mask = painter.tokens(painter.words(render(scenes)))
        states = painter.states(painter.prefix(scenes), ids)[:, :-1]
        return F.cross_entropy(painter.logits(states)[mask.bool()], ids[mask.bool()])

    painter.module.requires_grad_(True)
    losses = train(painter.module, loss_at, schedule, folder=folder, name="painter", progress=progress)
    painter.module.requires_grad_(False)
    return losses


def learn_to_paint(seed: int = 0, folder: Path | None = None, progress: bool = True) -> Painter:
    """Both stages from nothing; checkpoints in `folder` let an interrupted run go on."""
    painter = Painter.new(seed)
    train_codes(painter.vq, seed, folder=folder, progress=progress)
    train_painter(painter, seed, folder=folder, progress=progress)
    return painter
