"""The caption tree: every short caption of one scene as an MDP that is small enough to be solved exactly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mmbook.world.mdp import MDP, TableBatchEnv, TableEnv
from mmbook.world.scenes import Scene, Sticker
from mmbook.world.truth import check

SCENE = Scene((Sticker("cat", 0, big=True, dx=1, dy=1), Sticker("bus", 3, big=False, dx=4, dy=5)))


@dataclass(frozen=True)
class Paths:
    """The way to each response through the tree: states, actions and mask m, each (K, T); 0 where m is 0."""

    states: np.ndarray
    actions: np.ndarray
    m: np.ndarray


class CaptionTree:
    """All captions of at most `length` words; the last of the words ends one, and so does the limit.

    A state is a prefix, an action the next word, and the only reward, at the end, is what the truth checker
    says that the caption is worth. `prefixes` (S) are the states as tuples of words; the last state, the end,
    is written as the prefix `("end",)`. `responses` (K) are the complete captions, `rewards` (K,) theirs.
    Raises ValueError for fewer than two words, a word twice, or length < 1.
    """

    def __init__(
        self,
        scene: Scene = SCENE,
        words: Sequence[str] = ("cat", "fish", "bus", ",", "."),
        length: int = 4,
    ) -> None:
        if len(words) < 2 or len(set(words)) < len(words) or length < 1:
            raise ValueError(f"words, length: expected two different words and 1, got {words!r}, {length!r}")
        self.scene, self.words, self.length = scene, tuple(words), length
        live: list[tuple[str, ...]] = [()]
        for prefix in live:  # grows while it is read: shorter prefixes first
            if len(prefix) < length - 1:
                live += [(*prefix, word) for word in self.words[:-1]]
        self.prefixes = (*live, ("end",))
        number = {prefix: s for s, prefix in enumerate(live)}
        S, A, end = len(self.prefixes), len(self.words), len(live)
        P, R = np.zeros((2, S, A, S))
        P[end, :, end] = 1
        ways, rewards = [], []
        for s, prefix in enumerate(live):
            for a, word in enumerate(self.words):
                t = number.get((*prefix, word), end)
                P[s, a, t] = 1
                if t == end:
                    R[s, a, t] = check(self.text((*prefix, word)), scene).utility
                    rewards.append(R[s, a, t])
                    ways.append((*prefix, word))
        self.responses, self.rewards = tuple(ways), np.array(rewards)
        names = tuple(map(self.text, live))
        self.mdp = MDP(P, R, np.eye(S)[0], np.arange(S) == end, ("(start)", *names[1:], "(end)"), self.words)
        states, actions, m = np.zeros((3, len(ways), length), np.int64)
        for k, way in enumerate(ways):
            for i, word in enumerate(way):
                states[k, i], actions[k, i], m[k, i] = number[way[:i]], self.words.index(word), 1
        self.paths = Paths(states, actions, m)

    @staticmethod
    def text(words: Sequence[str]) -> str:
        """Words as a caption, "cat, bus."."""
        return " ".join(words).replace(" ,", ",").replace(" .", ".")

    def log_prob(self, log_pi: Any) -> Any:
        """Log-probability (K,) of each response under a policy log_pi (S, A), an array or a tensor."""
        picked = log_pi[self.paths.states, self.paths.actions]
        picked[self.paths.m == 0] = 0
        return picked.sum(-1)


class CaptionTreeEnv(TableEnv):
    """Write one caption, word by word; settings are those of CaptionTree."""

    metadata = {"render_modes": []}  # noqa: RUF012

    def __init__(self, **settings: Any) -> None:
        super().__init__(CaptionTree(**settings).mdp)


def tree_batch(num_envs: int = 1, **settings: Any) -> TableBatchEnv:
    """Write many captions side by side; settings are those of CaptionTree."""
    return TableBatchEnv(CaptionTree(**settings).mdp, num_envs)
