"""The one training loop: AdamW with warm-up and decay, gradient clipping, a progress bar, exact resume.

The loss is a function of the step number alone (data are drawn from `(seed, step)`), so a run that stopped
and was resumed takes exactly the steps of an uninterrupted one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from mmbook.models.threads import one_thread
from mmbook.training.checkpoint import Checkpoint
from mmbook.training.progress import bar


@dataclass(frozen=True)
class Schedule:
    """How long and how fast: `warmup` of `steps` steps up to the rate `lr`, then linear decay to zero."""

    steps: int
    lr: float
    warmup: int = 0
    weight_decay: float = 0.01
    clip: float = 1.0  # largest norm of the whole gradient

    def rate(self, step: int) -> float:
        """The learning rate of step 0, 1, ..., steps - 1."""
        if step < self.warmup:
            return self.lr * (step + 1) / self.warmup
        return self.lr * (self.steps - step) / max(1, self.steps - self.warmup)


def train(
    module: nn.Module,
    loss_at: Callable[[int], Tensor],
    schedule: Schedule,
    *,
    folder: Path | None = None,
    every: int = 100,
    name: str = "train",
    progress: bool = True,
    stop_at: int | None = None,
) -> list[float]:
    """Minimise `loss_at(step)` over the parameters of `module` that require a gradient; returns the losses.

    With a `folder` the weights, the optimizer and the losses are saved there every `every` steps and at the
    end, and a second call goes on where the first stopped. `stop_at` ends the run early (an interruption).
    Raises ValueError when the loss is not a finite number or the checkpoint is of another schedule.
    """
    parameters = [p for p in module.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=schedule.lr, weight_decay=schedule.weight_decay, fused=True)
    losses: list[float] = []
    checkpoint = None if folder is None else Checkpoint(folder, name, vars(schedule))
    if checkpoint and (saved := checkpoint.load()):
        module.load_state_dict(saved[0])
        optimizer.load_state_dict(saved[1]["optimizer"])
        losses = saved[1]["losses"]
    steps = bar(range(len(losses), schedule.steps), name, progress, initial=len(losses), total=schedule.steps)
    with one_thread():
        for step in steps:
            if stop_at is not None and step >= stop_at:
                break
            for group in optimizer.param_groups:
                group["lr"] = schedule.rate(step)
            loss = loss_at(step)
            if not torch.isfinite(loss):
                raise ValueError(
                    f"{name}: the loss of step {step} is {loss.item()}; lower the learning rate {schedule.lr}"
                )
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, schedule.clip)
            optimizer.step()
            losses.append(loss.item())
            if step % 20 == 0:
                steps.set_postfix(loss=f"{losses[-1]:.3f}")
            if checkpoint and ((step + 1) % every == 0 or step + 1 == schedule.steps):
                rest = {"optimizer": optimizer.state_dict(), "losses": losses}
                checkpoint.save(len(losses), module.state_dict(), rest)
    return losses
