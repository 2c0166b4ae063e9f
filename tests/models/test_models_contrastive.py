"""The two towers: what they see, what they leave out, and the temperature."""

from __future__ import annotations

import pytest
import torch

from mmbook.equations import similarity
from mmbook.models.contrastive import (
    COLDEST,
    FeatureTower,
    FrozenTextTower,
    PictureTower,
    TwoTowers,
    WordTower,
)
from mmbook.world.fetch import fetched

TEXTS = ["a cat and a bus.", "Bus, cat.", "公交车", "an apple"]


def random_pictures(n: int = 6, size: int = 24) -> torch.Tensor:
    return torch.randint(
        256, (n, size, size, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8
    )


def test_scores_are_cosines_of_both_towers_over_the_temperature() -> None:
    torch.manual_seed(0)
    towers = TwoTowers(PictureTower(16, (8, 12)), WordTower(TEXTS, 16), tau=0.2).eval()
    pictures = random_pictures()
    s = towers(pictures, TEXTS)
    assert s.shape == (6, 4) and torch.allclose(
        s, similarity(towers.picture(pictures), towers.text(TEXTS), 0.2)
    )
    with torch.no_grad():
        towers.log_tau -= 10
    assert towers.tau.item() == pytest.approx(COLDEST)
    s = towers(pictures, TEXTS)
    assert s.abs().max() <= 1 / COLDEST + 1e-3


def test_the_picture_tower_sees_every_pixel_in_any_size_and_precision() -> None:
    torch.manual_seed(0)
    tower = PictureTower(16, (8, 12, 16)).eval()
    pictures = random_pictures(2)
    x = pictures.float().requires_grad_()
    (gradient,) = torch.autograd.grad(tower(x).square().sum(), x)
    assert (gradient.abs().sum((0, 3)) > 0).all()
    assert torch.allclose(tower(pictures), tower(pictures.float()))
    assert tower(random_pictures(2, 48)).shape == (2, 16)
    with pytest.raises(ValueError, match=r"expected shape \(B, H, W, 3\), got \(2, 3, 24, 24\)"):
        tower(pictures.permute(0, 3, 1, 2))
    tower.bf16 = True
    low = tower(pictures)
    assert low.dtype == torch.float32 and torch.allclose(low, tower(x), atol=0.05)
    assert all(p.dtype == torch.float32 for p in tower.parameters())


def test_words_are_a_mean_without_order() -> None:
    assert WordTower.split("A Cat, 公交车!") == ["a", "cat", "公", "交", "车"]
    tower = WordTower(TEXTS, 8)
    v = tower(["cat bus", "bus cat", "cat", "bus", "zebra", "zebra cat"])
    assert torch.allclose(v[0], v[1]) and torch.allclose(v[0], (v[2] + v[3]) / 2)
    with pytest.raises(ValueError, match="texts: expected a list of texts, got one text, 'a cat'"):
        tower("a cat")
    assert (v[4] == 0).all() and torch.allclose(v[5], v[2])  # an unknown word says nothing


def test_the_head_on_features_has_its_own_scale() -> None:
    torch.manual_seed(0)
    tower = FeatureTower(5, 4)
    x = torch.randn(64, 5)
    tower.train()(x)
    tower.layers[1].p = tower.layers[4].p = 0.0
    assert torch.allclose(tower(x), tower(x * 100 + 7), atol=1e-2)


@pytest.mark.skipif(not fetched("minilm").is_dir(), reason="MiniLM was not fetched")
def test_the_frozen_text_tower_reads_each_text_once_and_alone() -> None:
    torch.manual_seed(0)
    head = FeatureTower(384, 8, 256, 0.1)
    torch.manual_seed(0)
    tower = FrozenTextTower(fetched("minilm"), 8)
    near = tower.read(["a cat", "a kitten", "a motorway with heavy traffic"])
    assert near[0] @ near[1] > 0.6 > 0.4 > near[0] @ near[2]
    tower.read(list("hgfedcba"))
    assert list(tower.kept)[3:] == list("abcdefgh")  # batches, and so the last digits, do not hang on hashes
    tower.encode.clear()  # texts read before need no encoder
    again = tower.read(["a cat"])
    assert torch.equal(again[0], near[0])
    assert all(name.startswith("head.") for name in tower.state_dict())  # what is saved is what learned
    assert all(
        torch.equal(a, b) for a, b in zip(head.parameters(), tower.head.parameters(), strict=True)
    )  # the encoder's random start, soon overwritten, draws nothing
