"""DPO and IPO: learn from choices with the policy as its own reward model, without sampling."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from mmbook.equations import dpo_loss, ipo_loss, log_prob
from mmbook.feedback.items import whole_seed
from mmbook.models.threads import one_thread
from mmbook.models.vlm import Prefix
from mmbook.rlhf.reward_fit import as_shown
from mmbook.training.progress import bar

LOSSES = {"dpo": dpo_loss, "ipo": ipo_loss}


@dataclass(frozen=True)
class DirectConfig:
    """What one run does."""

    method: str = "dpo"  # or "ipo"
    beta: float = 0.1  # price of a nat away from the reference, in units of the reward behind the choices
    epochs: int = 2  # passes over the pairs
    batch: int = 32  # pairs a step
    lr: float = 1e-3  # of the adapters; decays linearly to zero over the run
    rank: int = 16  # of the adapters
    clip_norm: float = 1.0

    def __post_init__(self) -> None:
        if self.method not in LOSSES:
            raise ValueError(f"method: expected one of {', '.join(LOSSES)}, got {self.method!r}")
        for name in ("epochs", "batch", "rank"):
            if not isinstance(value := getattr(self, name), int) or value < 1:
                raise ValueError(f"{name}: expected a whole number, 1 or more, got {value!r}")
        for name in ("beta", "lr", "clip_norm"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name}: expected a positive number, got {getattr(self, name)!r}")


def response_log_prob(model: Any, prefix: Prefix, ids: Tensor, m: Tensor) -> Tensor:
    """Log-probability (B,) of whole responses: the sum over their tokens, EOS with them."""
    T = int(m.sum(1).max())
    ids, m = ids[:, :T], m[:, :T]
    return (log_prob(model.logits(model.states(prefix, ids)[:, :-1]), ids) * m).sum(1)


def fine_tune_on_pairs(
    model: Any,
    feedback: Any,
    seed: int = 0,
    config: DirectConfig | None = None,
    progress: bool = True,
    reference: Any = None,
    callback: Callable[[int, Any], None] | None = None,
    **changes: Any,
) -> Any:
    """Move a model towards the captions that were chosen, away from the rejected; returns a new model.

    `feedback` is what `collect_human_feedback` returned, or (scene, chosen, rejected) triples; `reference` is
    another model than the present one to measure from; `callback(step, model)` may look at the policy before
    the first step and after each; `changes` override fields of `config`. The result's `history` has one row a
    step: "loss", "accuracy" (share of pairs with the chosen ahead), "margin" (mean lead, beta times nats) and
    the mean log-ratios to the reference "chosen" and "rejected".
    Raises ValueError when there is no usable pair, or when the loss is not a finite number.
    Source: {cite}`rafailov2023dpo`, {cite}`azar2024ipo`.
    """
    config, seed = replace(config or DirectConfig(), **changes), whole_seed(seed)
    pairs = [pair[:3] for pair in (feedback.pairs() if hasattr(feedback, "pairs") else feedback)]
    if not pairs:
        where = f"{feedback.path}: " if hasattr(feedback, "path") else ""
        raise ValueError(f"{where}expected one or more pairs with a choice, got none; label some first")
    if reference is not None and reference.tokenizer.get_vocab() != model.tokenizer.get_vocab():
        raise ValueError("reference: expected one that reads the model's own vocabulary, got another one")
    generator, policy = torch.Generator().manual_seed(seed), model.adapted(config.rank, seed)
    with one_thread():
        sides = [model.tokens(captions) for captions in list(zip(*pairs, strict=True))[1:]]
        scenes = [scene for scene, _, _ in pairs]
        prefix = model.prefix(as_shown(model, scenes))
        prefix_ref = prefix if reference is None else reference.prefix(as_shown(reference, scenes))

        def log_p(of: Any, prefix: Prefix, rows: Tensor) -> list[Tensor]:
            return [response_log_prob(of, prefix[rows], ids[rows], m[rows]) for ids, m in sides]

        with torch.no_grad(), nullcontext(reference) if reference else policy.reference() as other:
            parts = [log_p(other, prefix_ref, rows) for rows in torch.arange(len(pairs)).split(256)]
        log_p_ref = [torch.cat(side) for side in zip(*parts, strict=True)]
        optimizer = torch.optim.AdamW(policy.parameters(), config.lr, eps=1e-5, weight_decay=0.0)
        steps = [
            rows
            for _ in range(config.epochs)
            for rows in torch.randperm(len(pairs), generator=generator).split(config.batch)
        ]
        decay = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, len(steps))
        history: list[dict[str, float]] = []
        if callback:
            callback(0, policy.model)
        for step in bar(range(len(steps)), config.method.upper(), progress):
            rows = steps[step]
            now = log_p(policy.model, prefix, rows)
            d_c, d_r = (new - old[rows] for new, old in zip(now, log_p_ref, strict=True))
            loss = LOSSES[config.method](d_c, d_r, config.beta)
            if not loss.isfinite():
                raise ValueError(
                    f"{config.method}: expected a finite loss, got {loss.item()} at step {step} of "
                    f"{len(steps)}; lower lr = {config.lr}, or look for captions that the model cannot say"
                )
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(policy.parameters(), config.clip_norm)
            optimizer.step()
            decay.step()
            row = {"loss": loss, "accuracy": (d_c > d_r).float().mean()}
            row |= {"margin": config.beta * (d_c - d_r).mean(), "chosen": d_c.mean(), "rejected": d_r.mean()}
            history.append({name: value.item() for name, value in row.items()})
            if callback:
                callback(step + 1, policy.model)
    tuned = policy.merged()
    tuned.history = history
    return tuned
