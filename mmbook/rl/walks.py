"""What tabular learners share: settings, walks through an MDP side by side, and what a run leaves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmbook.equations import step_size
from mmbook.world.mdp import MDP
from mmbook.world.scenes import generator

Explore = Callable[[Tensor, int], Tensor]  # probabilities (..., A) from values (..., A) and the step


@dataclass(frozen=True)
class TableConfig:
    """How tables are learned."""

    gamma: float = 0.9  # discount
    steps: int = 20_000  # steps, or episodes for Monte Carlo, of each run
    runs: int = 10  # independent runs, each with its own table and its own episodes
    c: float = 10.0  # visits after which a step size has halved, about; see step_size
    p: float = 0.8  # how fast step sizes fall
    alpha: float = 0.0  # a constant step size instead, if not 0
    limit: int = 200  # steps after which an episode is cut; values are then learned as if it went on
    snapshots: int = 50  # copies of the table kept on the way

    def __post_init__(self) -> None:
        for name in ("steps", "runs", "limit", "snapshots"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected at least 1, got {getattr(self, name)!r}")
        for name in ("gamma", "alpha"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}: expected a number from 0 to 1, got {getattr(self, name)!r}")

    def step_sizes(self, n: np.ndarray) -> np.ndarray:
        """Step sizes of table entries that have been visited n times."""
        return on_arrays(step_size)(n, self.c, self.p) if not self.alpha else np.full_like(n, self.alpha)


@dataclass
class Learned:
    """Tables (runs, ...) at the end and at some steps on the way, and (run, step, return) of all episodes."""

    table: np.ndarray
    steps: list[int] = field(default_factory=list)
    tables: list[np.ndarray] = field(default_factory=list)
    episodes: list[tuple[int, int, float]] = field(default_factory=list)


def on_arrays(equation: Callable[..., Tensor]) -> Callable[..., np.ndarray]:
    """The equation, for NumPy arrays instead of tensors."""

    def call(*arguments: Any) -> np.ndarray:
        return equation(*(torch.from_numpy(x) if isinstance(x, np.ndarray) else x for x in arguments)).numpy()

    return call


class Walks:
    """Runs that walk through one MDP side by side; where an episode ends or is cut, the next one begins."""

    def __init__(self, mdp: MDP, config: TableConfig, seed: int, purpose: str) -> None:
        self.mdp, self.config, self.rng = mdp, config, generator(seed, purpose)
        self.s = mdp.first(config.runs, self.rng)
        self.over = np.zeros(config.runs, bool)
        self.t, self.total = np.zeros(config.runs, np.int64), np.zeros(config.runs)
        self.count, self.learned = 0, Learned(np.zeros(0))

    def draw(self, p: np.ndarray) -> np.ndarray:
        """One action (runs,) from each row of probabilities (runs, A)."""
        return (self.rng.random(len(p))[:, None] >= p.cumsum(-1)[:, :-1]).sum(-1)

    def step(self, a: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Take actions (runs,): rewards, next states and ends; `s` then holds where the next step begins."""
        s_next, r, ended = self.mdp.step(self.s, a, self.rng)
        self.count, self.t, self.total = self.count + 1, self.t + 1, self.total + r
        self.over, self.s = ended | (self.t >= self.config.limit), s_next
        if self.over.any():
            rows = np.flatnonzero(self.over)
            self.learned.episodes += [(int(i), self.count, float(self.total[i])) for i in rows]
            self.s = s_next.copy()
            self.s[rows], self.t[rows], self.total[rows] = self.mdp.first(len(rows), self.rng), 0, 0.0
        return r, s_next, ended

    def keep(self, step: int, table: np.ndarray) -> Learned:
        """Keep the table after this many steps (or episodes), if it is time for a copy."""
        if step == self.config.steps or step % max(1, self.config.steps // self.config.snapshots) == 0:
            self.learned.table = table.copy()
            self.learned.steps.append(step)
            self.learned.tables.append(self.learned.table)
        return self.learned
