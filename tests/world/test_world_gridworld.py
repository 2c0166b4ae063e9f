"""The gridworld: where the cat lands, what it earns, what is drawn, and that Gymnasium accepts it."""

import warnings
from collections import deque

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import mmbook.world.environments  # noqa: F401
from mmbook.world.gridworld import ACTIONS, GRIDS, GridWorld, gridworld
from mmbook.world.mdp import TableBatchEnv
from mmbook.world.stickers import BACKGROUND, KINDS, tiles

NAME = "mmbook/StickerGrid-v0"
AWAY = {"up": (-1, 0), "down": (1, 0), "left": (0, -1), "right": (0, 1)}
SIDES = {"up": "left right", "down": "left right", "left": "up down", "right": "up down"}


def walk(rows: tuple[str, ...], cell: tuple[int, int], direction: str) -> tuple[int, int]:
    """Where a step leads on the map, read from its letters."""
    y, x = cell[0] + AWAY[direction][0], cell[1] + AWAY[direction][1]
    free = 0 <= y < len(rows) and 0 <= x < len(rows[0]) and rows[y][x] != "#"
    return (y, x) if free else cell


@pytest.mark.parametrize("name", GRIDS)
@pytest.mark.parametrize("slip", [0.0, 0.3, 1.0])
def test_tables_equal_the_map_read_cell_by_cell(name: str, slip: float) -> None:
    grid = gridworld(name, slip=slip, step=-0.01)
    pays = {"G": 1.0, "g": 0.25, "C": -1.0}
    cells = [tuple(map(int, cell)) for cell in grid.cells]
    assert cells == [(y, x) for y, row in enumerate(grid.rows) for x, c in enumerate(row) if c != "#"]
    for s, cell in enumerate(cells):
        if grid.rows[cell[0]][cell[1]] in pays:
            assert grid.terminal[s] and (grid.P[s, :, s] == 1).all() and not grid.r[s].any()
            continue
        for a, action in enumerate(ACTIONS):
            chances = [(action, 1 - slip), *((side, slip / 2) for side in SIDES[action].split())]
            p, earned = np.zeros(len(cells)), 0.0
            for direction, chance in chances:
                y, x = walk(grid.rows, cell, direction)
                p[cells.index((y, x))] += chance
                earned += chance * (pays.get(grid.rows[y][x], 0.0) - 0.01)
            assert grid.P[s, a] == pytest.approx(p) and grid.r[s, a] == pytest.approx(earned)


@pytest.mark.parametrize("name", GRIDS)
def test_every_map_has_a_way_from_its_start_to_the_fish(name: str) -> None:
    grid = gridworld(name, slip=0.0)
    queue = deque([int(grid.d_0.argmax())])
    seen = set(queue)
    while queue:
        for t in map(int, np.flatnonzero(grid.P[queue.popleft()].any(0))):
            if t not in seen:
                seen.add(t)
                queue.append(t)
    assert seen == set(range(len(grid.cells)))  # nor is any cell out of reach
    assert any(grid.rows[y][x] == "G" for y, x in grid.cells)


def test_the_path_along_the_cliff_depends_on_the_slip() -> None:
    """Up, six times right, down: safe without slips, and a fall in most episodes with them."""
    rights = [0, 1, 1, 1, 1, 1, 1, 2]
    for slip, low, high in ((0.0, 1.0, 1.0), (0.2, -0.5, 0.3)):
        envs = TableBatchEnv(gridworld("cliff", slip), 2000)
        s, _ = envs.reset(seed=0)
        policy = np.zeros(len(envs.mdp.d_0), int)
        for cell, a in zip([(3, 0), *((2, x) for x in range(7))], rights, strict=True):
            policy[envs.mdp.cells.tolist().index(list(cell))] = a
        alive, total = np.ones(2000, bool), np.zeros(2000)
        for _ in range(200):
            s, reward, ended, _, _ = envs.step(policy[s])
            total += reward * alive
            alive &= ~ended
        assert low <= total.mean() <= high


def test_gymnasium_accepts_it_and_the_limit_holds() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(gymnasium.make(NAME, render_mode="rgb_array").unwrapped)
        check_env(gymnasium.make(NAME, grid="rooms", slip=0.0).unwrapped, skip_render_check=True)
        envs = gymnasium.make_vec(
            NAME, num_envs=5, vectorization_mode="vector_entry_point", grid="pond", slip=0.0
        )
    assert isinstance(envs, TableBatchEnv) and envs.num_envs == 5 and envs.mdp.rows == GRIDS["pond"]
    for single in (True, False):
        one = gymnasium.make(NAME, slip=0.0) if single else envs
        one.reset(seed=0)
        for t in range(200):
            _, _, terminated, truncated, _ = one.step(0 if single else np.zeros(5, int))
            assert not np.any(terminated) and np.all(truncated) == (t == 199)


@pytest.mark.parametrize("name", [NAME, "mmbook/StickerGaze-v0", "mmbook/StickerClassifier-v0"])
def test_actions_that_do_not_exist_are_refused_with_their_range(name: str) -> None:
    one = gymnasium.make(name).unwrapped
    some = gymnasium.make_vec(name, 3, vectorization_mode="vector_entry_point")
    one.reset(seed=0), some.reset(seed=0)
    last = int(one.action_space.n) - 1
    for wrong in (-1, last + 1):
        with pytest.raises(ValueError, match=f"numbers? from 0 to {last}, got .*{wrong}"):
            one.step(wrong)
        with pytest.raises(ValueError, match=f"whole numbers from 0 to {last}, got .*{wrong}"):
            some.step(np.array([0, wrong, last]))
    one.step(last), some.step(np.full(3, last))


def test_the_action_of_a_row_that_only_resets_does_nothing_but_must_exist() -> None:
    shown = []
    for action in (0, 3):
        envs = TableBatchEnv(gridworld("cliff", slip=0.0), 2)
        envs.reset(seed=0)
        envs.s[:] = [np.flatnonzero(envs.mdp.P[:, 1, envs.mdp.terminal].any(1) & ~envs.mdp.terminal)[0], 0]
        assert envs.step(np.array([1, 0]))[2].tolist() == [True, False]  # the first one falls
        shown.append(envs.step(np.array([action, 0]))[0][0])
        envs.step(np.array([0, 0]))
    assert shown[0] == shown[1] == envs.mdp.d_0.argmax()
    envs.s[0], envs.done[0] = 0, True
    with pytest.raises(ValueError, match="from 0 to 3"):
        envs.step(np.array([4, 0]))


def test_pictures_show_the_map_and_the_cat() -> None:
    grid = gridworld("cliff")
    picture = grid.draw(0, size=48)
    assert picture.shape == (4 * 48, 7 * 48, 3) and picture.dtype == np.uint8
    inside = slice(4, 44)  # away from the lines between cells
    fish, sea = (tiles("noto", 48)[KINDS.index(kind)] for kind in ("fish", "octopus"))
    assert (picture[3 * 48 :, 6 * 48 :][inside, inside] == fish[inside, inside]).all()
    assert (picture[3 * 48 :, 48:96][inside, inside] == sea[inside, inside]).all()
    assert (picture[48:96, 48:96][inside, inside] == BACKGROUND).all()
    cat = tiles("noto", 36)[KINDS.index("cat")]
    for s in (0, 7, 8):
        y, x = grid.cells[s] * 48 + 6
        assert (grid.draw(s)[y : y + 36, x : x + 36] == cat).all()
        assert (grid.draw(s) != grid.draw(None)).any()
    end = int(np.flatnonzero(grid.terminal)[-1])
    y, x = grid.cells[end] * 48 + 24
    assert (grid.draw(end)[y : y + 24, x : x + 24] == tiles("noto", 24)[KINDS.index("cat")]).all()
    env = GridWorld(render_mode="rgb_array", grid="pond")
    env.reset(seed=0)
    before = env.render()
    env.step(2)
    assert (before != env.render()).any()


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"grid": "moon"}, "expected one of cliff"),
        ({"grid": ("S.", "G")}, "rows of one length"),
        ({"grid": ("S?", "G.")}, "letters S . # G g C"),
        ({"grid": ("..", "G.")}, "a start S"),
        ({"slip": 1.5}, "slip: expected a probability"),
    ],
)
def test_what_is_no_gridworld_is_refused(settings: dict, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        gridworld(**settings)
