"""Play a policy and note what learners need, laid out as in PPO-RLHF: one row an episode, and a mask."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from gymnasium.vector import AutoresetMode
from torch import Tensor

from mmbook.equations import log_prob
from mmbook.rl.networks import ActorCritic, as_tensor, sample

Callback = Callable[[int, Any], bool | None]


@dataclass
class Run:
    """What training gives: the model, (step, return) of every episode, and one row of numbers an update."""

    model: Any
    episodes: list[tuple[int, float]] = field(default_factory=list)
    history: list[dict[str, float]] = field(default_factory=list)

    def returns(self, last: int = 100) -> float:
        """The mean return of the last episodes."""
        return float(np.mean([r for _, r in self.episodes[-last:]]))


@dataclass
class Rollout:
    """Episodes, or pieces of them, as rows: observations (B, T, ...) and numbers (B, T), 0 where m is 0.

    `t` counts steps from the beginning of the episode. `r` holds, in the last step of a piece whose episode
    goes on, the discounted value of what follows; `reward` does not.
    """

    obs: Tensor
    actions: Tensor
    log_p: Tensor
    V: Tensor
    r: Tensor
    reward: Tensor
    t: Tensor
    m: Tensor

    def rows(self, index: Any) -> Rollout:
        """Some of the rows."""
        return Rollout(**{name: x[index] for name, x in vars(self).items()})


def check_resets(envs: Any) -> None:
    """Raise ValueError for environments that do not spend a step of their own on a reset."""
    mode = envs.metadata.get("autoreset_mode", AutoresetMode.NEXT_STEP)
    if mode != AutoresetMode.NEXT_STEP:
        raise ValueError(f"envs: expected autoreset_mode {AutoresetMode.NEXT_STEP}, got {mode}")


class Player:
    """A policy at play in vector environments; keeps its place between calls and counts steps and episodes.

    The step that Gymnasium spends on a reset is no transition: it is neither counted nor kept. Raises
    ValueError for environments that spend none, as their last observations are not where we look for them.
    """

    def __init__(self, envs: Any, model: ActorCritic, generator: torch.Generator, seed: int) -> None:
        check_resets(envs)
        self.envs, self.model, self.generator = envs, model, generator
        self.obs, _ = envs.reset(seed=seed)
        n = envs.num_envs
        self.resets, self.t, self.total = np.zeros(n, bool), np.zeros(n, np.int64), np.zeros(n)
        self.steps, self.episodes = 0, list[tuple[int, float]]()

    @torch.no_grad()
    def collect(self, T: int, gamma: float) -> Rollout:
        """Play T steps in each environment and cut them into pieces at the episodes' ends."""
        rows: dict[str, list[Tensor]] = {name: [] for name in Rollout.__dataclass_fields__}
        goes_on = []  # where the value of the next observation is still to come
        for step in range(T):
            obs = as_tensor(self.obs)
            logits, V = self.model(obs)
            actions = sample(logits, self.generator)
            self.obs, reward, terminated, truncated, _ = self.envs.step(actions.numpy())
            m = ~self.resets
            ends = (terminated | truncated) & m
            values = {"reward": reward, "r": reward, "t": self.t, "m": m}
            rest = {name: torch.tensor(x, dtype=torch.get_default_dtype()) for name, x in values.items()}
            now = {"obs": obs, "actions": actions, "log_p": log_prob(logits, actions), "V": V, **rest}
            for name, x in now.items():
                rows[name].append(x)
            goes_on.append(torch.as_tensor(m & ~terminated & (truncated | (step == T - 1))))
            self._count(reward * m, m, ends)
        after = self.model(as_tensor(self.obs))[1]
        out = {name: torch.stack(x, dim=1) for name, x in rows.items()}  # (environments, T, ...)
        V_next = torch.cat([out["V"][:, 1:], after[:, None]], dim=1)
        out["r"] = out["r"] + gamma * V_next * torch.stack(goes_on, dim=1)
        return Rollout(**cut(out))

    def _count(self, reward: np.ndarray, m: np.ndarray, ends: np.ndarray) -> None:
        self.steps += int(m.sum())
        self.total += reward
        self.episodes += [(self.steps, float(self.total[n])) for n in np.flatnonzero(ends)]
        self.total[ends] = 0
        self.t = np.where(ends | ~m, 0, self.t + 1)
        self.resets = ends


def rollouts(
    player: Player, T: int, gamma: float, steps: int, every: int = 0, callback: Callback | None = None
) -> Iterator[Rollout]:
    """Yield rollouts until the player has taken its steps; after each, perhaps ask the callback to go on."""
    called = 0
    while player.steps < steps:
        batch = player.collect(T, gamma)
        if not len(batch.m):
            continue  # every step was a reset
        yield batch
        if callback and player.steps >= called + every:
            called = player.steps
            if callback(player.steps, player.model):
                return


def cut(rows: dict[str, Tensor]) -> dict[str, Tensor]:
    """Give every run of m = 1 in the rows (N, T, ...) a padded row of its own (B, T', ...); B may be 0."""
    live = rows["m"] != 0
    if not live.any():
        return {name: x[:0] for name, x in rows.items()}
    before = torch.zeros_like(live)
    before[:, 1:] = live[:, :-1]
    starts = live & ~before
    row = (starts.flatten().cumsum(0) - 1).reshape(live.shape)[live]
    steps = torch.arange(live.shape[1]).expand_as(live)
    place = (steps - torch.where(starts, steps, 0).cummax(dim=1).values)[live]
    B, T = int(row.max()) + 1, int(place.max()) + 1
    out = {}
    for name, x in rows.items():
        out[name] = x.new_zeros((B, T, *x.shape[2:]))
        out[name][row, place] = x[live]
    return out


@torch.no_grad()
def play_episodes(envs: Any, model: ActorCritic, generator: torch.Generator, seed: int | None) -> Rollout:
    """Play one whole episode in each environment: B rows from the first step to the last, as in RLHF.

    Every row is an episode, however long it took, so averages over rows favour no short episodes. `seed` None
    goes on with the environments' own random numbers. The environments must end every episode; one that is
    cut off counts as ended, so returns after a cut are taken for 0.
    """
    check_resets(envs)
    obs, _ = envs.reset(seed=seed)
    alive = np.ones(envs.num_envs, bool)
    rows: dict[str, list[Tensor]] = {name: [] for name in Rollout.__dataclass_fields__}
    while alive.any():
        shown = as_tensor(obs)
        logits, V = model(shown)
        actions = sample(logits, generator)
        obs, reward, terminated, truncated, _ = envs.step(actions.numpy())
        m = torch.tensor(alive, dtype=V.dtype)
        r = torch.as_tensor(reward, dtype=V.dtype) * m
        t = torch.full_like(m, len(rows["m"])) * m
        now = {"obs": shown, "actions": actions, "log_p": log_prob(logits, actions) * m}
        for name, x in {**now, "V": V * m, "r": r, "reward": r, "t": t, "m": m}.items():
            rows[name].append(x)
        alive = alive & ~(terminated | truncated)
    return Rollout(**{name: torch.stack(x, dim=1) for name, x in rows.items()})


def evaluate(
    act: Callable[[np.ndarray], np.ndarray], envs: Any, episodes: int = 100, seed: int = 0
) -> np.ndarray:
    """Returns (episodes,) of whole episodes, as many from each environment, so that short ones get no favour.

    Raises ValueError unless the environments divide the episodes and spend a step on each reset.
    """
    check_resets(envs)
    n = envs.num_envs
    if episodes % n:
        raise ValueError(f"episodes: expected a multiple of the {n} environments, got {episodes}")
    obs, _ = envs.reset(seed=seed)
    done: list[list[float]] = [[] for _ in range(n)]
    total, resets = np.zeros(n), np.zeros(n, bool)
    while min(map(len, done)) < episodes // n:
        obs, reward, terminated, truncated, _ = envs.step(act(obs))
        total += reward * ~resets
        resets = (terminated | truncated) & ~resets
        for i in np.flatnonzero(resets):
            done[i].append(float(total[i]))
            total[i] = 0.0
    return np.array([x[: episodes // n] for x in done]).flatten()
