"""Move the gaze over a scene, then answer: the next observation depends on the action, so it has to plan."""

from __future__ import annotations

from collections.abc import Sequence

import gymnasium
import numpy as np

from mmbook.world.classifier import CROP, OneEnv, place, some_kinds
from mmbook.world.mdp import BatchEnv
from mmbook.world.scenes import SIDE, Scene, SceneBatch, Sticker, render
from mmbook.world.stickers import KINDS, TRAIN_ARTWORK

MOVES = ("up", "down", "left", "right")
_TO = np.array([[0, 2, 0, 1], [1, 3, 0, 1], [0, 2, 2, 3], [1, 3, 2, 3]])  # quarter after each move
_ROUND = np.array([3, 1, 0, 2])  # the move in each quarter that leads round through all four


class StickerGazeBatch(BatchEnv):
    """Two or three stickers, one of them big: find the big one, one quarter at a time, and name its kind.

    The observation, uint8 (N, 24, 24, 4), is the quarter under the gaze and, as fourth channel, a small map:
    255 where the gaze is, 128 where it has been. Actions 0 to 3 move it up, down, left or right for `cost`,
    also where a border stops it; action 4 + k answers kind k for 1, or 0 when it is wrong, and ends the
    episode. Truncates after 12 steps.
    """

    def __init__(
        self,
        num_envs: int = 1,
        kinds: int = 8,
        artwork: Sequence[str] | str = TRAIN_ARTWORK,
        cost: float = 0.05,
        max_episode_steps: int = 12,
    ) -> None:
        if not 0 <= cost <= 0.1:
            raise ValueError(f"cost: expected a number from 0 to 0.1, got {cost!r}")
        self.kinds, self.artwork, self.cost = some_kinds(kinds, least=4), artwork, cost
        self.max_episode_steps = max_episode_steps
        self.single_observation_space = gymnasium.spaces.Box(0, 255, (CROP, CROP, 4), np.uint8)
        self.single_action_space = gymnasium.spaces.Discrete(len(MOVES) + kinds)
        super().__init__(num_envs)
        self.gaze, self.target, self.answer = np.zeros((3, num_envs), np.int64)
        self.scenes = SceneBatch.of([Scene((Sticker(self.kinds[0], 0, big=True),))]).repeat(num_envs)
        self.scene = np.zeros((num_envs, SIDE, SIDE, 3), np.uint8)
        self.been = np.zeros((num_envs, 4), bool)
        half = np.arange(CROP) // (CROP // 2)
        self.layout = 2 * half[:, None] + half  # the quarter that each pixel of the map stands for

    @property
    def attainable(self) -> float:
        """The best mean return, undiscounted: go round, so that the big sticker is 0, 1, 2 or 3 moves away.

        Every move then shows a new quarter, and the unseen ones are equally likely to hold it.
        """
        return 1 - self.cost * (0 + 1 + 2 + 3) / 4

    def begin(self, rows: np.ndarray) -> None:
        """Draw new scenes and where to look first."""
        n, rng = len(rows), self.np_random
        count = rng.integers(2, 4, size=n)
        absent = np.arange(3) >= count[:, None]
        chosen = rng.permuted(np.tile(np.arange(len(self.kinds)), (n, 1)), axis=1)[:, :3]
        quarter = rng.permuted(np.tile(np.arange(4), (n, 1)), axis=1)[:, :3]
        big = rng.integers(count)
        kind = np.array([KINDS.index(name) for name in self.kinds])[chosen]
        new = place(np.where(absent, -1, kind), quarter, np.arange(3) == big[:, None], self.artwork, rng)
        for name, array in vars(self.scenes).items():
            array[rows] = getattr(new, name)
        self.scene[rows] = render(new)
        self.answer[rows], self.target[rows] = chosen[np.arange(n), big], quarter[np.arange(n), big]
        self.gaze[rows], self.been[rows] = rng.integers(4, size=n), False

    def act(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Move the gaze or judge the answer."""
        ends = actions >= len(MOVES)
        self.been[np.arange(self.num_envs), self.gaze] = True
        self.gaze = np.where(ends, self.gaze, _TO[self.gaze, np.where(ends, 0, actions)])
        return np.where(ends, actions - len(MOVES) == self.answer, -self.cost), ends

    def look(self) -> np.ndarray:
        """The quarters under the gaze, with the map."""
        quarters = self.scene.reshape(-1, 2, CROP, 2, CROP, 3)
        seen = quarters[np.arange(self.num_envs), self.gaze // 2, :, self.gaze % 2]
        level = self.been * np.uint8(128)
        level[np.arange(self.num_envs), self.gaze] = 255
        return np.concatenate([seen, level[:, self.layout, None]], axis=-1)

    def oracle(self) -> np.ndarray:
        """The best actions (N,) of someone who recognises what lies under the gaze, and no more."""
        return np.where(self.gaze == self.target, len(MOVES) + self.answer, _ROUND[self.gaze])

    def pictures(self) -> np.ndarray:
        """What a person is shown, (N, 240, 240, 3): the whole scene, pale where the gaze is not."""
        side = 5 * CROP
        shown = render(self.scenes, 2 * side).reshape(-1, 2, side, 2, side, 3)
        lit = np.zeros((self.num_envs, 2, 1, 2, 1, 1))
        lit[np.arange(self.num_envs), self.gaze // 2, 0, self.gaze % 2] = 1
        pale = (0.25 + 0.75 * lit) * shown + (1 - lit) * 0.75 * 225
        return pale.round().astype(np.uint8).reshape(-1, 2 * side, 2 * side, 3)


class StickerGaze(OneEnv):
    """One scene at a time; see StickerGazeBatch."""

    batch = StickerGazeBatch
