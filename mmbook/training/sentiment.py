"""Train a fusion model on constructed people, and count its right answers with all or some modalities."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmbook.equations._arguments import check_range
from mmbook.models.encoders import Encoded
from mmbook.models.fusion import FusionModel
from mmbook.models.threads import one_thread
from mmbook.training.loop import Schedule, train
from mmbook.world.scenes import generator
from mmbook.world.sentiment import MODALITIES, Utterances

RECIPE = Schedule(steps=600, lr=4e-3, warmup=30)  # encoders and fusion together
HEAD_RECIPE = Schedule(steps=300, lr=4e-3, warmup=30)  # the fusion alone, on encoders that stay


def tensors(data: Any) -> dict[str, Tensor]:
    """What each modality shows, by name; `data` are utterances, or others with `modalities` and a `label`."""
    return {name: torch.from_numpy(getattr(data, name)) for name in data.modalities}


def drop_modalities(n: int, drop: float, rng: np.random.Generator, count: int = 3) -> Tensor:
    """A mask (n, count): each modality is missing with probability `drop`, but never all of them."""
    check_range("drop", drop, 0, 1, open_low=False)
    there = rng.random((n, count)) >= drop
    empty = ~there.any(1)
    there[empty, rng.integers(count, size=empty.sum())] = True
    return torch.from_numpy(there.astype(np.float32))


@torch.no_grad()
def see(model: FusionModel, data: Any) -> list[Encoded]:
    """What the model's encoders say of all the data, for `fit` and `answers` to start from."""
    inputs, parts, device = tensors(data), [], next(model.parameters()).device
    with one_thread():
        for rows in torch.arange(len(data)).split(500):
            parts.append(model.eval().encode({name: x[rows].to(device) for name, x in inputs.items()}))
    return [Encoded(*map(torch.cat, zip(*one, strict=True))) for one in zip(*parts, strict=True)]


def fit(
    model: FusionModel,
    data: Any,
    seed: int,
    schedule: Schedule = RECIPE,
    drop: float = 0.0,
    seen: Sequence[Encoded] | None = None,
    batch: int = 64,
) -> list[float]:
    """Train the model in place; returns the losses. `drop` is the chance to hide a modality.

    With `seen`, what encoders say of the data, only the fusion learns; without it, all of the model does.
    """
    device = next(model.parameters()).device
    inputs, label = tensors(data), torch.from_numpy(data.label).to(device)

    def loss_at(step: int) -> Tensor:
        rng = generator(seed, f"fit {step}")
        rows = torch.from_numpy(rng.integers(len(data), size=batch))
        there = drop_modalities(batch, drop, rng).to(device)
        if seen is None:
            return model.loss({name: x[rows].to(device) for name, x in inputs.items()}, label[rows], there)
        return model.fusion.loss([Encoded(*(x[rows] for x in one)) for one in seen], there, label[rows])

    model.train()
    losses = train(model if seen is None else model.fusion, loss_at, schedule, progress=False)
    model.eval()
    return losses


@torch.no_grad()
def answers(
    model: FusionModel,
    data: Utterances,
    shown: Collection[str] = MODALITIES,
    seen: Sequence[Encoded] | None = None,
) -> np.ndarray:
    """The label (N,) that the model finds likeliest when only some modalities are shown.

    Raises ValueError for none, or for a name that is no modality.
    """
    if not shown or not set(shown) <= set(MODALITIES):
        raise ValueError(f"shown: expected some of {', '.join(MODALITIES)}, got {shown!r}")
    seen = see(model, data) if seen is None else seen
    there = seen[0].pooled.new_tensor([[float(name in shown) for name in MODALITIES]])
    with one_thread():
        parts = [
            model.fusion([Encoded(*(x[rows] for x in one)) for one in seen], there.expand(len(rows), -1))
            for rows in torch.arange(len(data)).split(500)
        ]
    return torch.cat(parts).argmax(-1).cpu().numpy()


def accuracy(
    model: FusionModel,
    data: Utterances,
    shown: Collection[str] = MODALITIES,
    seen: Sequence[Encoded] | None = None,
) -> float:
    """The share of right answers."""
    return float((answers(model, data, shown, seen) == data.label).mean())
