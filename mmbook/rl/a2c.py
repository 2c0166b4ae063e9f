"""Advantage actor-critic (A2C): a critic says what to expect, the actor learns from the surprise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mmbook.equations import entropy, gae, log_prob, masked_mean, policy_gradient_loss, total_loss
from mmbook.rl.networks import ActorCritic
from mmbook.rl.rollouts import Callback, Player, Rollout, Run, rollouts


@dataclass(frozen=True)
class A2CConfig:
    """Settings of A2C: one step of the optimiser a rollout."""

    steps: int = 300_000  # environment steps in all
    T: int = 8  # steps of each environment in a rollout
    gamma: float = 0.99
    lam: float = 1.0
    lr: float = 2e-3  # falls linearly towards 0
    c_v: float = 0.5
    c_H: float = 0.0
    clip_norm: float = 0.5
    discount_weights: bool = False  # gamma^t; without it the gradient is a biased one


def a2c_loss(model: ActorCritic, batch: Rollout, config: A2CConfig, N: float | None = None) -> Tensor:
    """Loss of one rollout: the policy gradient with generalised advantages, the critic's error, the entropy.

    N as in {eq}`eq:policy-gradient-loss`.
    """
    A, G = gae(batch.r, batch.V, batch.m, config.gamma, config.lam)
    z, V = model(batch.obs)
    w = config.gamma**batch.t if config.discount_weights else 1.0
    L_pi = policy_gradient_loss(log_prob(z, batch.actions), A, batch.m, w, N)
    L_v = masked_mean((V - G) ** 2, batch.m, N) / 2
    return total_loss(L_pi, L_v, masked_mean(entropy(z), batch.m, N), config.c_v, config.c_H)


def train_a2c(
    envs: Any,
    config: A2CConfig = A2CConfig(),
    seed: int = 0,
    model: ActorCritic | None = None,
    every: int = 0,
    callback: Callback | None = None,
) -> Run:
    """Train by A2C ({cite}`mnih2016a3c`, in its synchronous form); `callback` as in `train_reinforce`."""
    model = model or ActorCritic(envs, seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=config.lr, eps=1e-5)
    player = Player(envs, model, torch.Generator().manual_seed(seed), seed)
    run = Run(model, player.episodes)
    for batch in rollouts(player, config.T, config.gamma, config.steps, every, callback):
        optimizer.param_groups[0]["lr"] = config.lr * max(1e-3, 1 - player.steps / config.steps)
        loss = a2c_loss(model, batch, config)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)
        optimizer.step()
        run.history.append({"step": player.steps, "loss": loss.item()})
    return run
