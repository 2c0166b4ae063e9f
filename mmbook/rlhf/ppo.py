"""PPO-RLHF on a model that sees: sample captions, score them, shape rewards, estimate advantages, take steps.

The numbers in the comments are the rows of the checklist in `tests/rlhf/test_ppo_checklist.py`.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mmbook.equations import (
    approximate_kl,
    clip_fraction,
    entropy,
    explained_variance,
    gae,
    kl_k1,
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
from mmbook.models import VLM, Adapted, Prefix, ScalarHead, decode
from mmbook.models.threads import one_thread
from mmbook.rlhf.reward_model import RewardModel
from mmbook.training.progress import bar
from mmbook.world import SceneBatch, sample_scenes


@dataclass(frozen=True)
class PPOConfig:
    """What one run does; the symbols are those of the equations."""

    updates: int = 16
    batch: int = 128  # captions sampled for an update
    epochs: int = 2  # passes over them
    minibatches: int = 4  # optimizer steps in a pass
    accumulate: int = 1  # micro-batches a minibatch is computed in; changes memory, not the result
    lr: float = 1e-3  # of the adapters; decays linearly to zero over the run
    value_lr: float = 3e-3  # of the value head
    rank: int = 16  # of the adapters
    tau: float = 1.0  # temperature of sampler, old, new and reference policy alike
    beta: float = 0.3  # price of a nat away from the reference, in standard deviations of the reward
    gamma: float = 1.0
    lam: float = 0.95
    eps: float = 0.2
    eps_v: float = 0.2
    c_v: float = 0.5
    c_H: float = 0.0
    c: float = 5.0  # standardised rewards are clipped to +-c
    p: float = 1.0  # taken off the reward of a caption that never ends
    whiten_rewards: bool = False  # scale the rewards per token to variance 1, their mean kept
    clip_norm: float = 1.0

    def __post_init__(self) -> None:
        for name in ("updates", "batch", "epochs", "minibatches", "accumulate", "rank"):
            if not isinstance(value := getattr(self, name), int) or value < 1:
                raise ValueError(f"{name}: expected a whole number, 1 or more, got {value!r}")
        for name in ("lr", "value_lr", "tau", "eps", "eps_v", "c", "clip_norm"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name}: expected a positive number, got {getattr(self, name)!r}")
        for name in ("beta", "gamma", "lam", "c_v", "c_H", "p"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name}: expected a number, 0 or more, got {getattr(self, name)!r}")
        if self.minibatches * self.accumulate > self.batch:
            least = f"minibatches * accumulate = {self.minibatches * self.accumulate}"
            raise ValueError(f"batch: expected at least {least}, got {self.batch}")


@dataclass(frozen=True)
class Rollout:
    """Sampled captions with all that does not change while the policy learns from them; tensors (B, T)."""

    prefix: Prefix
    ids: Tensor
    m: Tensor
    log_p_old: Tensor
    log_p_ref: Tensor
    S: Tensor  # (B,)
    V_old: Tensor
    A: Tensor
    G: Tensor
    seen: Tensor  # the reward model's states before each token, (B, T, D), which the critic reads
    so_far: Tensor  # its standardised reward of what is said before each token

    def part(self, rows: Tensor) -> Rollout:
        """Some rows, cut at their longest caption."""
        T = int(self.m[rows].sum(1).max())
        cut = {
            name: x[rows] if x.dim() == 1 else x[rows, :T]
            for name, x in vars(self).items()
            if name != "prefix"
        }
        return Rollout(self.prefix[rows], **cut)


class Scorer:
    """The reward model as PPO uses it: standardised on captions of the reference, and read by the critic.

    The critic starts from the reward model (19): the value of a half-said caption is what the reward model
    would give it if it stopped there, plus a linear head on the same states that learns what is to come.
    """

    def __init__(
        self,
        reward_model: RewardModel,
        reference: VLM,
        scenes: SceneBatch,
        config: PPOConfig,
        generator: torch.Generator,
    ) -> None:
        self.reward_model, self.config = reward_model, config
        self.on_reference = reward_model.trunk is reference
        on_cpu = generator.device.type == "cpu"  # where heads are drawn, whatever device samples
        start = generator if on_cpu else torch.Generator().manual_seed(generator.initial_seed())
        self.value_head = ScalarHead(reward_model.trunk.width, start).to(reference.device)
        out = decode(reference, reference.prefix(scenes), generator, config.tau)
        R = self.read(scenes, out.ids, out.mask)[0][:, -1]
        self.mu, self.sigma = R.mean(), R.std().clamp(min=1e-6)  # 6: the reference averages 0

    @torch.no_grad()
    def read(
        self, scenes: SceneBatch, ids: Tensor, m: Tensor, reference: tuple[Prefix, Tensor] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Rewards of all beginnings (B, T + 1) and the states behind them (B, T + 1, D).

        `reference` has prefix and states of the reference policy; they are the trunk's own where the reward
        model was built on the reference, and then nothing is computed twice.
        """
        if reference is None or not self.on_reference:
            prefix = self.reward_model.trunk.prefix(scenes)
            reference = prefix, self.reward_model.trunk.states(prefix, ids)
        prefix, states = reference
        so_far = self.reward_model.so_far(prefix, ids, m, states)
        if not (finite := so_far.isfinite().all(1)).all():
            bad = int((~finite).nonzero()[0])
            caption = self.reward_model.trunk.text(ids[bad : bad + 1], m[bad : bad + 1])[0]
            raise ValueError(
                f"reward: expected finite numbers, got {so_far[bad][~so_far[bad].isfinite()][0].item()} for "
                f"{caption!r}, so no update was made with it; train the reward model again"
            )
        return so_far, states

    def value(self, seen: Tensor, so_far: Tensor, m: Tensor) -> Tensor:
        """V (B, T) of the states before each token."""
        return (so_far + self.value_head(seen)) * m


@torch.no_grad()
def rollout(
    policy: Adapted, scorer: Scorer, scenes: SceneBatch, generator: torch.Generator, config: PPOConfig
) -> Rollout:
    """Sample a caption of each scene with the present policy and compute everything that PPO learns from."""
    model = policy.model
    prefix = model.prefix(scenes)
    out = decode(model, prefix, generator, config.tau)
    ids, m, log_p_old = out.ids, out.mask, out.log_p  # 2: the sampler's own log-probabilities
    with policy.reference() as reference:  # 21: the adapters off, no copy
        states = reference.states(prefix, ids)
        log_p_ref = log_prob(reference.logits(states[:, :-1]), ids, config.tau) * m
    so_far, states = scorer.read(scenes, ids, m, (prefix, states))
    S = standardised_score(so_far[:, -1], scorer.mu, scorer.sigma, config.c, config.p, out.ended)
    seen, so_far = states[:, :-1], (so_far[:, :-1] - scorer.mu) / scorer.sigma
    V_old = scorer.value(seen, so_far, m)
    r = shaped_reward(log_p_old, log_p_ref, m, S, config.beta)
    if config.whiten_rewards:
        r = whiten(r, m, shift_mean=False)  # 7: their mean says whether captions are good, so it stays
    A, G = gae(r, V_old, m, config.gamma, config.lam)
    A = whiten(A, m)  # 9: over the whole rollout, after G
    return Rollout(prefix, ids, m, log_p_old, log_p_ref, S, V_old, A, G, seen, so_far)


def loss(model: VLM, scorer: Scorer, part: Rollout, N: Tensor, config: PPOConfig) -> tuple[Tensor, Tensor]:
    """The total loss of a micro-batch of a minibatch of N tokens, and the new log-probabilities (B, T)."""
    z = model.logits(model.states(part.prefix, part.ids)[:, :-1])
    log_p = log_prob(z, part.ids, config.tau) * part.m
    V = scorer.value(part.seen, part.so_far, part.m)
    L_pi = policy_loss(log_p, part.log_p_old, part.A, part.m, config.eps, N)
    L_v = value_loss(V, part.V_old, part.G, part.m, config.eps_v, N)
    H = masked_mean(entropy(z, config.tau), part.m, N)
    return total_loss(L_pi, L_v, H, config.c_v, config.c_H), log_p


def minibatch_step(
    policy: Adapted, scorer: Scorer, optimizer: torch.optim.Optimizer, part: Rollout, config: PPOConfig
) -> Tensor:
    """One optimizer step on a minibatch, in `config.accumulate` micro-batches; returns the new log-probs."""
    N = part.m.sum()  # 14: the minibatch's tokens, so that any split into micro-batches has the same gradient
    optimizer.zero_grad()
    log_p = torch.zeros_like(part.m)
    for rows in torch.arange(len(part.m)).tensor_split(config.accumulate):
        total, new = loss(policy.model, scorer, part.part(rows), N, config)
        total.backward()
        log_p[rows, : new.shape[1]] = new.detach()
    nn.utils.clip_grad_norm_([*policy.parameters(), *scorer.value_head.parameters()], config.clip_norm)
    optimizer.step()
    return log_p


def fine_tune_with_rl(
    model: VLM,
    reward_model: RewardModel,
    seed: int = 0,
    config: PPOConfig | None = None,
    progress: bool = True,
    **changes: Any,
) -> VLM:
    """Move a model towards captions that a reward model likes, near what it was; returns a new model.

    `changes` override fields of `config` ("beta=0.2"). The result's `history` has one row an update: "score"
    (mean standardised reward), "kl" (nats a caption from the reference), "clip_fraction", "approximate_kl",
    "explained_variance" and "words" (tokens a caption); each describes the policy before its update.
    Warns when the reward model is no better than chance on held-out labels.
    Raises ValueError for a reward that is not finite, before any update is made with it.
    Source: {cite}`schulman2017ppo`, {cite}`ouyang2022instructgpt`, {cite}`huang2024nplus`.
    """
    if not isinstance(model, VLM) or not hasattr(reward_model, "so_far"):
        raise TypeError(
            "expected fine_tune_with_rl(model, reward_model): a model and what train_reward_model returned, "
            f"got {type(model).__name__} and {type(reward_model).__name__}"
        )
    config, seed = replace(config or PPOConfig(), **changes), whole_seed(seed)
    low, high = reward_model.interval
    if low <= 0.5:
        warnings.warn(
            "these labels carry no measurable preference: the reward model ranks "
            f"{reward_model.accuracy:.0%} of {reward_model.pairs} held-out pairs right (95 % interval "
            f"{low:.0%} to {high:.0%}), and chance is 50%. PPO will follow it all the same.",
            stacklevel=2,
        )
    rng, generator = np.random.default_rng(seed), torch.Generator(model.device).manual_seed(seed)
    policy = Adapted(model, config.rank, seed)
    history: list[dict[str, float]] = []
    with one_thread():
        scorer = Scorer(reward_model, model, sample_scenes(2 * config.batch, rng), config, generator)
        groups = [
            {"params": policy.parameters(), "lr": config.lr},
            {"params": scorer.value_head.parameters(), "lr": config.value_lr},
        ]
        optimizer = torch.optim.AdamW(groups, eps=1e-5, weight_decay=0.0)  # 15
        decay = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, config.updates)
        for _ in bar(range(config.updates), "PPO", progress):
            batch = rollout(policy, scorer, sample_scenes(config.batch, rng), generator, config)
            steps = []
            for _ in range(config.epochs):
                order = torch.randperm(config.batch, generator=generator, device=model.device)
                for rows in order.tensor_split(config.minibatches):  # 14: always this many steps
                    part = batch.part(rows)
                    log_p = minibatch_step(policy, scorer, optimizer, part, config)
                    moved = (
                        approximate_kl(log_p, part.log_p_old, part.m),
                        clip_fraction(log_p, part.log_p_old, part.m, config.eps),
                    )
                    steps.append([x.item() for x in moved])
            decay.step()
            approximate, clipped = np.mean(steps, 0)
            history.append(
                {
                    "score": batch.S.mean().item(),
                    "kl": (kl_k1(batch.log_p_old, batch.log_p_ref) * batch.m).sum(1).mean().item(),
                    "approximate_kl": float(approximate),
                    "clip_fraction": float(clipped),
                    "explained_variance": explained_variance(batch.V_old, batch.G, batch.m).item(),
                    "words": batch.m.sum(1).mean().item(),
                }
            )
    tuned = policy.merged()
    tuned.history = history
    return tuned
