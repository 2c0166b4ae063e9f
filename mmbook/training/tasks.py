"""Several losses at once on constructed people, when to stop, and a search over settings."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmbook.equations import adversarial_step, clip_loss, similarity, uncertainty_loss
from mmbook.models.fusion import build_sentiment, everything
from mmbook.models.threads import one_thread
from mmbook.training.loop import Schedule, train
from mmbook.training.sentiment import tensors
from mmbook.world.scenes import generator
from mmbook.world.sentiment import MODALITIES, Utterances

Setting = TypeVar("Setting")
VOICE, WORDS = MODALITIES.index("voice"), MODALITIES.index("words")


class Tasks(nn.Module):
    """The sentiment classifier with a head on each encoder: a loss for the whole, one for each modality.

    `weights` of these four are fixed, or None for weights that are learned with the rest, from uncertainty.
    Raises ValueError for another number of weights.
    """

    def __init__(
        self, fusion: str, seed: int, weights: Sequence[float] | None = (1, 0, 0, 0), width: int = 32
    ) -> None:
        super().__init__()
        if weights is not None and len(weights) != 1 + len(MODALITIES):
            raise ValueError(f"weights: expected {1 + len(MODALITIES)}, the whole and each, got {weights}")
        self.model = build_sentiment(fusion, seed, width)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.heads = nn.ModuleList(nn.Linear(width, 2) for _ in MODALITIES)
        self.s = nn.Parameter(torch.zeros(1 + len(MODALITIES)), requires_grad=weights is None)
        self.weights = None if weights is None else torch.tensor(weights)

    def losses(
        self, inputs: dict[str, Tensor], label: Tensor, targets: Tensor, contrast: float = 0.0
    ) -> tuple[Tensor, Tensor]:
        """The four losses, and `contrast` times that of telling which voice and words are one person's."""
        seen = self.model.encode(inputs)
        each = [
            F.cross_entropy(h(one.pooled), y) for h, one, y in zip(self.heads, seen, targets.T, strict=True)
        ]
        whole = self.model.fusion.loss(seen, everything(seen), label)
        more = whole.new_zeros(())
        if contrast:
            more = contrast * clip_loss(similarity(seen[VOICE].pooled, seen[WORDS].pooled, 0.2))
        return torch.stack([whole, *each]), more

    def total(self, L: Tensor) -> Tensor:
        """The four losses as one number."""
        return uncertainty_loss(L, self.s) if self.weights is None else (self.weights * L).sum()


def attack(tasks: Tasks, inputs: dict[str, Tensor], label: Tensor, eps: float) -> dict[str, Tensor]:
    """The inputs with voices moved by eps, a number of the log-mel frames, to where the loss is higher."""
    voice = inputs["voice"].detach().requires_grad_()
    loss = tasks.model.loss({**inputs, "voice": voice}, label)
    return {**inputs, "voice": adversarial_step(voice, torch.autograd.grad(loss, voice)[0], eps).detach()}


def task_loss(
    tasks: Tasks, data: Utterances, seed: int, symbols: bool = False, contrast: float = 0.0, eps: float = 0.0
) -> Callable[[int], Tensor]:
    """The loss of a step, on 64 people: for `train`.

    Each modality's own head learns the label, or with `symbols` what that modality shows. With `eps` half of
    the loss is that of attacked voices.
    """
    inputs, label = tensors(data), torch.from_numpy(data.label)
    targets = torch.from_numpy(data.symbols) if symbols else label[:, None].expand(-1, len(MODALITIES))

    def loss_at(step: int) -> Tensor:
        rows = torch.from_numpy(generator(seed, f"fit {step}").integers(len(data), size=64))
        x, y = {name: value[rows] for name, value in inputs.items()}, label[rows]
        L, more = tasks.losses(x, y, targets[rows], contrast)
        if not eps:
            return tasks.total(L) + more
        return (tasks.total(L) + tasks.model.loss(attack(tasks, x, y, eps), y)) / 2 + more

    return loss_at


def attacked(tasks: Tasks, data: Utterances, eps: float) -> float:
    """The share of right answers when voices are attacked."""
    label = torch.from_numpy(data.label)
    with one_thread():
        logits = tasks.model.eval()(attack(tasks, tensors(data), label, eps))
    return (logits.argmax(-1) == label).float().mean().item()


def train_until(
    module: nn.Module,
    loss_at: Callable[[int], Tensor],
    schedule: Schedule,
    watch: Callable[[], float],
    every: int,
    patience: int,
) -> list[float]:
    """Train, ask `watch` every `every` steps, and stop when `patience` answers in a row are no new best.

    The module keeps the weights of its best answer, the highest. Returns the answers. Raises ValueError for
    an answer that is not a number.
    """
    answers: list[float] = []
    best: dict[str, Tensor] = {}
    with TemporaryDirectory() as folder:
        for stop in (*range(every, schedule.steps, every), schedule.steps):
            module.train()
            train(module, loss_at, schedule, folder=Path(folder), every=every, progress=False, stop_at=stop)
            module.eval()
            answers.append(watch())
            if math.isnan(answers[-1]):
                raise ValueError(f"watch: expected a number, got nan after {stop} steps")
            if answers[-1] > max(answers[:-1], default=-torch.inf):
                best = copy.deepcopy(module.state_dict())
            if len(answers) - answers.index(max(answers)) > patience:
                break
    module.load_state_dict(best)
    return answers


def halving(
    settings: Sequence[Setting], score: Callable[[Setting, int], float], steps: int, rounds: int
) -> list[tuple[int, Setting, float]]:
    """Give all settings `steps` steps, keep the better half, give these twice as many, and so on.

    `score(setting, steps)` trains and tests. Returns (steps, setting, score) of all trials; the last is best.
    Source: Jamieson and Talwalkar 2016.
    """
    log: list[tuple[int, Setting, float]] = []
    for _ in range(rounds):
        now = sorted(((steps, s, score(s, steps)) for s in settings), key=lambda trial: trial[2])
        log += now
        settings, steps = [s for _, s, _ in now[len(now) // 2 :]], 2 * steps
    return log
