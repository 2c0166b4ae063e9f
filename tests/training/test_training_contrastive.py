"""Pairs, distortion and the fitting of two towers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from mmbook.equations import clip_loss, info_nce, recall_at, similarity
from mmbook.models.contrastive import PictureTower, WordTower
from mmbook.training.contrastive import (
    NEW,
    Batch,
    EmojiPairs,
    build_towers,
    captioned,
    distort,
    fit_towers,
    one_sticker,
    partners,
    picture_vectors,
    text_vectors,
)
from mmbook.training.loop import Schedule
from mmbook.world import KINDS, TRAIN_ARTWORK, check, sample_scenes
from mmbook.world.fetch import fetched
from mmbook.world.scenes import generator
from mmbook.world.stickers import tiles


def names(n: int):
    def draw(rng: np.random.Generator) -> Batch:
        pictures, kind = one_sticker(n, rng)
        return partners(pictures, [KINDS[k] for k in kind])

    return draw


def small(seed: int):
    return build_towers(lambda: PictureTower(32, (12, 24, 32)), lambda: WordTower(KINDS, 32), seed)


def test_one_sticker_is_the_tile_of_its_kind() -> None:
    pictures, kind = one_sticker(40, 3, "noto")
    assert pictures.shape == (40, 24, 24, 3) and len(set(kind.tolist())) > 15
    for picture, k in zip(pictures, kind, strict=True):
        found = [
            (picture[y : y + w, x : x + w] == tiles("noto", w)[k]).all()
            for w in (14, 22) for y in range(25 - w) for x in range(25 - w)
        ]  # fmt: skip
        assert any(found)
    again = one_sticker(40, 3, "noto")
    assert (again[0] == pictures).all() and not (one_sticker(40, 4, "noto")[0] == pictures).all()


def test_captions_are_true_and_full() -> None:
    batch = captioned(30, 5)
    scenes = sample_scenes(30, generator(5, "captioned"), TRAIN_ARTWORK)
    assert all(check(text, scene).full for text, scene in zip(batch.texts, scenes, strict=True))
    assert batch.pictures.shape == (30, 48, 48, 3) and batch.y.tolist() == list(range(30))


def test_distortion_keeps_what_is_plain_and_range() -> None:
    rng = generator(0, "test")
    x = torch.from_numpy(one_sticker(16, 0)[0])
    y = distort(x, rng)
    assert y.shape == x.shape and y.min() >= 0 and y.max() <= 255
    assert (y - x).abs().mean((1, 2, 3)).min() > 1  # every picture is changed
    assert torch.allclose(distort(x, rng, 0.0), x.float(), atol=0.01)
    flat = distort(torch.full((8, 24, 24, 3), 100, dtype=torch.uint8), rng)
    assert flat.flatten(1, 2).std(1).max() < 0.01  # one colour stays one colour, and grey grey
    assert flat.std(-1).max() < 0.01


def test_fitting_learns_names_and_is_repeatable() -> None:
    a, b = small(0), small(0)
    losses = [fit_towers(t, names(32), 0, Schedule(60, 5e-3, warmup=5)) for t in (a, b)]
    assert losses[0] == losses[1]
    assert all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True))
    pictures, kind = one_sticker(200, 9)
    s = similarity(picture_vectors(a, pictures), text_vectors(a, KINDS))
    assert recall_at(s, torch.from_numpy(kind), 1).item() > 0.5
    shuffled = s[torch.randperm(200, generator=torch.Generator().manual_seed(0))]
    assert recall_at(shuffled, torch.from_numpy(kind), 1).item() < 0.2  # a control


class Table(nn.Module):
    """Vectors that are given."""

    def __init__(self, v: torch.Tensor) -> None:
        super().__init__()
        self.v = nn.Parameter(v)

    def forward(self, x: object) -> torch.Tensor:
        return self.v[: len(x)]  # type: ignore[arg-type]


@pytest.mark.parametrize("case", ["clip", "spare", "all texts", "another order"])
def test_the_first_loss_is_the_equation(case: str) -> None:
    g = torch.Generator().manual_seed(0)
    u, v = torch.randn(4, 3, generator=g), torch.randn(6 if case == "all texts" else 4, 3, generator=g)
    texts, y = ["a", "b", "a", "c", "d", "e"][: len(v)], torch.tensor([0, 3, 2, 5])
    y = {"all texts": y, "another order": torch.tensor([1, 0, 3, 3])}.get(case, torch.arange(4))
    towers = build_towers(lambda: Table(u.clone()), lambda: Table(v.clone()), 0, tau=0.5)
    s = similarity(u, v, 0.5)
    m = torch.ones(4, 4)
    m[0, 2] = m[2, 0] = 0
    right = {
        "clip": lambda: clip_loss(s),
        "spare": lambda: clip_loss(s, m),
        "all texts": lambda: info_nce(s, y),
        "another order": lambda: info_nce(s, y),
    }
    losses = fit_towers(
        towers,
        lambda rng: Batch(torch.zeros(4), texts, y),
        0,
        Schedule(1, 0.1),
        spare=case == "spare",
        fixed=True,
    )
    assert losses == [pytest.approx(right[case]().item())]
    assert towers.tau.item() == pytest.approx(0.5)


@pytest.mark.skipif(not fetched("emoji").is_dir(), reason="the emoji were not fetched")
def test_the_emoji_that_are_held_out_are_never_drawn() -> None:
    with pytest.raises(ValueError, match=r"artwork: expected one of noto, .* got 'apple'"):
        EmojiPairs("apple")
    pairs = EmojiPairs("twemoji")
    assert len(pairs.new) == NEW and len(pairs.old) == 1274 and not set(pairs.new) & set(pairs.old)
    assert pairs.pictures.shape == (3, 1594, 32, 32, 3) and pairs.held.shape == (1594, 32, 32, 3)
    batch = pairs.draw(generator(0, "test"), 16)
    assert len(batch.texts) == 1274 and batch.pictures.shape == (16, 32, 32, 3)
    for i, text in zip(pairs.old, batch.texts, strict=True):
        assert text in (pairs.names[i], pairs.texts[i])
    assert sum(text in pairs.names for text in batch.texts) == pytest.approx(637, abs=100)
    assert len(set(batch.y.tolist())) == 16
