"""Backbones: each class is built tiny, learns, is saved, comes back; padding counts for nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import AutoModel

from mmbook.models.backbones import KINDS, Projected, load_backbone, tiny_backbone
from mmbook.models.encoders import SoundEncoder
from mmbook.models.fusion import FUSIONS, FusionModel
from mmbook.training.loop import Schedule
from mmbook.training.sentiment import fit, tensors
from mmbook.world.fetch import fetched
from mmbook.world.sentiment import SETTINGS, WORDS, sample_utterances
from mmbook.world.voice import BANDS

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
    with pytest.raises(ValueError, match="things: expected at least one text, picture or wave"):
        tiny_backbone("bert", 0).encode([])
    (tmp_path / "config.json").write_text('{"model_type": "t5"}', encoding="utf-8")
    with pytest.raises(ValueError, match=r"expected a model_type of bert, .* got 't5'"):
        load_backbone(tmp_path)


P, W = PICTURES[0], WAVES[1]
WRONG = {
    "texts, got str": ("bert", "a cat"),
    "texts, got list of int": ("bert", [3]),
    "pictures, .* got ndarray": ("vit", P),
    "pictures, .* got list of float64": ("resnet", [P / 255]),
    r"pictures, .* \(3, 40, 40\)": ("efficientnet", [P.transpose(2, 0, 1)]),
    "waves, .* got ndarray": ("whisper", W),
    "waves, .* got list of int16": ("wav2vec2", [(1000 * W).astype(np.int16)]),
    r"waves, .* \(2, 5000\)": ("wav2vec2", [np.stack([W, W])]),
    "without NaN": ("whisper", [W * np.nan]),
}


@pytest.mark.parametrize("says", WRONG)
def test_other_things_are_refused(says: str) -> None:
    kind, things = WRONG[says]
    with pytest.raises(ValueError, match=f"things: expected a list of .*{says}"):
        tiny_backbone(kind, 0).encode(things)


@pytest.mark.parametrize("kind", KINDS)
def test_a_projection_brings_each_kind_to_the_common_width(kind: str) -> None:
    x = torch.from_numpy(np.stack([w[:5000] for w in WAVES] if kind in THINGS else PICTURES))
    x = torch.tensor([[1, 2, 0], [3, 0, 0], [4, 5, 6]]) if kind == "bert" else x
    words = ("", "a", "cat", "no", "red", "big", "bus") if kind == "bert" else None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        one = Projected(tiny_backbone(kind, 0).eval(), 8, words)(x)
    assert one.tokens.shape == (*one.mask.shape, 8) and one.pooled.shape == (3, 8)
    if kind == "bert":
        assert one.mask.sum(1).tolist() == [5, 2, 11]  # the letters of "a cat", "no" and "red big bus"


def test_full_shapes_are_those_of_the_papers() -> None:
    """On the meta device: no memory, but the true number of parameters."""
    millions = {"resnet": 23.5, "bert": 109.5, "vit": 86.4, "wav2vec2": 94.4}
    for kind, right in millions.items():
        with torch.device("meta"):
            module = AutoModel.from_config(KINDS[kind][1]())
        assert module.num_parameters() / 1e6 == pytest.approx(right, abs=0.1)


def test_the_gpu_preset_is_the_same_model_with_larger_parts(tmp_path) -> None:
    """A random ResNet, a frozen BERT and a GRU under one fusion: what may learn does, and the rest stays."""
    tiny_backbone("bert", 0).save(tmp_path)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        parts = {
            "face": Projected(tiny_backbone("resnet", 0), 8),
            "voice": SoundEncoder(8, BANDS),
            "words": Projected(load_backbone(tmp_path), 8, WORDS),
        }
        model = FusionModel(parts, FUSIONS["bilinear"](8))
    u, before = (
        sample_utterances(8, SETTINGS["mixed"], 0),
        {k: v.clone() for k, v in model.state_dict().items()},
    )
    fit(model.train(), u, 0, Schedule(steps=2, lr=1e-2), batch=8)
    moved = {k for k, v in model.state_dict().items() if not torch.equal(v, before[k])}
    assert {k for k in moved if k.startswith("encoders.words.backbone")} == set()
    for part in ("encoders.face.backbone", "encoders.words.project", "encoders.voice", "fusion"):
        assert any(k.startswith(part) for k in moved)
    model.train()
    assert not model.encoders["words"].backbone.module.training and model.encoders["face"].backbone.training
    model.eval()
    spoken = model.encode(tensors(u))[2]
    assert spoken.mask[0].sum() == len(u.sentence(0))


@pytest.mark.skipif(not fetched("minilm").is_dir(), reason="minilm is not fetched")
def test_the_fetched_text_encoder_knows_what_is_near() -> None:
    v = load_backbone(fetched("minilm")).encode(["a cat sleeps", "a kitten naps", "shares fell"]).pooled
    assert torch.cosine_similarity(v[0], v[1], dim=0) > 0.5 > 0.3 > torch.cosine_similarity(v[0], v[2], dim=0)


@pytest.mark.skipif(not fetched("efficientnet").is_dir(), reason="efficientnet is not fetched")
def test_the_fetched_picture_encoder_is_itself() -> None:
    from mmbook.models.efficientnet import load_efficientnet, picture_features

    x = RNG.integers(256, size=(2, 64, 64, 3), dtype=np.uint8)
    seen = load_backbone(fetched("efficientnet")).encode(list(x))
    assert seen.tokens.shape == (2, 4, load_backbone(fetched("efficientnet")).width)
    assert torch.allclose(seen.pooled, picture_features(load_efficientnet(), x), atol=1e-5)
