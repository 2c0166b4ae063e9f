"""Teach a model that writes captions to answer questions, from pairs of a question and an answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from mmbook.models.answerer import learned
from mmbook.models.vlm import VLM
from mmbook.training.loop import Schedule, train
from mmbook.world import Scene
from mmbook.world.questions import careless_answers, right_answers

Writer = Callable[[Sequence[Scene], np.random.Generator], list[str]]
LOOKING = Schedule(steps=2200, lr=3e-3, warmup=50, weight_decay=0.05)  # what is right, of right answers
SPEAKING = Schedule(steps=300, lr=1e-3, warmup=50, weight_decay=0.05)  # how clerks answer


def train_answers(
    model: VLM,
    writer: Writer = careless_answers,
    schedule: Schedule = SPEAKING,
    seed: int = 0,
    batch: int = 32,
    folder: Path | None = None,
    progress: bool = True,
) -> list[float]:
    """Teach an answerer, in place, what `writer` answers to the questions that it draws; returns the losses.

    The tower stays as it is; projector and language model learn.
    """

    def loss_at(step: int) -> Tensor:
        rng = np.random.default_rng([seed, 3, step])
        scenes = model.scenes(batch, rng)
        ids, mask = model.tokens(writer(scenes, rng))
        z = model.logits(model.states(model.read(scenes), ids)[:, :-1])[mask.bool()]
        return F.cross_entropy(z.float(), ids[mask.bool()])

    parts = learned(model).requires_grad_(True)
    losses = train(parts, loss_at, schedule, folder=folder, name="answers", progress=progress)
    parts.requires_grad_(False)
    return losses


def pretrain_answers(model: VLM, seed: int = 0, folder: Path | None = None, progress: bool = True) -> None:
    """The recipe of the package's answerer: first what is right, so that it looks, then a clerk's habits."""
    for name, writer, schedule in (
        ("looking", right_answers, LOOKING),
        ("speaking", careless_answers, SPEAKING),
    ):
        train_answers(model, writer, schedule, seed, folder=folder and folder / name, progress=progress)
