"""Proximal policy optimisation (PPO) with each implementation detail as a switch."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import Any

import torch
from torch import Tensor, nn

from mmbook.equations import (
    approximate_kl,
    clip_fraction,
    entropy,
    explained_variance,
    gae,
    log_prob,
    masked_mean,
    policy_loss,
    total_loss,
    value_loss,
    whiten,
)
from mmbook.rl.networks import ActorCritic
from mmbook.rl.rollouts import Callback, Player, Rollout, Run, rollouts


@dataclass(frozen=True)
class PPOConfig:
    """Settings of PPO, with the details that {cite}`huang2022ppo` lists; `inf` switches a clip off."""

    steps: int = 100_000  # environment steps in all
    T: int = 32  # steps of each environment in a rollout
    epochs: int = 20
    minibatches: int = 1
    gamma: float = 0.98
    lam: float = 0.8
    lr: float = 1e-3
    eps: float = 0.2
    eps_v: float = float("inf")
    c_v: float = 0.5
    c_H: float = 0.0
    clip_norm: float = 0.5
    adam_eps: float = 1e-5
    orthogonal: bool = True  # how weights begin
    anneal: bool = True  # learning rate and eps fall linearly to 0
    whiten: bool = True  # advantages, over the whole rollout as in PPO-RLHF
    target_kl: float = float("inf")  # nats; the epochs end beyond it
    discount_weights: bool = False  # gamma^t; without it the gradient is a biased one


@dataclass
class Steps:
    """The steps of a rollout in one long row (1, N): what PPO shuffles."""

    obs: Tensor
    actions: Tensor
    log_p_old: Tensor
    V_old: Tensor
    A: Tensor
    G: Tensor
    m: Tensor

    def part(self, rows: Tensor) -> Steps:
        """Some of the steps."""
        return Steps(**{name: x[:, rows] for name, x in vars(self).items()})


def prepare(batch: Rollout, config: PPOConfig) -> Steps:
    """Advantages and targets of a rollout, then all its steps in a row."""
    A, G = gae(batch.r, batch.V, batch.m, config.gamma, config.lam)
    if config.whiten:
        A = whiten(A, batch.m)
    if config.discount_weights:
        A = A * config.gamma**batch.t
    live = batch.m != 0
    kept = (batch.obs, batch.actions, batch.log_p, batch.V, A, G, batch.m)
    return Steps(*(x[live][None] for x in kept))


def ppo_loss(model: ActorCritic, part: Steps, config: PPOConfig, eps: float) -> Tensor:
    """The total loss of a minibatch."""
    z, V = model(part.obs)
    L_pi = policy_loss(log_prob(z, part.actions), part.log_p_old, part.A, part.m, eps)
    L_v = value_loss(V, part.V_old, part.G, part.m, config.eps_v)
    H = masked_mean(entropy(z), part.m)
    return total_loss(L_pi, L_v, H, config.c_v, config.c_H)


@torch.no_grad()
def health(model: ActorCritic, steps: Steps, eps: float) -> dict[str, float]:
    """How far the policy is from the one that played, over all steps, and how good the critic was."""
    log_p = log_prob(model(steps.obs)[0], steps.actions)
    return {
        "approximate_kl": approximate_kl(log_p, steps.log_p_old, steps.m).item(),
        "clip_fraction": clip_fraction(log_p, steps.log_p_old, steps.m, eps).item(),
        "explained_variance": explained_variance(steps.V_old, steps.G, steps.m).item(),
    }


def train_ppo(
    envs: Any,
    config: PPOConfig = PPOConfig(),
    seed: int = 0,
    model: ActorCritic | None = None,
    every: int = 0,
    callback: Callback | None = None,
) -> Run:
    """Train by PPO ({cite}`schulman2017ppo`); `callback` as in `train_reinforce`."""
    model = model or ActorCritic(envs, seed, orthogonal=config.orthogonal)
    optimizer = torch.optim.Adam(model.parameters(), lr=config.lr, eps=config.adam_eps)
    generator = torch.Generator().manual_seed(seed)
    player = Player(envs, model, generator, seed)
    run = Run(model, player.episodes)
    for batch in rollouts(player, config.T, config.gamma, config.steps, every, callback):
        left = max(1e-3, 1 - player.steps / config.steps) if config.anneal else 1.0
        optimizer.param_groups[0]["lr"] = config.lr * left
        steps, eps = prepare(batch, config), config.eps * left
        count = steps.m.shape[1]
        for _ in range(config.epochs):
            order = torch.randperm(count, generator=generator)
            for rows in order.tensor_split(min(config.minibatches, count)):
                loss = ppo_loss(model, steps.part(rows), config, eps)
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)
                optimizer.step()
            if isfinite(config.target_kl) and health(model, steps, eps)["approximate_kl"] > config.target_kl:
                break
        run.history.append({"step": player.steps, **health(model, steps, eps)})
    return run
