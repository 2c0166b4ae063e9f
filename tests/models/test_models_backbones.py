"""Backbones: each class is built tiny, learns, is saved, comes back; padding counts for nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mmbook.models.backbones import KINDS, load_backbone, tiny_backbone
from mmbook.world.fetch import fetched

RNG = np.random.default_rng(0)
PICTURES = list(RNG.integers(256, size=(3, 40, 40, 3), dtype=np.uint8))
WAVES = [RNG.standard_normal(n).astype(np.float32) for n in (12_000, 5_000, 9_600)]
THINGS = {"bert": ["a cat", "a cat and a big red bus", "no"], "whisper": WAVES, "wav2vec2": WAVES}


@pytest.mark.parametrize("kind", KINDS)
def test_each_class_learns_is_saved_and_comes_back(kind: str, tmp_path) -> None:
    backbone, things = tiny_backbone(kind, 0).train(), THINGS.get(kind, PICTURES)
    before = {name: p.clone() for name, p in backbone.named_parameters()}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # dropout
        pooled = backbone.encode(things).pooled
        (pooled * torch.randn(pooled.shape)).sum().backward()
    torch.optim.SGD(backbone.parameters(), 0.1).step()
    moved = [name for name, p in backbone.named_parameters() if not torch.equal(p, before[name])]
    decoder = [name for name in before if ".decoder." in name or "pooler" in name or "masked_spec" in name]
    assert len(moved) >= 0.8 * (len(before) - len(decoder))
    backbone.save(tmp_path)
    again = load_backbone(tmp_path)
    assert not any(p.requires_grad for p in again.parameters())
    for one, other in zip(backbone.eval().encode(things), again.encode(things), strict=True):
        assert torch.equal(one, other)
    one = again.encode(things)
    assert one.tokens.shape[:2] == one.mask.shape and one.pooled.shape == one.tokens[:, 0].shape
    assert (again.encode(things[1:2]).pooled - one.pooled[0]).abs().max() > 1e-5  # it looks at its input


@pytest.mark.parametrize("kind", THINGS)
def test_what_is_beside_a_thing_in_the_batch_does_not_count(kind: str) -> None:
    backbone, things = tiny_backbone(kind, 0).eval(), THINGS[kind]
    together = backbone.encode(things)
    assert len(set(together.mask.sum(1).tolist())) == 3
    for i, thing in enumerate(things):
        alone = backbone.encode([thing])
        assert torch.allclose(alone.pooled[0], together.pooled[i], atol=1e-4)
        assert alone.mask.sum() == together.mask[i].sum()


def test_the_same_seed_gives_the_same_weights_and_unknown_kinds_are_refused(tmp_path) -> None:
    one, two, other = (tiny_backbone("vit", seed).eval().encode(PICTURES).pooled for seed in (0, 0, 1))
    assert torch.equal(one, two) and not torch.equal(one, other)
    with pytest.raises(ValueError, match=r"kind: expected one of bert, vit, .* got 'vgg'"):
        tiny_backbone("vgg", 0)
    (tmp_path / "config.json").write_text('{"model_type": "t5"}', encoding="utf-8")
    with pytest.raises(ValueError, match=r"expected a model_type of bert, .* got 't5'"):
        load_backbone(tmp_path)


@pytest.mark.skipif(not fetched("minilm").is_dir(), reason="minilm is not fetched")
def test_the_fetched_text_encoder_knows_what_is_near() -> None:
    v = load_backbone(fetched("minilm")).encode(["a cat sleeps", "a kitten naps", "shares fell"]).pooled
    assert torch.cosine_similarity(v[0], v[1], dim=0) > 0.5 > 0.3 > torch.cosine_similarity(v[0], v[2], dim=0)


@pytest.mark.skipif(not fetched("efficientnet").is_dir(), reason="efficientnet is not fetched")
def test_the_fetched_picture_encoder_is_itself() -> None:
    from mmbook.models.efficientnet import load_efficientnet, picture_features

    x = RNG.integers(256, size=(2, 64, 64, 3), dtype=np.uint8)
    seen = load_backbone(fetched("efficientnet")).encode(list(x))
    assert seen.tokens.shape == (2, 4, 1280)
    assert torch.allclose(seen.pooled, picture_features(load_efficientnet(), x), atol=1e-5)
