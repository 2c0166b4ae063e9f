"""Markov decision processes as tables, and environments (Gymnasium API) that are played from the tables."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space


@dataclass(frozen=True, eq=False)
class MDP:
    """A finite Markov decision process: P and R (S, A, S), d_0 (S,), terminal (S,); the discount comes later.

    `P[s, a, t]` is the probability and `R[s, a, t]` the reward of going from s to t by action a; `d_0` is the
    distribution of first states. A terminal state leads to itself for nothing. Raises ValueError for anything
    else.
    """

    P: np.ndarray
    R: np.ndarray
    d_0: np.ndarray
    terminal: np.ndarray
    states: tuple[str, ...] = ()
    actions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        S, A = self.P.shape[:2]
        if self.terminal.dtype != bool:  # ~ of a whole number is not its opposite
            raise ValueError(f"terminal: expected booleans, got {self.terminal.dtype}")
        for name, shape in (("P", (S, A, S)), ("R", (S, A, S)), ("d_0", (S,)), ("terminal", (S,))):
            if getattr(self, name).shape != shape:
                raise ValueError(f"{name}: expected shape {shape}, got {getattr(self, name).shape}")
        wrong = np.argwhere((self.P < 0).any(-1) | ~np.isclose(self.P.sum(-1), 1))
        if len(wrong):
            s, a = wrong[0]
            raise ValueError(f"P[{s}, {a}]: expected probabilities that sum to 1, got {self.P[s, a].sum():g}")
        if (self.d_0 < 0).any() or not np.isclose(self.d_0.sum(), 1):
            raise ValueError(f"d_0: expected probabilities that sum to 1, got {self.d_0.sum():g}")
        ends = np.flatnonzero(self.terminal)
        if (self.P[ends, :, ends] != 1).any() or (self.R[ends, :, ends] != 0).any():
            raise ValueError("terminal: expected states that lead to themselves with reward 0")

    @cached_property
    def r(self) -> np.ndarray:
        """The mean reward (S, A) of each action in each state."""
        return (self.P * self.R).sum(-1)

    @cached_property
    def _successors(self) -> tuple[np.ndarray, np.ndarray]:
        """The states that can follow (S, A, K) and their cumulated probabilities (S, A, K)."""
        order = np.argsort(-self.P, axis=-1, kind="stable")[:, :, : (self.P > 0).sum(-1).max()]
        return order, np.take_along_axis(self.P, order, -1).cumsum(-1)

    @cached_property
    def _cumulated_first(self) -> np.ndarray:
        return self.d_0.cumsum() / self.d_0.sum()

    def first(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Draw n first states (n,)."""
        return self._cumulated_first.searchsorted(rng.random(n), side="right")

    def step(
        self, s: np.ndarray, a: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Draw next states, rewards and whether the episode ended, each (N,), for states and actions (N,)."""
        states, cumulated = self._successors
        k = (rng.random(len(s))[:, None] >= cumulated[s, a, :-1]).sum(-1)
        t = states[s, a, k]
        return t, self.R[s, a, t], self.terminal[t]

    @classmethod
    def from_gymnasium(cls, env: gymnasium.Env) -> MDP:
        """The tables of an environment that has them in `P`, as FrozenLake and CliffWalking do.

        Every transition that ends an episode leads to one new last state, so that no state is half terminal.
        """
        table, first = env.unwrapped.P, env.unwrapped.initial_state_distrib  # type: ignore[attr-defined]
        S, A = len(table), len(table[0])
        P, R = np.zeros((2, S + 1, A, S + 1))
        P[S, :, S] = 1
        for s, row in table.items():
            for a, outcomes in row.items():
                for p, t, reward, ends in outcomes:
                    R[s, a, S if ends else t] += p * reward
                    P[s, a, S if ends else t] += p
        np.divide(R, P, out=R, where=P > 0)
        terminal = np.arange(S + 1) == S
        return cls(P, R, np.append(np.asarray(first, float), 0.0), terminal)


class TableEnv(gymnasium.Env):
    """An environment that is played from the tables of an MDP; observation and action are numbers.

    `draw`, if given, turns a state into a picture (H, W, 3) for `render`.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 4}  # noqa: RUF012

    def __init__(
        self,
        mdp: MDP,
        draw: Callable[[int], np.ndarray] | None = None,
        render_mode: str | None = None,
    ) -> None:
        self.mdp, self.draw, self.render_mode = mdp, draw, render_mode
        self.observation_space = gymnasium.spaces.Discrete(len(mdp.d_0))
        self.action_space = gymnasium.spaces.Discrete(mdp.P.shape[1])
        self.s = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[int, dict[str, Any]]:
        """Begin an episode in a state drawn from d_0."""
        super().reset(seed=seed)
        self.s = int(self.mdp.first(1, self.np_random)[0])
        return self.s, {}

    def step(self, action: Any) -> tuple[int, float, bool, bool, dict[str, Any]]:
        """Take an action; never truncates by itself. Raises ValueError for one that does not exist."""
        last = self.mdp.P.shape[1] - 1
        if not 0 <= int(action) <= last:
            raise ValueError(f"action: expected a number from 0 to {last}, got {action!r}")
        t, reward, ended = self.mdp.step(np.array([self.s]), np.array([int(action)]), self.np_random)
        self.s = int(t[0])
        return self.s, float(reward[0]), bool(ended[0]), False, {}

    def render(self) -> np.ndarray | None:
        """The picture of the present state, if there is a way to draw it."""
        return self.draw(self.s) if self.draw and self.render_mode == "rgb_array" else None


class BatchEnv(VectorEnv):
    """A vector environment whose subclasses move all its episodes at once; resets on the next step.

    Subclasses set `single_observation_space`, `single_action_space` and `max_episode_steps` (0: no limit)
    before `super().__init__`, and define `begin(rows)`, which starts new episodes there, `act(actions)`,
    which returns rewards and terminations, and `look()`, the observations.
    """

    metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP, "render_modes": []}  # noqa: RUF012
    max_episode_steps = 0

    def __init__(self, num_envs: int) -> None:
        self.num_envs = num_envs
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.steps, self.done = np.zeros(num_envs, np.int64), np.zeros(num_envs, bool)

    def begin(self, rows: np.ndarray) -> None:
        raise NotImplementedError

    def act(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        raise NotImplementedError

    def look(self) -> np.ndarray:
        raise NotImplementedError

    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin all episodes."""
        super().reset(seed=seed)
        self.steps[:], self.done[:] = 0, False
        self.begin(np.arange(self.num_envs))
        return self.look(), {}

    def step(
        self, actions: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Move all episodes; where the last step ended one, begin the next and ignore the action.

        Raises ValueError for an action that does not exist, also where it would be ignored.
        """
        n = int(self.single_action_space.n)  # type: ignore[attr-defined]
        actions, new = np.asarray(actions), self.done.copy()
        if not ((actions >= 0) & (actions < n)).all():
            raise ValueError(f"actions: expected whole numbers from 0 to {n - 1}, got {actions}")
        reward, terminated = self.act(actions)
        self.steps += 1
        truncated = (
            (self.steps >= self.max_episode_steps) & ~terminated
            if self.max_episode_steps
            else np.zeros(self.num_envs, bool)
        )
        if new.any():
            self.begin(np.flatnonzero(new))
            self.steps[new] = 0
            reward, terminated, truncated = (np.where(new, 0, x) for x in (reward, terminated, truncated))
        self.done = terminated.astype(bool) | truncated.astype(bool)
        return self.look(), reward, terminated.astype(bool), truncated.astype(bool), {}


class TableBatchEnv(BatchEnv):
    """Many episodes of one MDP side by side; observations are state numbers (N,)."""

    def __init__(self, mdp: MDP, num_envs: int = 1, max_episode_steps: int = 0) -> None:
        self.mdp, self.max_episode_steps = mdp, max_episode_steps
        self.single_observation_space = gymnasium.spaces.Discrete(len(mdp.d_0))
        self.single_action_space = gymnasium.spaces.Discrete(mdp.P.shape[1])
        super().__init__(num_envs)
        self.s = np.zeros(num_envs, np.int64)

    def begin(self, rows: np.ndarray) -> None:
        """Draw first states."""
        self.s[rows] = self.mdp.first(len(rows), self.np_random)

    def act(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Draw next states."""
        self.s, reward, ended = self.mdp.step(self.s, actions, self.np_random)
        return reward, ended

    def look(self) -> np.ndarray:
        """The state numbers (N,)."""
        return self.s.copy()
