"""Distillation: a small model learns what a large one would say next, on the large one's own captions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from mmbook.equations import distillation_loss
from mmbook.models.decoding import decode
from mmbook.models.vlm import VLM
from mmbook.training.loop import Schedule, train
from mmbook.world import SceneBatch, sample_scenes


def distil(
    teacher: VLM,
    student: VLM,
    steps: int = 300,
    batch: int = 64,
    lr: float = 2e-3,
    seed: int = 0,
    scenes: Callable[[int, np.random.Generator], SceneBatch] = sample_scenes,
    progress: bool = True,
) -> VLM:
    """Train the language model of `student` until it continues captions as `teacher` does; returns it.

    Each step samples `batch` captions from the teacher and lowers {eq}`eq:distillation` on them. The student
    must read the same pictures and words; its `history` then has a row a step: "kl" (nats a token).
    Raises ValueError for another vocabulary. Source: {cite}`hinton2015distilling`, {cite}`kim2016sequence`.
    """
    if student.tokenizer.get_vocab() != teacher.tokenizer.get_vocab():
        raise ValueError("student: expected one with its teacher's vocabulary, got another one")

    def loss_at(step: int) -> Tensor:
        rng = np.random.default_rng((seed, step))
        pictures = scenes(batch, rng)
        with torch.no_grad():
            prefix = teacher.prefix(pictures)
            draw = torch.Generator(teacher.device).manual_seed(int(rng.integers(2**31)))
            said = decode(teacher, prefix, draw)
            z_teacher = teacher.logits(teacher.states(prefix, said.ids)[:, :-1])
        z = student.logits(student.states(student.prefix(pictures), said.ids)[:, :-1])
        return distillation_loss(z_teacher, z, said.mask)

    student.decoder.layers.requires_grad_(True)
    schedule = Schedule(steps, lr, warmup=min(20, steps), weight_decay=0.0)
    losses = train(student.module, loss_at, schedule, name="distil", progress=progress)
    student.module.requires_grad_(False)
    student.history = [{"kl": loss} for loss in losses]
    return student
