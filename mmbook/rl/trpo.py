"""Trust-region policy optimisation (TRPO): the natural gradient, as far as a bound allows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from mmbook.equations import gae, log_prob, masked_mean, mean_divergence, natural_step, surrogate, whiten
from mmbook.rl.networks import ActorCritic
from mmbook.rl.rollouts import Callback, Player, Rollout, Run, rollouts


@dataclass(frozen=True)
class TRPOConfig:
    """Settings of TRPO; `delta` bounds the mean divergence of one step, in nats."""

    steps: int = 100_000
    T: int = 128
    gamma: float = 0.99
    lam: float = 0.95
    delta: float = 0.01
    damping: float = 0.01  # added to the diagonal of the Fisher matrix
    cg_steps: int = 15
    backtracks: int = 10  # how often a step that breaks the bound is halved
    value_lr: float = 1e-3
    value_epochs: int = 20


def conjugate_gradient(product: Callable[[Tensor], Tensor], b: Tensor, steps: int) -> Tensor:
    """Solve F x = b (n,) for a positive definite F that is known by its product with vectors alone.

    Stops early once the residual is 1e-10 of b. Source: Hestenes and Stiefel 1952.
    """
    x, residual = torch.zeros_like(b), b.clone()
    direction, square = residual.clone(), residual @ residual
    for _ in range(steps):
        if square <= 1e-20 * (b @ b):
            break
        F_direction = product(direction)
        alpha = square / (direction @ F_direction)
        x, residual = x + alpha * direction, residual - alpha * F_direction
        square, before = residual @ residual, square
        direction = residual + square / before * direction
    return x


def fisher_product(divergence: Callable[[], Tensor], parameters: list[Tensor]) -> Callable[[Tensor], Tensor]:
    """The Fisher matrix as a function of a vector: the Hessian of the divergence, never written down."""
    slope = torch.cat([g.flatten() for g in torch.autograd.grad(divergence(), parameters, create_graph=True)])

    def product(v: Tensor) -> Tensor:
        return torch.cat([g.flatten() for g in torch.autograd.grad(slope @ v, parameters, retain_graph=True)])

    return product


def trpo_step(model: ActorCritic, batch: Rollout, A: Tensor, config: TRPOConfig) -> dict[str, float]:
    """Move the policy one step and say how: its "divergence", its "gain" in the surrogate, its "backtracks".

    The step is halved until the divergence is at most delta and the surrogate has grown; else nothing moves.
    """
    parameters = [*model.actor.parameters(), *model.policy_head.parameters()]
    z_old = model(batch.obs)[0].detach()

    def gain() -> Tensor:
        return surrogate(log_prob(model(batch.obs)[0], batch.actions), batch.log_p, A, batch.m)

    def divergence() -> Tensor:
        return mean_divergence(z_old, model(batch.obs)[0], batch.m)

    before = gain()
    g = torch.cat([x.flatten() for x in torch.autograd.grad(before, parameters)])
    product = fisher_product(divergence, parameters)
    x = conjugate_gradient(lambda v: product(v) + config.damping * v, g, config.cg_steps)
    step, start = natural_step(g, x, config.delta), parameters_to_vector(parameters).detach()
    with torch.no_grad():
        for backtracks in range(config.backtracks):
            vector_to_parameters(start + step / 2**backtracks, parameters)
            moved, gained = divergence().item(), (gain() - before).item()
            if moved <= config.delta and gained > 0:
                return {"divergence": moved, "gain": gained, "backtracks": backtracks}
        vector_to_parameters(start, parameters)
    return {"divergence": 0.0, "gain": 0.0, "backtracks": config.backtracks}


def train_trpo(
    envs: Any,
    config: TRPOConfig = TRPOConfig(),
    seed: int = 0,
    model: ActorCritic | None = None,
    every: int = 0,
    callback: Callback | None = None,
) -> Run:
    """Train by TRPO ({cite}`schulman2015trpo`); `callback` as in `train_reinforce`.

    Raises ValueError for a policy that shares its body with the critic, as pictures' do: the step would move
    both.
    """
    model = model or ActorCritic(envs, seed)
    if model.critic is model.actor:
        raise ValueError("model: expected a policy and a critic that share no weights")
    critic = [*model.critic.parameters(), *model.value_head.parameters()]
    optimizer = torch.optim.Adam(critic, lr=config.value_lr)
    player = Player(envs, model, torch.Generator().manual_seed(seed), seed)
    run = Run(model, player.episodes)
    for batch in rollouts(player, config.T, config.gamma, config.steps, every, callback):
        A, G = gae(batch.r, batch.V, batch.m, config.gamma, config.lam)
        row = trpo_step(model, batch, whiten(A, batch.m), config)
        for _ in range(config.value_epochs):
            optimizer.zero_grad()
            (masked_mean((model(batch.obs)[1] - G) ** 2, batch.m) / 2).backward()
            optimizer.step()
        run.history.append({"step": player.steps, **row})
    return run
