"""PPO-RLHF on a model that sees: sample captions, score them, shape rewards, estimate advantages, take steps.

The numbers in the comments are the rows of the checklist in `tests/rlhf/test_ppo_checklist.py`. RLOO and GRPO
({cite}`kool2019buy`, {cite}`shao2024deepseekmath`) differ in the advantage alone; the lines are the same.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor, nn

from mmbook.equations import (
    entropy,
    gae,
    group_standardised,
    kl_k1,
    kl_k2,
    kl_k3,
    leave_one_out,
    log_prob,
    masked_mean,
    policy_loss,
    shaped_reward,
    standardised_score,
    total_loss,
    value_loss,
    whiten,
)
from mmbook.models import Prefix, decode
from mmbook.models.chunks import Said
from mmbook.models.speed import recomputed
from mmbook.models.vlm import Shared
from mmbook.rlhf.config import PPOConfig
from mmbook.rlhf.scorer import Scorer, random_numbers
from mmbook.training.world import World, whole
from mmbook.world import SceneBatch

KL = {"k1": kl_k1, "k2": kl_k2, "k3": kl_k3}
said_in_chunks = torch.compiler.disable(Said.apply)  # a loop of few operations, in place


@dataclass(frozen=True)
class Rollout:
    """Sampled captions with all that does not change while the policy learns from them; tensors (B, T)."""

    prefix: Prefix | Shared  # the policy's
    trunk_prefix: Prefix | Shared  # the reward model's; the same where it reads the same model
    ids: Tensor
    m: Tensor
    log_p_old: Tensor
    log_p_ref: Tensor
    S: Tensor  # (B,)
    V_old: Tensor
    A: Tensor
    G: Tensor
    seen: Tensor  # the reward model's states before each token, (B, T, D)
    so_far: Tensor  # its standardised reward of what is said before each token
    scenes: Any  # what the captions of the whole rollout are of
    rows: Tensor  # which of them these are of, (B,)

    def part(self, rows: Tensor, trim: bool = True) -> Rollout:
        """Some rows, cut at their longest caption."""
        T = max(1, int(self.m[rows].sum(1).max())) if trim else self.m.shape[1]

        def cut(x: Any) -> Any:
            return x[rows, :T] if isinstance(x, Tensor) and x.dim() > 1 else x[rows]

        cuts = {name: cut(x) for name, x in vars(self).items() if name != "scenes"}
        return Rollout(**cuts, scenes=self.scenes)

    def pictured(self) -> Any:
        """The scenes of these captions."""
        return self.scenes[self.rows.cpu().numpy()]

    def silent(self) -> Rollout:
        """The same with nothing said: it costs a forward pass and has no gradient."""
        return replace(self, m=0 * self.m)


@torch.no_grad()
def rollout(
    policy: Any,
    scorer: Scorer,
    scenes: SceneBatch,
    generator: torch.Generator,
    config: PPOConfig,
    frozen: Any = None,
    beta: float | None = None,
    world: World | None = None,
) -> Rollout:
    """Sample `config.group` captions of each scene and compute everything that PPO learns from.

    The reference is the policy with its adapters off, or `frozen` where another model is given. Of the
    `scenes` each process of a `world` takes its own; what is whitened is whitened over all.
    """
    model, world, beta = policy.model, world or World(), config.beta if beta is None else beta
    draws = random_numbers(generator, len(scenes) * config.group, model, config)
    scenes = world.mine(scenes)
    once = model.prefix(scenes)
    shared = config.group, config.speed.share_prefix, not config.speed.trim
    prefix = once.repeat(*shared)
    prefix_ref = prefix if frozen is None else frozen.prefix(scenes).repeat(*shared)
    scenes = scenes.repeat(config.group)
    draws = world.mine(draws) if isinstance(draws, Tensor) else draws
    out = decode(model, once, draws, config.tau, speed=config.speed, group=config.group)
    out = out if config.speed.trim else out.padded(model.max_words)
    ids, m, log_p_old = out.ids, out.mask, out.log_p  # 2: the sampler's own log-probabilities
    silent = m.sum() == len(m)  # nothing but ends, or one word each
    if world.total(1 - silent.long()) == 0 and not world.total(
        torch.tensor(any(text.strip() for text in model.text(ids, m)), device=m.device).long()
    ):
        raise ValueError(
            f"captions: expected words, got {len(m)} empty ones, so no update was made with them; "
            "the policy has collapsed: lower lr, raise beta, or look at what the reward pays for"
        )
    with policy.reference() if frozen is None else nullcontext(frozen) as reference:  # 21: no copy
        states = reference.states(prefix_ref, ids)
        log_p_ref = read_off(reference, states, ids, m, config)[0]
    if log_p_old.dtype != prefix.embeds.dtype:  # 2: in half precision sampler and learner round apart
        log_p_old = read_off(model, model.states(prefix, ids), ids, m, config)[0]
    so_far, seen, trunk_prefix = scorer.read(scenes, ids, m, (prefix_ref, states))
    S = standardised_score(so_far[:, -1], scorer.mu, scorer.sigma, config.c, config.p, out.ended)
    seen, so_far = seen[:, :-1], (so_far[:, :-1] - scorer.mu) / scorer.sigma
    rows = torch.arange(len(m), device=m.device)
    batch = Rollout(
        prefix, trunk_prefix, ids, m, log_p_old, log_p_ref, S, m, m, m, seen, so_far, scenes, rows
    )
    paid = beta if config.kl_in == "reward" else 0.0
    if config.advantage == "gae":
        V_old = scorer.value(scorer.critic_states(batch, lambda: model.states(prefix, ids)), so_far, m)
        r = shaped_reward(log_p_old, log_p_ref, m, S, paid if config.kl == "k1" else 0.0)
        if config.kl != "k1":
            r = r - paid * KL[config.kl](log_p_old, log_p_ref) * m
        if config.whiten_rewards:
            r = world.over(partial(whiten, shift_mean=False), r, m)  # 7: their mean says what is good
        A, G = gae(r, V_old, m, config.gamma, config.lam)  # 9: A is whitened over the whole rollout, after G
        return replace(batch, V_old=V_old, A=world.over(whiten, A, m) if config.whiten_advantages else A, G=G)
    R = S - paid * (KL[config.kl](log_p_old, log_p_ref) * m).sum(1)
    compare = {"rloo": leave_one_out, "grpo": group_standardised}[config.advantage]
    A = compare(R.view(-1, config.group)).view(-1, 1) * m  # the same for every token of a caption
    return replace(batch, V_old=0 * m, A=A, G=0 * m)


def read_off(
    model: Any, states: Tensor, ids: Tensor, m: Tensor, config: PPOConfig, spread: bool = False
) -> tuple[Tensor, Tensor]:
    """Log-probabilities (B, T) of what was said, and with `spread` the entropies (B, T), else zeros.

    With `config.speed.chunk` the logits of so many tokens exist at a time, and padding has none unless
    shapes are fixed (without `trim`).
    """
    if config.speed.chunk:
        h, how = states[:, :-1], (config.tau, config.speed.chunk, spread)
        if not config.speed.trim:
            log_p, H = said_in_chunks(h.flatten(0, 1), model.head, ids.flatten(), *how)
            return log_p.view_as(m) * m, H.view_as(m) * m
        said = m.bool()
        found = said_in_chunks(h[said], model.head, ids[said], *how)
        log_p, H = (torch.zeros_like(m).masked_scatter(said, x) for x in found)
        return log_p, H
    z = model.logits(states[:, :-1])
    log_p = log_prob(z, ids, config.tau) * m
    return log_p, entropy(z, config.tau) if spread else torch.zeros_like(log_p)


def loss(
    model: Any, scorer: Scorer, part: Rollout, N: Tensor, config: PPOConfig, beta: float | None = None
) -> tuple[Tensor, Tensor]:
    """The total loss of a micro-batch of a minibatch of N tokens, and the new log-probabilities (B, T)."""
    prefix: Any = part.prefix if config.speed.features else model.prefix(part.pictured())
    if config.speed.checkpointing or config.speed.compile:  # which know nothing of a cache
        prefix = prefix.each()
    with recomputed(model.module, config.speed.checkpointing):
        states = model.states(prefix, part.ids)
    log_p, H_t = read_off(model, states, part.ids, part.m, config, spread=config.c_H > 0)
    L_pi = policy_loss(log_p, part.log_p_old, part.A, part.m, config.eps, N)
    L_v = torch.zeros_like(L_pi)
    if config.advantage == "gae":
        V = scorer.value(scorer.critic_states(part, lambda: states), part.so_far, part.m)
        L_v = value_loss(V, part.V_old, part.G, part.m, config.eps_v, N)
    H = masked_mean(H_t, part.m, N)
    total = total_loss(L_pi, L_v, H, config.c_v, config.c_H)
    if config.kl_in == "loss":
        beta = config.beta if beta is None else beta
        total = total + beta * masked_mean(KL[config.kl](log_p, part.log_p_ref), part.m, N)
    return total, log_p


@dataclass(frozen=True)
class Engine:
    """By what means a step is taken: by which processes, by what calls the loss, with which scaled loss."""

    world: World = field(default_factory=World)
    learner: Callable = lambda task, *args: task(*args)
    scaler: torch.amp.GradScaler | None = None


def minibatch_step(
    policy: Any,
    scorer: Scorer,
    optimizer: Any,
    part: Rollout,
    config: PPOConfig,
    beta: float | None = None,
    engine: Engine | None = None,
) -> Tensor:
    """One optimizer step on a minibatch, in `config.accumulate` micro-batches; returns the new log-probs.

    `part` has this process's rows of the minibatch.
    """
    engine = engine or Engine()
    world, scaler = engine.world, engine.scaler
    N = world.total(part.m.sum())  # 14: the minibatch's tokens, so that any split has the same gradient
    optimizer.zero_grad()
    log_p = torch.zeros_like(part.m)
    pieces = torch.arange(len(part.m)).tensor_split(config.accumulate)
    for i, rows in enumerate(pieces):
        some = part.part(rows if len(rows) else pieces[0][:1], config.speed.trim)
        some = some if len(rows) else some.silent()
        some = part if len(pieces) == 1 else some
        with world.quiet(engine.learner, i + 1 < len(pieces)):
            task = compiled(loss, config.speed.compile)
            total, new = engine.learner(task, policy.model, scorer, some, N, config, beta)
            total = total * world.size  # the processes' gradients are averaged, and N is of all of them
            (scaler.scale(total) if scaler else total).backward()
        log_p[rows, : new.shape[1]] = new.detach()[: len(rows)]
    if scaler:
        scaler.unscale_(optimizer)
    learning = [p for group in optimizer.param_groups for p in group["params"]]
    norm = whole(nn.utils.clip_grad_norm_(learning, config.clip_norm))
    if scaler:  # takes no step with a gradient that is not finite, and asks nothing of the host
        scaler.step(optimizer)
        scaler.update()
    elif norm.isfinite():
        optimizer.step()
    else:
        raise ValueError(
            f"gradient: expected finite numbers, got norm {norm.item()}, so this step was not taken; the "
            f"policy has diverged: lower lr = {config.lr} or value_lr = {config.value_lr}"
        )
    return log_p


@cache
def compiled(task: Callable, backend: str) -> Callable:
    """`task` compiled for fixed shapes, where there is a backend."""
    return torch.compile(task, backend=backend, dynamic=False) if backend else task


def loss_scaler(model: Any, config: PPOConfig) -> torch.amp.GradScaler | None:
    """What keeps small gradients in float16, and on a GPU refuses bad ones without asking the host."""
    device, half = model.device.type, next(model.module.parameters()).dtype == torch.float16
    if not half and not (config.speed.fused and device == "cuda"):
        return None
    return torch.amp.GradScaler(device, 2.0**14 if half else 1.0, growth_interval=2000 if half else 2**31 - 1)


class Learner(nn.Module):
    """All that learns as one module, which calls what it is given, so that DDP and FSDP can wrap it."""

    def __init__(self, policy: Any, scorer: Scorer, config: PPOConfig) -> None:
        super().__init__()
        critic = [scorer.value_head, *([scorer.own.model.module] if scorer.own else [])]
        self.parts = nn.ModuleList([policy.model.module, *(critic if config.advantage == "gae" else [])])

    def forward(self, task: Callable, *args: Any) -> Any:
        return task(*args)
