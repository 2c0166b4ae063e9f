"""The sticker classifier: what it shows, what it pays, and that it is a bandit."""

import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import mmbook.world.environments  # noqa: F401
from mmbook.world import TRAIN_ARTWORK, Scene, render
from mmbook.world.classifier import StickerClassifierBatch
from mmbook.world.scenes import BIG, SMALL
from mmbook.world.stickers import BACKGROUND, KINDS, tiles

NAME = "mmbook/StickerClassifier-v0"


def find(picture: np.ndarray, artwork: tuple[str, ...]) -> set[str]:
    """Which kinds the picture shows: slide every tile over it (an independent reading of the drawing)."""
    found = set()
    for style in artwork:
        for width in (SMALL, BIG):
            for kind, tile in zip(KINDS, tiles(style, width), strict=True):
                for top in range(24 - width + 1):
                    for left in range(24 - width + 1):
                        copy = np.empty_like(picture)
                        copy[:] = BACKGROUND
                        copy[top : top + width, left : left + width] = tile
                        if (copy == picture).all():
                            found.add(kind)
    return found


def test_the_answer_is_the_kind_that_is_drawn() -> None:
    envs = StickerClassifierBatch(6)
    pictures, _ = envs.reset(seed=1)
    assert pictures.shape == (6, 24, 24, 3) and pictures.dtype == np.uint8
    for picture, answer in zip(pictures, envs.answer, strict=True):
        assert find(picture, TRAIN_ARTWORK) == {envs.kinds[answer]}


def test_held_out_artwork_shows_other_pictures() -> None:
    held_out, _ = StickerClassifierBatch(2, artwork="openmoji").reset(seed=1)
    assert not find(held_out[0], TRAIN_ARTWORK) and find(held_out[0], ("openmoji",))


def test_right_answers_earn_one_and_every_episode_is_one_step() -> None:
    envs = gymnasium.make_vec(NAME, num_envs=8, vectorization_mode="vector_entry_point")
    envs.reset(seed=0)
    answers = envs.answer.copy()
    wrong = np.where(np.arange(8) < 3, (answers + 1) % 8, answers)
    _, reward, terminated, truncated, _ = envs.step(wrong)
    assert reward.tolist() == [0, 0, 0, 1, 1, 1, 1, 1] and terminated.all() and not truncated.any()
    _, reward, terminated, truncated, _ = envs.step(envs.answer)  # only resets
    assert not reward.any() and not terminated.any() and not truncated.any()


def test_a_bandit_the_next_picture_does_not_depend_on_the_action() -> None:
    pictures = []
    for action in (0, 1):
        envs = StickerClassifierBatch(16)
        envs.reset(seed=3)
        envs.step(np.full(16, action))
        pictures.append(envs.step(np.zeros(16, int))[0])
    assert (pictures[0] == pictures[1]).all()


def test_sizes_places_and_kinds_are_all_drawn() -> None:
    envs = StickerClassifierBatch(4000, kinds=32)
    pictures, _ = envs.reset(seed=0)
    assert len(set(envs.kinds)) == 32 and set(envs.answer) == set(range(32))
    inked = (pictures != BACKGROUND).any(-1)
    assert inked.any(0).all()  # every pixel is used by some picture
    widths = inked.any(1).sum(-1)
    assert (widths > SMALL).mean() == pytest.approx(0.45, abs=0.08) and widths.max() <= BIG


def test_a_person_may_give_the_reward_and_is_asked_once_an_episode() -> None:
    asked = []

    def person(scene: Scene, kind: str, answer: str) -> float:
        asked.append((kind, answer))
        assert scene.kinds == (kind,)
        return 5.0 if kind == answer else -2.0

    envs = StickerClassifierBatch(2, reward=person)
    envs.reset(seed=0)
    kinds = [envs.kinds[i] for i in envs.answer]
    reward = envs.step(np.array([envs.answer[0], (envs.answer[1] + 1) % 8]))[1]
    envs.step(np.zeros(2, int))
    assert reward.tolist() == [5.0, -2.0] and len(asked) == 2
    assert [kind for kind, _ in asked] == kinds and asked[0][1] == kinds[0] and asked[1][1] != kinds[1]


def test_one_at_a_time_passes_gymnasiums_checks_and_equals_the_batch() -> None:
    env = gymnasium.make(NAME, render_mode="rgb_array")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(env.unwrapped, skip_render_check=True)
    first, _ = env.reset(seed=5)
    assert (first == StickerClassifierBatch(1).reset(seed=5)[0][0]).all()
    assert env.render().shape == (240, 240, 3)
    assert (render([env.unwrapped.envs.scenes[0]])[0, :24, :24] == first).all()
    assert env.step(env.unwrapped.envs.answer[0])[1:4] == (1.0, True, False)


@pytest.mark.parametrize("kinds", [1, 33])
def test_a_number_of_kinds_that_does_not_exist_is_refused(kinds: int) -> None:
    with pytest.raises(ValueError, match="kinds: expected a number from 2 to 32"):
        StickerClassifierBatch(1, kinds=kinds)
