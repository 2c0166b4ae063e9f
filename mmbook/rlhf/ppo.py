"""PPO-RLHF on a model that sees: sample captions, score them, shape rewards, estimate advantages, take steps.

The numbers in the comments are the rows of the checklist in `tests/rlhf/test_ppo_checklist.py`. RLOO and GRPO
({cite}`kool2019buy`, {cite}`shao2024deepseekmath`) differ in the advantage alone; the lines are the same.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from mmbook.equations import (
    adaptive_beta,
    approximate_kl,
    clip_fraction,
    entropy,
    explained_variance,
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
from mmbook.feedback.items import whole_seed
from mmbook.models import Prefix, decode
from mmbook.models.threads import one_thread
from mmbook.rlhf.config import PPOConfig
from mmbook.rlhf.rewards import Reward
from mmbook.rlhf.scorer import Scorer
from mmbook.training.checkpoint import Checkpoint
from mmbook.training.progress import bar
from mmbook.world import SceneBatch, sample_scenes

KL = {"k1": kl_k1, "k2": kl_k2, "k3": kl_k3}
Scenes = Callable[[int, np.random.Generator], SceneBatch]


@dataclass(frozen=True)
class Rollout:
    """Sampled captions with all that does not change while the policy learns from them; tensors (B, T)."""

    prefix: Prefix  # the policy's
    trunk_prefix: Prefix  # the reward model's; the same where it reads the same model
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

    def part(self, rows: Tensor) -> Rollout:
        """Some rows, cut at their longest caption."""
        T = int(self.m[rows].sum(1).max())

        def cut(x: Any) -> Any:
            return x[rows] if isinstance(x, Prefix) or x.dim() == 1 else x[rows, :T]

        return Rollout(**{name: cut(x) for name, x in vars(self).items()})


@torch.no_grad()
def rollout(
    policy: Any,
    scorer: Scorer,
    scenes: SceneBatch,
    generator: torch.Generator,
    config: PPOConfig,
    frozen: Any = None,
    beta: float | None = None,
) -> Rollout:
    """Sample `config.group` captions of each scene and compute everything that PPO learns from.

    The reference is the policy with its adapters off, or `frozen` where another model is given.
    """
    model, beta = policy.model, config.beta if beta is None else beta
    prefix = model.prefix(scenes).repeat(config.group)
    prefix_ref = prefix if frozen is None else frozen.prefix(scenes).repeat(config.group)
    scenes = scenes.repeat(config.group)
    out = decode(model, prefix, generator, config.tau)
    ids, m, log_p_old = out.ids, out.mask, out.log_p  # 2: the sampler's own log-probabilities
    if m.sum() == len(m) and not any(text.strip() for text in model.text(ids, m)):
        raise ValueError(
            f"captions: expected words, got {len(m)} empty ones, so no update was made with them; "
            "the policy has collapsed: lower lr, raise beta, or look at what the reward pays for"
        )
    with policy.reference() if frozen is None else nullcontext(frozen) as reference:  # 21: no copy
        states = reference.states(prefix_ref, ids)
        log_p_ref = log_prob(reference.logits(states[:, :-1]), ids, config.tau) * m
    so_far, seen, trunk_prefix = scorer.read(scenes, ids, m, (prefix_ref, states))
    S = standardised_score(so_far[:, -1], scorer.mu, scorer.sigma, config.c, config.p, out.ended)
    seen, so_far = seen[:, :-1], (so_far[:, :-1] - scorer.mu) / scorer.sigma
    batch = Rollout(prefix, trunk_prefix, ids, m, log_p_old, log_p_ref, S, m, m, m, seen, so_far)
    paid = beta if config.kl_in == "reward" else 0.0
    if config.advantage == "gae":
        V_old = scorer.value(scorer.critic_states(batch, lambda: model.states(prefix, ids)), so_far, m)
        r = shaped_reward(log_p_old, log_p_ref, m, S, paid if config.kl == "k1" else 0.0)
        if config.kl != "k1":
            r = r - paid * KL[config.kl](log_p_old, log_p_ref) * m
        if config.whiten_rewards:
            r = whiten(r, m, shift_mean=False)  # 7: their mean says whether captions are good, so it stays
        A, G = gae(r, V_old, m, config.gamma, config.lam)  # 9: A is whitened over the whole rollout, after G
        return replace(batch, V_old=V_old, A=whiten(A, m) if config.whiten_advantages else A, G=G)
    R = S - paid * (KL[config.kl](log_p_old, log_p_ref) * m).sum(1)
    compare = {"rloo": leave_one_out, "grpo": group_standardised}[config.advantage]
    A = compare(R.view(-1, config.group)).view(-1, 1) * m  # the same for every token of a caption
    return replace(batch, V_old=0 * m, A=A, G=0 * m)


def loss(
    model: Any, scorer: Scorer, part: Rollout, N: Tensor, config: PPOConfig, beta: float | None = None
) -> tuple[Tensor, Tensor]:
    """The total loss of a micro-batch of a minibatch of N tokens, and the new log-probabilities (B, T)."""
    states = model.states(part.prefix, part.ids)
    z = model.logits(states[:, :-1])
    log_p = log_prob(z, part.ids, config.tau) * part.m
    L_pi = policy_loss(log_p, part.log_p_old, part.A, part.m, config.eps, N)
    L_v = torch.zeros_like(L_pi)
    if config.advantage == "gae":
        V = scorer.value(scorer.critic_states(part, lambda: states), part.so_far, part.m)
        L_v = value_loss(V, part.V_old, part.G, part.m, config.eps_v, N)
    H = masked_mean(entropy(z, config.tau), part.m, N)
    total = total_loss(L_pi, L_v, H, config.c_v, config.c_H)
    if config.kl_in == "loss":
        beta = config.beta if beta is None else beta
        total = total + beta * masked_mean(KL[config.kl](log_p, part.log_p_ref), part.m, N)
    return total, log_p


def minibatch_step(
    policy: Any,
    scorer: Scorer,
    optimizer: torch.optim.Optimizer,
    part: Rollout,
    config: PPOConfig,
    beta: float | None = None,
) -> Tensor:
    """One optimizer step on a minibatch, in `config.accumulate` micro-batches; returns the new log-probs."""
    N = part.m.sum()  # 14: the minibatch's tokens, so that any split into micro-batches has the same gradient
    optimizer.zero_grad()
    log_p = torch.zeros_like(part.m)
    for rows in torch.arange(len(part.m)).tensor_split(config.accumulate):
        total, new = loss(policy.model, scorer, part.part(rows), N, config, beta)
        total.backward()
        log_p[rows, : new.shape[1]] = new.detach()
    norm = nn.utils.clip_grad_norm_([*policy.parameters(), *scorer.parameters()], config.clip_norm)
    if not norm.isfinite():
        raise ValueError(
            f"gradient: expected finite numbers, got norm {norm.item()}, so this step was not taken; the "
            f"policy has diverged: lower lr = {config.lr} or value_lr = {config.value_lr}"
        )
    optimizer.step()
    return log_p


def fine_tune_with_rl(
    model: Any,
    reward_model: Reward,
    seed: int = 0,
    config: PPOConfig | None = None,
    progress: bool = True,
    scenes: Scenes | None = None,
    reference: Any = None,
    folder: str | Path | None = None,
    callback: Callable[[int, Any], None] | None = None,
    **changes: Any,
) -> Any:
    """Move a model towards captions that a reward model likes, near what it was; returns a new model.

    `changes` override fields of `config` ("beta=0.2"); `scenes(n, rng)` draws the pictures; `reference` is
    another model than the present one to stay near; `callback(update, model)` may look at the policy before
    the first update and after each. With a `folder` a checkpoint is left there every ten updates and when the
    run is interrupted, and the same call goes on from it, bit for bit. The result's `history` has one row an
    update: "score" (mean standardised reward), "kl" (nats a caption from the reference), "beta",
    "clip_fraction", "approximate_kl", "explained_variance" and "words" (tokens a caption); each describes the
    policy before its update. Warns when the reward model is no better than chance on held-out labels.
    Raises ValueError, before any update, for a reward that is not finite, captions that are all empty, a
    reward model with another vocabulary, or a checkpoint of another run.
    Source: {cite}`schulman2017ppo`, {cite}`ouyang2022instructgpt`, {cite}`huang2024nplus`.
    """
    if not hasattr(model, "adapted") or not hasattr(reward_model, "so_far"):
        raise TypeError(
            "expected fine_tune_with_rl(model, reward_model): a model and what train_reward_model returned, "
            f"got {type(model).__name__} and {type(reward_model).__name__}"
        )
    config, seed = replace(config or PPOConfig(), **changes), whole_seed(seed)
    for name, other in (("reward_model", reward_model.trunk), ("reference", reference)):
        if other is not None and other.tokenizer.get_vocab() != model.tokenizer.get_vocab():
            raise ValueError(
                f"{name}: expected one that reads the model's own vocabulary, got another one, "
                "which would read other captions; train it on this model"
            )
    low, high = reward_model.interval
    if low <= 0.5:
        warnings.warn(
            "these labels carry no measurable preference: the reward model ranks "
            f"{reward_model.accuracy:.0%} of {reward_model.pairs} held-out pairs right (95 % interval "
            f"{low:.0%} to {high:.0%}), and chance is 50%. PPO will follow it all the same.",
            stacklevel=2,
        )
    draw = scenes or cast(Scenes, getattr(model, "scenes", sample_scenes))
    with one_thread():
        run = Run(model, reward_model, seed, config, draw, reference)
        checkpoint = Checkpoint(folder, "ppo", run.identity()) if folder else None
        if checkpoint and (saved := checkpoint.load()):
            run.restore(*saved)
        if callback and not run.history:
            callback(0, run.policy.model)
        updates = range(len(run.history), config.updates)
        for update in bar(updates, "PPO", progress, initial=len(run.history), total=config.updates):
            before = run.state() if checkpoint else None
            try:
                run.update()
                if callback:
                    callback(update + 1, run.policy.model)
            except BaseException:
                if checkpoint and before:
                    checkpoint.save(update, *before)  # Ctrl-C: what the update had begun is done again
                raise
            if checkpoint and ((update + 1) % 10 == 0 or update + 1 == config.updates):
                checkpoint.save(update + 1, *run.state())
    tuned = run.policy.merged()
    tuned.history = run.history
    return tuned


class Run:
    """Everything that changes while a policy is trained, one update at a time."""

    def __init__(
        self, model: Any, reward_model: Reward, seed: int, config: PPOConfig, scenes: Scenes, reference: Any
    ) -> None:
        self.model, self.config, self.seed, self.scenes, self.frozen = model, config, seed, scenes, reference
        self.rng = np.random.default_rng(seed)
        self.generator = torch.Generator(model.device).manual_seed(seed)
        self.policy = model.adapted(config.rank, seed)
        start = scenes(2 * config.batch, self.rng)
        self.scorer = Scorer(reward_model, reference or model, start, config, self.generator)
        groups = [
            {"params": self.policy.parameters(), "lr": config.lr},
            {"params": self.scorer.parameters(), "lr": config.value_lr},
        ]
        self.optimizer = torch.optim.AdamW(groups, eps=1e-5, weight_decay=0.0)  # 15
        self.decay = torch.optim.lr_scheduler.LinearLR(self.optimizer, 1.0, 0.0, config.updates)
        self.beta, self.history = config.beta, list[dict[str, float]]()

    def update(self) -> None:
        """Sample once, then take the steps of all epochs on what was sampled."""
        config, steps = self.config, []
        scenes = self.scenes(wanted := config.batch // config.group, self.rng)
        if len(scenes) != wanted:
            raise ValueError(f"scenes: expected a function that draws {wanted}, got {len(scenes)} from it")
        batch = rollout(self.policy, self.scorer, scenes, self.generator, config, self.frozen, self.beta)
        for _ in range(config.epochs):
            order = torch.randperm(len(batch.m), generator=self.generator, device=batch.m.device)
            for rows in order.tensor_split(config.minibatches):  # 14: always this many steps
                part = batch.part(rows)
                log_p = minibatch_step(self.policy, self.scorer, self.optimizer, part, config, self.beta)
                moved = (
                    approximate_kl(log_p, part.log_p_old, part.m),
                    clip_fraction(log_p, part.log_p_old, part.m, config.eps),
                )
                steps.append([x.item() for x in moved])
            if np.mean(steps[-config.minibatches :], 0)[0] > 1.5 * config.stop_kl:
                break  # 17
        self.decay.step()
        kl = (kl_k1(batch.log_p_old, batch.log_p_ref) * batch.m).sum(1).mean().item()
        approximate, clipped = np.mean(steps, 0)
        self.history.append(
            {
                "score": batch.S.mean().item(),
                "kl": kl,
                "beta": self.beta,
                "approximate_kl": float(approximate),
                "clip_fraction": float(clipped),
                "explained_variance": explained_variance(batch.V_old, batch.G, batch.m).item(),
                "words": batch.m.sum(1).mean().item(),
            }
        )
        if config.kl_goal is not None:
            self.beta = adaptive_beta(self.beta, kl, config.kl_goal, config.batch, config.horizon)  # 16

    def identity(self) -> dict[str, Any]:
        """What a checkpoint must agree with to be continued."""
        return {**vars(self.config), "seed": self.seed, "model": self.model.hash}

    def _weights(self) -> dict[str, Tensor]:
        parts = {"policy": self.policy.model.module, "value": self.scorer.value_head}
        if self.scorer.own:
            parts["critic"] = self.scorer.own.model.module
        named = [(f"{k}.{n}", p) for k, part in parts.items() for n, p in part.named_parameters()]
        return {name: p.data for name, p in named if p.requires_grad}

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """A copy of the weights that move, and of all else that the next update depends on."""
        rest = {
            "optimizer": self.optimizer.state_dict(),
            "decay": self.decay.state_dict(),
            "rng": self.rng.bit_generator.state,
            "generator": self.generator.get_state(),
            "beta": self.beta,
            "history": self.history,
            "scale": (self.scorer.mu, self.scorer.sigma),
            "paid": self.scorer.paid,
        }
        return {name: p.clone() for name, p in self._weights().items()}, copy.deepcopy(rest)

    def restore(self, weights: dict[str, Tensor], rest: dict[str, Any]) -> None:
        """Go on from a saved state. Raises ValueError where another reward, reference or scenes made it."""
        ours, theirs = self.scorer.paid, rest["paid"]
        if not torch.allclose(torch.stack(ours), torch.stack(theirs), atol=1e-4):
            text = "mean {:.4g} and deviation {:.4g}".format
            raise ValueError(
                "checkpoint: expected one made with this reward, reference and scenes, whose first captions "
                f"earn {text(*ours)}, got one with {text(*theirs)}; choose another folder or remove this one"
            )
        for name, p in self._weights().items():
            p.copy_(weights[name])
        self.optimizer.load_state_dict(rest["optimizer"])
        self.decay.load_state_dict(rest["decay"])
        self.rng.bit_generator.state = rest["rng"]
        self.generator.set_state(rest["generator"])
        self.beta, self.history = rest["beta"], rest["history"]
        self.scorer.mu, self.scorer.sigma = rest["scale"]
