"""Soft actor-critic for discrete actions: fit soft values from a replay memory, and a policy to them."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mmbook.equations import dqn_loss, sac_policy_loss, soft_state_value
from mmbook.rl.dqn import Batch, Replay, check_schedule, experience
from mmbook.rl.networks import QNetwork, as_tensor, sample
from mmbook.rl.rollouts import Callback, Run
from mmbook.world.scenes import generator


@dataclass(frozen=True)
class SACConfig:
    """Settings of discrete SAC."""

    steps: int = 30_000  # environment steps in all
    gamma: float = 0.99
    beta: float = 0.05  # reward for each nat of entropy; the papers' alpha
    lr: float = 1e-3
    batch: int = 64
    memory: int = 50_000  # transitions that the replay memory holds
    warm_up: int = 1_000  # steps before the first update
    train_every: int = 64  # steps between two rounds of updates
    updates: int = 16  # in a round
    target_every: int = 100  # updates between two copies into the target networks
    width: int = 64


def sac_target(policy: nn.Module, targets: list[nn.Module], batch: Batch, config: SACConfig) -> Tensor:
    """Reward plus the discounted soft value of the next state, by the lower of two opinions (B,)."""
    _, _, r, obs_next, ended = batch
    with torch.no_grad():
        log_p = policy(obs_next).log_softmax(-1)
        Q = torch.minimum(*(target(obs_next) for target in targets))
        return r + config.gamma * (1 - ended) * soft_state_value(Q, log_p, config.beta)


def train_sac(
    envs: Any,
    config: SACConfig = SACConfig(),
    seed: int = 0,
    every: int = 0,
    callback: Callback | None = None,
) -> Run:
    """Train by soft actor-critic ({cite}`haarnoja2018sac`, {cite}`christodoulou2019discrete`).

    `run.model` holds the policy's logits, so `act` is its likeliest action. `callback` and what is raised
    are as in `train_dqn`.
    """
    check_schedule(config)
    policy, *critics = (QNetwork(envs, 3 * seed + i, config.width) for i in range(3))
    targets = copy.deepcopy(critics)
    learn_policy = torch.optim.Adam(policy.parameters(), lr=config.lr, fused=True)
    learn_values = torch.optim.Adam([p for Q in critics for p in Q.parameters()], lr=config.lr, fused=True)
    rng, draws, updates = generator(seed, "sac"), torch.Generator().manual_seed(seed), 0

    @torch.no_grad()
    def act(obs: np.ndarray, step: int) -> np.ndarray:
        return sample(policy(as_tensor(obs)), draws).numpy()

    run, replay = Run(policy), Replay(envs, config.memory)
    for step in experience(envs, act, replay, run, config, seed, every, callback):
        for _ in range(config.updates):
            if updates % config.target_every == 0:
                for target, Q in zip(targets, critics, strict=True):
                    target.load_state_dict(Q.state_dict())
            batch = replay.sample(config.batch, rng)
            y = sac_target(policy, targets, batch, config)
            values = [Q(batch[0]) for Q in critics]
            chosen = (Q.gather(1, batch[1][:, None]).squeeze(1) for Q in values)
            descend(learn_values, torch.stack([dqn_loss(Q, y) for Q in chosen]).sum())
            log_p = policy(batch[0]).log_softmax(-1)
            descend(learn_policy, sac_policy_loss(torch.minimum(*values), log_p, config.beta))
            updates += 1
        run.history.append({"step": step, "entropy": -(log_p.exp() * log_p).sum(-1).mean().item()})
    return run


def descend(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    """One step of an optimiser down a loss."""
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
