"""Maps of what was looked at: covering by hand, completeness on the model itself, and what points where."""

import numpy as np
import pytest
import torch

from mmbook.evaluate.attribution import (
    Word,
    covered,
    gradient_map,
    inside,
    named,
    occlusion_map,
    pointed,
    quarters,
    reward_of,
    word_log_p,
)
from mmbook.models import load_pretrained_model
from mmbook.rlhf.rewards import Likelihood
from mmbook.world import Scene, SceneBatch, Sticker, render
from mmbook.world.stickers import BACKGROUND

CAPTIONS = ["a cat and a fish.", "well, i can see a key, i guess."]


@pytest.fixture(scope="module")
def model():
    return load_pretrained_model("tiny", device="cpu")


@pytest.fixture(scope="module")
def scenes():
    return SceneBatch.of(
        [Scene((Sticker("cat", 0, True), Sticker("key", 3, True))), Scene((Sticker("key", 2, False),))]
    )


def test_words_are_found_where_they_stand(model, scenes) -> None:
    words = named(model, scenes, CAPTIONS)
    assert words == [Word(0, 1, "cat", 0), Word(0, 4, "fish", -1), Word(1, 6, "key", 2)]
    f = word_log_p(model, CAPTIONS, words)
    ids, _ = model.tokens(CAPTIONS)
    with torch.no_grad():
        z = model.logits(model.states(model.prefix(scenes), ids)).log_softmax(-1)
        got = f(model.prefix(scenes[np.array([0, 0, 1])]), [0, 1, 2])
    by_hand = [z[w.row, w.at, ids[w.row, w.at]].item() for w in words]
    assert got.tolist() == pytest.approx(by_hand, abs=1e-4)


def test_each_cell_is_covered_once(scenes) -> None:
    pictures = render(scenes)
    hidden = covered(pictures, 2)
    assert hidden.shape == (2, 4, 48, 48, 3)
    assert (hidden[:, 3, 24:, 24:] == BACKGROUND).all()
    assert (hidden[:, 3, :24] == pictures[:, :24]).all() and (pictures == render(scenes)).all()


def test_covering_what_is_empty_changes_nothing_and_the_sticker_does(model, scenes) -> None:
    words = [w for w in named(model, scenes, CAPTIONS) if w.quarter >= 0]
    maps = occlusion_map(model, scenes, word_log_p(model, CAPTIONS, words), cells=2)
    assert maps[1].ravel()[[0, 1, 3]].tolist() == pytest.approx([0, 0, 0], abs=1e-4)
    assert pointed(maps, [0, 2]).all() and (inside(maps, [0, 2]) > 0.5).all()


def test_parts_of_a_reward_add_up_to_its_rise_from_the_empty_page(model, scenes) -> None:
    f = reward_of(Likelihood(model), CAPTIONS)
    maps = gradient_map(model, scenes, f, K=64)
    page = np.full((2, 48, 48, 3), BACKGROUND, np.uint8)
    with torch.no_grad():
        rise = f(model.prefix(scenes), [0, 1]) - f(model.prefix(page), [0, 1])
    assert maps.shape == (2, 4, 4)
    assert maps.sum((1, 2)).tolist() == pytest.approx(rise.tolist(), rel=0.15, abs=0.3)


def test_quarters_and_shares_of_a_map() -> None:
    maps = np.zeros((1, 4, 4))
    maps[0, 3, 0], maps[0, 0, 3], maps[0, 0, 0] = 3.0, 1.0, -9.0
    assert quarters(maps).tolist() == [[-9, 1, 3, 0]]
    assert pointed(maps, [2]).tolist() == [True] and inside(maps, [2]).tolist() == [0.75]
    assert inside(-np.abs(maps), [2]).tolist() == [0.0]
