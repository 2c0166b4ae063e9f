"""Name the sticker in a picture: image classification as an environment, a contextual bandit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gymnasium
import numpy as np

from mmbook.world.mdp import BatchEnv
from mmbook.world.scenes import BIG, SIDE, SMALL, Scene, SceneBatch, Sticker, render
from mmbook.world.stickers import ARTWORK, KINDS, TRAIN_ARTWORK

CROP = SIDE // 2  # pixels: one quarter of a scene
Reward = Callable[[Scene, str, str], float]  # of the scene, its kind and the kind that was answered


def some_kinds(count: int, least: int = 2) -> tuple[str, ...]:
    """`count` kinds spread over all 32. Raises ValueError for fewer than `least` or more than there are."""
    if not least <= count <= len(KINDS):
        raise ValueError(f"kinds: expected a number from {least} to {len(KINDS)}, got {count!r}")
    return tuple(KINDS[i * len(KINDS) // count] for i in range(count))


def place(
    kind: np.ndarray,
    quarter: np.ndarray,
    big: np.ndarray,
    artwork: Sequence[str] | str,
    rng: np.random.Generator,
) -> SceneBatch:
    """Scenes of stickers (N, 3) at random offsets in their quarters, each in one of the artwork styles."""
    styles = [ARTWORK.index(name) for name in ([artwork] if isinstance(artwork, str) else artwork)]
    dx, dy = (rng.random((2, *kind.shape)) * (CROP - np.where(big, BIG, SMALL) + 1)).astype(np.int64)
    return SceneBatch(
        kind=kind, quarter=quarter, big=big, dx=dx, dy=dy, artwork=rng.choice(styles, len(kind))
    )


class StickerClassifierBatch(BatchEnv):
    """Pictures of one sticker, uint8 (N, 24, 24, 3); the action names one of `kinds` kinds, and that ends it.

    A contextual bandit: the next picture does not depend on the answer. The reward is 1 for the right kind
    and 0 for another, or whatever `reward(scene, kind, answer)` says, which may ask a person.
    """

    attainable = 1.0

    def __init__(
        self,
        num_envs: int = 1,
        kinds: int = 8,
        artwork: Sequence[str] | str = TRAIN_ARTWORK,
        reward: Reward | None = None,
    ) -> None:
        self.kinds, self.artwork, self.reward = some_kinds(kinds), artwork, reward
        self.single_observation_space = gymnasium.spaces.Box(0, 255, (CROP, CROP, 3), np.uint8)
        self.single_action_space = gymnasium.spaces.Discrete(kinds)
        super().__init__(num_envs)
        self.answer = np.zeros(num_envs, np.int64)  # the right action
        self.scenes = SceneBatch.of([Scene((Sticker(self.kinds[0], 0, big=True),))]).repeat(num_envs)
        self.seen = np.zeros((num_envs, CROP, CROP, 3), np.uint8)

    def begin(self, rows: np.ndarray) -> None:
        """Draw new pictures."""
        n, rng = len(rows), self.np_random
        self.answer[rows] = rng.integers(len(self.kinds), size=n)
        kind = np.full((n, 3), -1)
        kind[:, 0] = [KINDS.index(self.kinds[i]) for i in self.answer[rows]]
        new = place(kind, np.zeros((n, 3), np.int64), rng.random((n, 3)) < 0.5, self.artwork, rng)
        for name, array in vars(self.scenes).items():
            array[rows] = getattr(new, name)
        self.seen[rows] = render(new)[:, :CROP, :CROP]

    def act(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Reward the answers; nobody is asked about those that are ignored."""
        reward = (actions == self.answer).astype(float)
        if self.reward is not None:
            for i in np.flatnonzero(~self.done).tolist():
                reward[i] = self.reward(self.scenes[i], self.kinds[self.answer[i]], self.kinds[actions[i]])
        return reward, np.ones(self.num_envs, bool)

    def look(self) -> np.ndarray:
        """The pictures (N, 24, 24, 3); an ended episode keeps showing its last."""
        return self.seen.copy()

    def pictures(self) -> np.ndarray:
        """What a person is shown, (N, 240, 240, 3)."""
        return render(self.scenes, 10 * SIDE)[:, : 10 * CROP, : 10 * CROP]


class OneEnv(gymnasium.Env):
    """A batch of one picture environment, played one episode at a time."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 2}  # noqa: RUF012
    batch: type[Any] = StickerClassifierBatch

    def __init__(self, render_mode: str | None = None, **settings: Any) -> None:
        self.envs, self.render_mode = self.batch(1, **settings), render_mode
        self.observation_space = self.envs.single_observation_space
        self.action_space = self.envs.single_action_space

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin an episode."""
        super().reset(seed=seed)
        observations, _ = self.envs.reset(seed=seed)
        return observations[0], {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Take one action."""
        observations, reward, terminated, truncated, _ = self.envs.step(np.array([action]))
        return observations[0], float(reward[0]), bool(terminated[0]), bool(truncated[0]), {}

    def render(self) -> np.ndarray | None:
        """What a person is shown, (240, 240, 3)."""
        return self.envs.pictures()[0] if self.render_mode == "rgb_array" else None


class StickerClassifier(OneEnv):
    """One picture at a time; see StickerClassifierBatch."""
