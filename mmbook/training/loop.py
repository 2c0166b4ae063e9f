"""The one training loop: AdamW with warm-up and decay, gradient clipping, a progress bar, exact resume.

The loss is a function of the step number alone (data are drawn from `(seed, step)`), so a run that stopped
and was resumed takes exactly the steps of an uninterrupted one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from mmbook.models.threads import one_thread
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
    if folder is not None and (folder / f"{name}.pt").exists():
        losses = _load(module, optimizer, schedule, folder, name)
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
            if folder is not None and ((step + 1) % every == 0 or step + 1 == schedule.steps):
                _save(module, optimizer, schedule, losses, folder, name)
    return losses


def _save(
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    schedule: Schedule,
    losses: list[float],
    folder: Path,
    name: str,
) -> None:
    """Write weights beside, then rename the .pt file: an interruption leaves the last checkpoint whole."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = {k: v.contiguous() for k, v in module.state_dict().items()}
    step = len(losses)
    save_file({k: v.clone() for k, v in weights.items()}, folder / f"{name}-{step}.safetensors")
    state = {"optimizer": optimizer.state_dict(), "losses": losses, "schedule": vars(schedule)}
    torch.save(state, folder / f"{name}.pt.new")
    (folder / f"{name}.pt.new").replace(folder / f"{name}.pt")
    for old in folder.glob(f"{name}-*.safetensors"):
        if old.name != f"{name}-{step}.safetensors":
            old.unlink()


def _load(
    module: nn.Module, optimizer: torch.optim.Optimizer, schedule: Schedule, folder: Path, name: str
) -> list[float]:
    state = torch.load(folder / f"{name}.pt", weights_only=True)
    if state["schedule"] != vars(schedule):
        raise ValueError(
            f"{folder / name}.pt: expected a checkpoint of {vars(schedule)}, got one of {state['schedule']}; "
            "choose another folder or remove this one"
        )
    module.load_state_dict(load_file(folder / f"{name}-{len(state['losses'])}.safetensors"))
    optimizer.load_state_dict(state["optimizer"])
    return state["losses"]
