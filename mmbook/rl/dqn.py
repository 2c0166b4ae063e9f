"""Deep Q-learning: Q-learning with a network, kept steady by a replay memory and a target network."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mmbook.equations import double_q_target, dqn_loss, q_learning_target
from mmbook.rl.networks import QNetwork, as_tensor
from mmbook.rl.rollouts import Callback, Run
from mmbook.world.scenes import generator

Batch = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]  # obs, actions, r, obs_next, ended: (B, ...)


@dataclass(frozen=True)
class DQNConfig:
    """Settings of DQN. `memory=batch` takes the replay away, `target_every=1` the target network."""

    steps: int = 50_000  # environment steps in all
    gamma: float = 0.99
    lr: float = 1e-3  # falls linearly to 0
    batch: int = 64
    memory: int = 50_000  # transitions that the replay memory holds
    warm_up: int = 1_000  # steps before the first update
    train_every: int = 64  # steps between two rounds of updates
    updates: int = 32  # in a round
    target_every: int = 100  # updates between two copies into the target network
    eps_first: float = 1.0  # share of random actions at first,
    eps_last: float = 0.05  # at last,
    eps_share: float = 0.2  # and the share of all steps over which it falls
    double: bool = True
    clip_norm: float = 10.0
    width: int = 64

    def eps(self, step: int) -> float:
        """The share of random actions after so many steps."""
        fallen = min(1.0, step / max(1.0, self.eps_share * self.steps))
        return self.eps_first + (self.eps_last - self.eps_first) * fallen


class Replay:
    """The last `size` transitions; observations keep their type, so that pictures stay uint8."""

    def __init__(self, envs: Any, size: int) -> None:
        space = envs.single_observation_space
        self.obs, self.obs_next = (np.empty((size, *space.shape), space.dtype) for _ in range(2))
        self.actions = np.empty(size, np.int64)
        self.r, self.ended = np.empty((2, size), np.float32)
        self.size, self.count = size, 0

    def add(self, **rows: np.ndarray) -> None:
        """Keep n transitions, in place of the oldest."""
        n = len(rows["r"])
        place = (self.count + np.arange(n)) % self.size
        for name, row in rows.items():
            getattr(self, name)[place] = row
        self.count += n

    def sample(self, n: int, rng: np.random.Generator) -> Batch:
        """Draw n of the transitions, each equally likely."""
        i = rng.integers(min(self.count, self.size), size=n)
        rows = (self.obs, self.actions, self.r, self.obs_next, self.ended)
        obs, actions, r, obs_next, ended = (as_tensor(row[i]) for row in rows)
        return obs, actions, r, obs_next, ended


def experience(
    envs: Any,
    act: Callable[[np.ndarray, int], np.ndarray],
    replay: Replay,
    run: Run,
    config: Any,
    seed: int,
    every: int = 0,
    callback: Callback | None = None,
) -> Iterator[int]:
    """Play `act(obs, step)`, keep what happens, and yield the step whenever a round of updates is due."""
    obs, _ = envs.reset(seed=seed)
    step, due, called = 0, config.warm_up, 0
    resets, total = np.zeros(envs.num_envs, bool), np.zeros(envs.num_envs)
    while step < config.steps:
        actions = act(obs, step)
        after, reward, terminated, truncated, _ = envs.step(actions)
        m = ~resets  # the step that only resets is no transition
        # Nothing follows a termination. An episode that was cut off would have gone on: it is no end.
        rows = {"obs": obs, "actions": actions, "r": reward, "obs_next": after, "ended": terminated}
        replay.add(**{name: row[m] for name, row in rows.items()})
        obs, step = after, step + int(m.sum())
        total += reward * m
        resets = (terminated | truncated) & m
        run.episodes += [(step, float(R)) for R in total[resets]]
        total[resets] = 0
        while step >= due:
            yield step
            due += config.train_every
        if callback and step >= called + every:
            called = step
            if callback(step, run.model):
                return


def check_schedule(config: Any) -> None:
    """Raise ValueError for settings with which nothing would ever be learned."""
    for name in ("batch", "memory", "train_every", "updates", "target_every"):
        if getattr(config, name) < 1:
            raise ValueError(f"{name}: expected at least 1, got {getattr(config, name)!r}")
    if config.warm_up >= config.steps:
        raise ValueError(f"warm_up: expected fewer than steps={config.steps}, got {config.warm_up!r}")


def dqn_target(Q: nn.Module, target: nn.Module, batch: Batch, gamma: float, double: bool) -> Tensor:
    """What the network should have said about each action taken (B,)."""
    _, _, r, obs_next, ended = batch
    with torch.no_grad():
        if double:  # the network chooses, the target network says what the choice is worth
            return double_q_target(r, Q(obs_next), target(obs_next), gamma, ended)
        return q_learning_target(r, target(obs_next), gamma, ended)


def train_dqn(
    envs: Any,
    config: DQNConfig = DQNConfig(),
    seed: int = 0,
    model: QNetwork | None = None,
    every: int = 0,
    callback: Callback | None = None,
) -> Run:
    """Train by deep Q-learning ({cite}`mnih2015dqn`, {cite}`vanhasselt2016doubledqn`).

    `callback(step, model)` is called about every `every` steps; when it returns True, training stops. Raises
    ValueError for settings with which nothing would be learned.
    """
    check_schedule(config)
    Q = model or QNetwork(envs, seed, config.width)
    target = copy.deepcopy(Q)
    optimizer = torch.optim.Adam(Q.parameters(), lr=config.lr, fused=True)
    rng, A, updates = generator(seed, "dqn"), int(envs.single_action_space.n), 0

    def act(obs: np.ndarray, step: int) -> np.ndarray:
        n = len(obs)
        return np.where(rng.random(n) < config.eps(step), rng.integers(A, size=n), Q.act(obs))

    run, replay = Run(Q), Replay(envs, config.memory)
    for step in experience(envs, act, replay, run, config, seed, every, callback):
        optimizer.param_groups[0]["lr"] = config.lr * max(0.0, 1 - step / config.steps)
        for _ in range(config.updates):
            if updates % config.target_every == 0:
                target.load_state_dict(Q.state_dict())
            batch = replay.sample(config.batch, rng)
            y = dqn_target(Q, target, batch, config.gamma, config.double)
            chosen = Q(batch[0]).gather(1, batch[1][:, None]).squeeze(1)
            loss = dqn_loss(chosen, y)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(Q.parameters(), config.clip_norm)
            optimizer.step()
            updates += 1
        run.history.append({"step": step, "loss": loss.item(), "Q": chosen.mean().item()})
    return run
