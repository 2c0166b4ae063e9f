"""The gaze task: what is seen, where the moves lead, and the exact best return."""

import itertools
import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import mmbook.world.environments  # noqa: F401
from mmbook.world import render
from mmbook.world.gaze import MOVES, StickerGazeBatch
from mmbook.world.scenes import BIG, SMALL
from mmbook.world.stickers import BACKGROUND

NAME = "mmbook/StickerGaze-v0"


def play_oracle(envs: StickerGazeBatch, steps: int) -> np.ndarray:
    """Returns of all whole episodes within `steps` steps of the oracle."""
    envs.reset(seed=0)
    total, returns = np.zeros(envs.num_envs), []
    for _ in range(steps):
        resets = envs.done.copy()
        _, reward, terminated, truncated, _ = envs.step(envs.oracle())
        total += reward
        assert not truncated.any() and not reward[resets].any()
        returns += total[terminated].tolist()
        total[terminated] = 0
    return np.array(returns)


def test_the_observation_is_the_quarter_under_the_gaze_and_a_map_of_it() -> None:
    envs = StickerGazeBatch(50)
    obs, _ = envs.reset(seed=0)
    assert obs.shape == (50, 24, 24, 4) and obs.dtype == np.uint8
    for i in range(50):
        y, x = divmod(int(envs.gaze[i]), 2)
        assert (obs[i, :, :, :3] == envs.scene[i, 24 * y : 24 * y + 24, 24 * x : 24 * x + 24]).all()
        ones = np.argwhere(obs[i, :, :, 3] == 255)
        assert len(ones) == 144 and (obs[i, :, :, 3] > 0).sum() == 144
        assert ones.min(0).tolist() == [12 * y, 12 * x]


def test_every_scene_has_one_big_sticker_and_one_or_two_small_ones() -> None:
    envs = StickerGazeBatch(400)
    envs.reset(seed=1)
    quarters = envs.scene.reshape(400, 2, 24, 2, 24, 3).swapaxes(2, 3).reshape(400, 4, 24, 24, 3)
    inked = (quarters != BACKGROUND).any(-1)
    extent = np.maximum(inked.any(2).sum(-1), inked.any(3).sum(-1))  # pixels, per quarter
    assert ((extent > SMALL).sum(1) == 1).all() and extent.max() <= BIG
    assert (extent.argmax(1) == envs.target).all()
    assert set((extent > 0).sum(1)) == {2, 3}


@pytest.mark.parametrize(
    ("move", "leads"), [("up", "0101"), ("down", "2323"), ("left", "0022"), ("right", "1133")]
)
def test_moves_lead_to_the_neighbour_and_stop_at_the_border(move: str, leads: str) -> None:
    envs = StickerGazeBatch(4)
    envs.reset(seed=0)
    envs.gaze[:] = range(4)
    _, reward, terminated, _, _ = envs.step(np.full(4, MOVES.index(move)))
    assert envs.gaze.tolist() == [int(q) for q in leads]
    assert reward == pytest.approx(-0.05) and not terminated.any()


def test_the_oracle_reaches_what_is_attainable() -> None:
    envs = gymnasium.make_vec(NAME, num_envs=500, vectorization_mode="vector_entry_point")
    returns = play_oracle(envs, steps=30)
    error = returns.std() / len(returns) ** 0.5
    assert envs.attainable == pytest.approx(0.925) and len(returns) > 4000
    assert abs(returns.mean() - envs.attainable) < 4 * error
    assert sorted({round(r, 2) for r in returns}) == [0.85, 0.9, 0.95, 1.0]


def test_no_way_of_moving_or_guessing_is_better_than_attainable() -> None:
    """Enumerate: any path of looks, told from what it has seen nothing but where the big one is not."""
    envs = StickerGazeBatch(1)
    neighbours = {0: (1, 2), 1: (0, 3), 2: (0, 3), 3: (1, 2)}

    def best(path: tuple[int, ...], budget: int) -> float:
        """Value after looking along the path in vain; kinds of two small stickers may be known by now."""
        unseen = 4 - len(set(path))
        guess = 1 / (len(envs.kinds) - min(2, len(set(path))))
        if not budget or not unseen:
            return guess
        values = [guess]
        for q in neighbours[path[-1]]:
            found = 0 if q in path else 1 / unseen
            values.append(-envs.cost + found + (1 - found) * best((*path, q), budget - 1))
        return max(values)

    exact = np.mean([0.25 + 0.75 * best((q,), budget=5) for q in range(4)])
    assert exact == pytest.approx(envs.attainable, abs=1e-12)


def test_the_map_remembers_where_the_gaze_has_been_in_this_episode() -> None:
    envs = StickerGazeBatch(4)
    envs.reset(seed=0)
    envs.gaze[:] = 0
    for move, middles in (
        ("right", [128, 255, 0, 0]),
        ("down", [128, 128, 0, 255]),
        ("up", [128, 255, 0, 128]),
    ):
        obs = envs.step(np.full(4, MOVES.index(move)))[0]
        assert (obs[:, [6, 6, 18, 18], [6, 18, 6, 18], 3] == middles).all()
    envs.step(np.full(4, len(MOVES)))
    obs = envs.step(np.zeros(4, int))[0]
    assert set(obs[..., 3].flat) == {0, 255} and ((obs[..., 3] == 255).sum((1, 2)) == 144).all()


def test_wrong_answers_earn_nothing_and_end() -> None:
    envs = StickerGazeBatch(3)
    envs.reset(seed=0)
    _, reward, terminated, _, _ = envs.step(len(MOVES) + (envs.answer + 1) % 8)
    assert not reward.any() and terminated.all()


def test_an_episode_without_an_answer_is_cut_off_not_ended() -> None:
    envs = StickerGazeBatch(2)
    envs.reset(seed=0)
    for step in range(1, 13):
        _, _, terminated, truncated, _ = envs.step(np.zeros(2, int))
        assert not terminated.any() and truncated.all() == (step == 12)


def test_all_quarters_are_equally_likely_to_hold_the_big_sticker() -> None:
    envs = StickerGazeBatch(4000)
    envs.reset(seed=2)
    for first, target in itertools.product(range(4), repeat=2):
        share = np.mean((envs.gaze == first) & (envs.target == target))
        assert share == pytest.approx(1 / 16, abs=4 * (15 / 256 / 4000) ** 0.5)


def test_one_at_a_time_passes_gymnasiums_checks_and_equals_the_batch() -> None:
    env = gymnasium.make(NAME, render_mode="rgb_array")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(env.unwrapped, skip_render_check=True)
    first, _ = env.reset(seed=5)
    assert (first == StickerGazeBatch(1).reset(seed=5)[0][0]).all()
    shown = env.render()
    y, x = divmod(int(env.unwrapped.envs.gaze[0]), 2)
    window = (slice(120 * y, 120 * y + 120), slice(120 * x, 120 * x + 120))
    whole = render(env.unwrapped.envs.scenes, 240)[0]
    assert shown.shape == (240, 240, 3) and (shown[window] == whole[window]).all()
    assert (shown != whole).any() and (render(env.unwrapped.envs.scenes)[0] == env.unwrapped.envs.scene).all()


def test_settings_that_would_move_the_optimum_are_refused() -> None:
    with pytest.raises(ValueError, match="cost: expected a number from 0 to"):
        StickerGazeBatch(1, cost=0.5)
    with pytest.raises(ValueError, match="kinds: expected a number from 4 to 32"):
        StickerGazeBatch(1, kinds=3)
