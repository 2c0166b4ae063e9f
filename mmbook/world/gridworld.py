"""The sticker gridworld: a cat that slips looks for fish among octopuses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mmbook.world.mdp import MDP, TableBatchEnv, TableEnv
from mmbook.world.stickers import BACKGROUND, KINDS, tiles

ACTIONS = ("up", "right", "down", "left")
MOVES = np.array(
    [(-1, 0), (0, 1), (1, 0), (0, -1)]
)  # row and column; neighbours in the list are perpendicular
# S start, G fish, g a snack, C cliff, # wall; all but S, . and # end the episode.
STICKERS = {"G": "fish", "g": "apple", "C": "octopus"}
REWARDS = {"G": 1.0, "g": 0.25, "C": -1.0}
GRIDS = {
    "cliff": (".......", ".......", ".......", "SCCCCCG"),
    "bridge": ("#CCCCC#", "gS....G", "#CCCCC#"),
    "rooms": (
        "S..#....",
        "...#..C.",
        "........",
        "...#....",
        "##.###.#",
        "...#....",
        ".C......",
        "...#...G",
    ),
    "pond": ("S....", "..C..", ".CG..", "..C.g"),
}


@dataclass(frozen=True, eq=False, kw_only=True)
class Grid(MDP):
    """A gridworld: an MDP with its map, `rows`, and the row and column of each state, `cells` (S, 2)."""

    rows: tuple[str, ...]
    cells: np.ndarray
    artwork: str = "noto"

    @property
    def stickers(self) -> dict[str, str]:
        """The sticker kind that each letter of the map stands for."""
        return STICKERS

    def draw(self, s: int | None = None, size: int = 48) -> np.ndarray:
        """A uint8 picture (rows * size, columns * size, 3) of the map with the cat in state s."""
        picture = np.empty((len(self.rows) * size, len(self.rows[0]) * size, 3), np.uint8)
        picture[:] = BACKGROUND
        for y, row in enumerate(self.rows):
            for x, letter in enumerate(row):
                cell = picture[y * size : (y + 1) * size, x * size : (x + 1) * size]
                cell[:] = (60, 64, 70) if letter == "#" else BACKGROUND
                if letter in STICKERS:
                    cell[:] = tiles(self.artwork, size)[KINDS.index(STICKERS[letter])]
                if letter == "S":
                    cell[size - size // 8 :] = (0, 158, 115)
        # Lines between the cells; the pixels of a picture's right and bottom edge stay.
        picture[size::size] = picture[:, size::size] = (215, 211, 200)
        if s is not None:
            (y, x), ended = self.cells[s] * size, bool(self.terminal[s])
            width = size // 2 if ended else size * 3 // 4  # small beside what it has found
            top, left = (y + size - width, x + size - width) if ended else (y + size // 8, x + size // 8)
            picture[top : top + width, left : left + width] = tiles(self.artwork, width)[KINDS.index("cat")]
        return picture


def gridworld(
    grid: str | Sequence[str] = "cliff", slip: float = 0.2, step: float = 0.0, artwork: str = "noto"
) -> Grid:
    """The gridworld of a map: a name from GRIDS, or rows of letters.

    With probability `slip` the cat goes to one of the two sides of where it wanted; a wall or the edge stops
    it. Reaching a fish earns 1, an apple 0.25, an octopus -1, and each ends the episode; every move earns
    `step` besides. Raises ValueError for an unknown name, a map that is none, or slip outside [0, 1].
    """
    if isinstance(grid, str) and grid not in GRIDS:
        raise ValueError(f"grid: expected one of {', '.join(GRIDS)} or rows of letters, got {grid!r}")
    rows = GRIDS[grid] if isinstance(grid, str) else tuple(grid)
    letters = "".join(rows)
    if not letters or len({len(row) for row in rows}) > 1 or not set(letters) <= {*"S.#", *STICKERS}:
        raise ValueError(f"grid: expected rows of one length from the letters S . # G g C, got {rows}")
    if "S" not in letters:
        raise ValueError(f"grid: expected a start S, got {rows}")
    if not 0 <= slip <= 1:
        raise ValueError(f"slip: expected a probability, got {slip!r}")
    cells = np.array([(y, x) for y, row in enumerate(rows) for x, c in enumerate(row) if c != "#"])
    number = {tuple(cell): s for s, cell in enumerate(cells)}
    kinds = [rows[y][x] for y, x in cells]
    S, A = len(cells), len(ACTIONS)
    P, terminal = np.zeros((S, A, S)), np.array([kind in STICKERS for kind in kinds])
    for s, cell in enumerate(cells):
        lands = [s if terminal[s] else number.get(tuple(cell + move), s) for move in MOVES]
        for a in range(A):
            for turn, p in ((0, 1 - slip), (1, slip / 2), (-1, slip / 2)):
                P[s, a, lands[(a + turn) % A]] += p
    R = np.broadcast_to(step + np.array([REWARDS.get(kind, 0.0) for kind in kinds]), P.shape).copy()
    R[terminal] = 0
    P[terminal] = np.eye(S)[terminal][:, None]  # exactly 1, not a sum of slips
    first = np.array([kind == "S" for kind in kinds], float)
    names = tuple(f"row {y} column {x}" for y, x in cells)
    return Grid(P, R, first / first.sum(), terminal, names, ACTIONS, rows=rows, cells=cells, artwork=artwork)


class GridWorld(TableEnv):
    """One cat in a gridworld; `render` draws it. Settings are those of `gridworld`."""

    def __init__(self, render_mode: str | None = None, **settings: Any) -> None:
        grid = gridworld(**settings)
        super().__init__(grid, grid.draw, render_mode)


def grid_batch(num_envs: int = 1, max_episode_steps: int = 0, **settings: Any) -> TableBatchEnv:
    """Many cats, each in a gridworld of its own; settings are those of `gridworld`."""
    return TableBatchEnv(gridworld(**settings), num_envs, max_episode_steps)
