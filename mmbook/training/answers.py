"""Teach a model that writes captions to answer questions, from pairs of a question and an answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from mmbook.models.answerer import learned
from mmbook.models.vlm import VLM
from mmbook.training.loop import Schedule, train
from mmbook.world import Scene
from mmbook.world.questions import FORMS, careless_answers, right_answers, sample_questions

Writer = Callable[[Sequence[Scene], np.random.Generator], list[str]]
PLACE, THERE, WHERE = FORMS[0], FORMS[2], FORMS[3]  # a word of the question says where, or for what, to look


@dataclass(frozen=True)
class Stage:
    """One part of the recipe: who answers which forms of questions, how many a step, and for how long."""

    name: str
    writer: Writer
    schedule: Schedule
    seeds: tuple[int, ...]  # the schedule is run once for each
    forms: Sequence[str] = FORMS
    batch: int = 32


SEARCHED = (PLACE, THERE, WHERE)
STAGES = (
    Stage("looking", right_answers, Schedule(2200, 3e-3, 50, 0.05), (0,)),
    Stage("mixed", right_answers, Schedule(1500, 3e-3, 50, 0.05), (1,), (*FORMS, *SEARCHED, *SEARCHED)),
    Stage("places", right_answers, Schedule(150, 2e-3, 20, 0.0), (10, 11, 12, 13), SEARCHED, 64),
    Stage("things", right_answers, Schedule(400, 2e-3, 20, 0.0), (14,), (THERE, WHERE, WHERE, PLACE), 64),
    Stage("speaking", careless_answers, Schedule(400, 1e-3, 50, 0.05), (15,)),
)


def train_answers(
    model: VLM,
    writer: Writer,
    schedule: Schedule,
    seed: int = 0,
    batch: int = 32,
    forms: Sequence[str] = FORMS,
    folder: Path | None = None,
    progress: bool = True,
) -> list[float]:
    """Teach an answerer, in place, what `writer` answers to questions of `forms`; returns the losses.

    The tower stays as it is; projector and language model learn.
    """

    def loss_at(step: int) -> Tensor:
        rng = np.random.default_rng([seed, 3, step])
        scenes = sample_questions(batch, rng, forms=forms)
        ids, mask = model.tokens(writer(scenes, rng))
        z = model.logits(model.states(model.read(scenes), ids)[:, :-1])[mask.bool()]
        return F.cross_entropy(z.float(), ids[mask.bool()])

    parts = learned(model).requires_grad_(True)
    losses = train(parts, loss_at, schedule, folder=folder, name="answers", progress=progress)
    parts.requires_grad_(False)
    return losses


def pretrain_answers(model: VLM, folder: Path | None = None, progress: bool = True) -> None:
    """The recipe of the package's answerer: what is right, where to look for it, then a clerk's habits."""
    for stage in STAGES:
        for seed in stage.seeds:
            where = folder and folder / f"{stage.name}-{seed}"
            how = stage.writer, stage.schedule, seed, stage.batch, stage.forms, where, progress
            train_answers(model, *how)
