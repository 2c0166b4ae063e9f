"""REINFORCE: raise the probability of actions in proportion to the return that followed them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mmbook.equations import gae, log_prob, masked_mean, policy_gradient_loss
from mmbook.rl.networks import ActorCritic
from mmbook.rl.rollouts import Callback, Rollout, Run, play_episodes


@dataclass(frozen=True)
class ReinforceConfig:
    """Settings of REINFORCE; each of the last three can be switched off to see what it does."""

    updates: int = 100
    gamma: float = 0.99
    lr: float = 0.01
    value_lr: float = 0.1  # of the learned baseline
    reward_to_go: bool = True  # an action answers for what came after it only
    baseline: str = "value"  # "none", "mean" (of the batch's returns) or "value" (learned)
    discount_weights: bool = True  # gamma^t, which the theorem asks for and most programs drop


def weights(batch: Rollout, config: ReinforceConfig) -> Tensor:
    """What multiplies each action's log-probability (B, T): its return less a baseline.

    Raises ValueError for a baseline that does not exist.
    """
    G = gae(batch.reward, torch.zeros_like(batch.V), batch.m, config.gamma, 1.0)[0]  # returns to go
    w = config.gamma**batch.t if config.discount_weights else torch.ones_like(G)
    if not config.reward_to_go:
        G, w = G[:, :1].expand_as(G), torch.ones_like(G)  # the whole episode's return, as it is
    match config.baseline:
        case "none":
            baseline = torch.zeros_like(G)
        case "mean":
            baseline = masked_mean(G, batch.m).expand_as(G)
        case "value":
            baseline = batch.V
        case other:
            raise ValueError(f"baseline: expected none, mean or value, got {other!r}")
    return w * (G - baseline) * batch.m


def reinforce_loss(model: ActorCritic, batch: Rollout, config: ReinforceConfig) -> tuple[Tensor, Tensor]:
    """The policy's loss, whose gradient estimates minus that of the mean return, and the baseline's loss."""
    z, V = model(batch.obs)
    log_p = log_prob(z, batch.actions)
    L_pi = policy_gradient_loss(log_p, weights(batch, config), batch.m, N=len(batch.m))
    G = gae(batch.reward, torch.zeros_like(V), batch.m, config.gamma, 1.0)[0]
    return L_pi, masked_mean((V - G) ** 2, batch.m) / 2


def train_reinforce(
    envs: Any,
    config: ReinforceConfig = ReinforceConfig(),
    seed: int = 0,
    model: ActorCritic | None = None,
    every: int = 0,
    callback: Callback | None = None,
) -> Run:
    """Train by REINFORCE, one whole episode of each environment an update ({cite}`williams1992reinforce`).

    `callback(step, model)` is called about every `every` steps; when it returns True, training stops.
    """
    run = Run(model or ActorCritic(envs, seed))
    policy = [*run.model.actor.parameters(), *run.model.policy_head.parameters()]
    theirs = {id(p) for p in policy}
    critic = [p for p in run.model.parameters() if id(p) not in theirs]
    groups = [{"params": policy}, {"params": critic, "lr": config.value_lr}]
    optimizer = torch.optim.Adam(groups, lr=config.lr)
    generator, steps, called = torch.Generator().manual_seed(seed), 0, 0
    for update in range(config.updates):
        batch = play_episodes(envs, run.model, generator, seed if update == 0 else None)
        steps += int(batch.m.sum())
        run.episodes += [(steps, R) for R in batch.reward.sum(1).tolist()]
        L_pi, L_v = reinforce_loss(run.model, batch, config)
        optimizer.zero_grad()
        (L_pi + L_v).backward()
        optimizer.step()
        run.history.append({"step": steps, "return": batch.reward.sum(1).mean().item()})
        if callback and steps >= called + every:
            called = steps
            if callback(steps, run.model):
                break
    return run
