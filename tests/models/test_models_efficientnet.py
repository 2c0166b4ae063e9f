"""EfficientNet-Lite0: shapes, the published names, a step, and, where fetched, the published outputs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from mmbook.models.efficientnet import (
    BLOCK_LAYERS,
    LAYERS,
    PUBLISHED,
    WIDTH,
    EfficientNetLite0,
    from_published,
    load_efficientnet,
    picture_features,
)
from mmbook.models.threads import one_thread
from mmbook.world.fetch import fetched

needs_weights = pytest.mark.skipif(
    not fetched("efficientnet").is_dir(),
    reason="the weights were not fetched: python -m mmbook fetch efficientnet",
)

# efficientnet-lite-pytorch 0.1.0 with the fetched weights on pictures()
FEATURES = [
    [0.0, 0.0, 0.0, 0.0, 1.301592, 0.0, 0.0, 0.0, 0.0, 1.595036, 0.0, 0.0, 0.0],
    [0.0, 0.0, 0.0, 0.0, 1.181979, 0.0, 0.296332, 0.0, 0.0, 0.903186, 0.0, 0.0, 0.0],
]
NORMS = [10.66327, 11.13569]
LOGITS = [[-0.826767, 0.957805, 1.053713, 0.925139], [-0.803134, 1.316754, 0.686897, 0.316522]]


@pytest.fixture(autouse=True)
def threads():
    with one_thread():
        yield


def network() -> EfficientNetLite0:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return EfficientNetLite0()


def pictures(n: int = 2, side: int = 64) -> np.ndarray:
    """Squares of 8 by 8 pixels, each of one colour."""
    squares = np.random.default_rng(0).integers(0, 256, (n, -(-side // 8), -(-side // 8), 3), np.uint8)
    return squares.repeat(8, 1).repeat(8, 2)[:, :side, :side]


def published(model: EfficientNetLite0) -> dict[str, torch.Tensor]:
    """The model's weights under the published names."""
    names = {}
    for name, tensor in model.state_dict().items():
        if name.startswith("blocks."):
            _, number, rest = name.split(".", 2)
            table, before = BLOCK_LAYERS, f"_blocks.{number}."
        else:
            table, before, rest = LAYERS, "", name
        (theirs, ours) = next((t, o) for t, o in table.items() if rest.startswith(o + "."))
        names[before + theirs + rest.removeprefix(ours)] = tensor
    return names


def test_shapes_and_size():
    model = network().eval()
    x = torch.from_numpy(pictures())
    with torch.no_grad():
        assert model.grid(x).shape == (2, WIDTH, 2, 2)
        assert model.features(x).shape == (2, WIDTH) and model(x).shape == (2, 1000)
    assert sum(p.numel() for p in model.parameters()) == 4_652_008
    assert picture_features(model, pictures(3), batch=2).shape == (3, WIDTH)
    for wrong in (x.permute(0, 3, 1, 2), torch.from_numpy(pictures(1, 50)), x[0]):
        with pytest.raises(ValueError, match=r"pictures: expected \(B, 32 h, 32 w, 3\), got"):
            model.grid(wrong)


def test_a_strided_layer_pads_more_at_the_end_than_at_the_start():
    """As the published weights were trained: the first output looks at pixels 0, 1 and 2, none before."""
    model = network().eval()
    x = torch.from_numpy(pictures(1))
    with torch.no_grad():
        padded = F.pad((x.permute(0, 3, 1, 2).float() - 127) / 128, (0, 1, 0, 1))
        expected = F.relu6(model.stem.norm(F.conv2d(padded, model.stem.conv.weight, stride=2)))
        assert torch.allclose(model.stem((x.permute(0, 3, 1, 2).float() - 127) / 128), expected)


def test_a_few_steps_lower_the_loss_in_every_layer():
    model = network().train()
    x, label = torch.from_numpy(pictures(4)), torch.tensor([0, 1, 2, 3])
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    losses = []
    for _ in range(4):
        loss = F.cross_entropy(model(x), label)
        optimizer.zero_grad()
        loss.backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 0.5


def test_published_weights_are_converted_once_and_come_back_the_same(tmp_path):
    model = network().eval()
    torch.save(published(model), tmp_path / PUBLISHED)
    before = torch.get_rng_state()
    loaded = load_efficientnet(tmp_path)
    assert torch.equal(torch.get_rng_state(), before)
    x = torch.from_numpy(pictures())
    with torch.no_grad():
        assert torch.equal(loaded(x), model(x))
    assert not loaded.training and not any(p.requires_grad for p in loaded.parameters())
    assert sorted(f.name for f in tmp_path.iterdir()) == [PUBLISHED, "model.safetensors"]
    (tmp_path / PUBLISHED).unlink()
    with torch.no_grad():
        assert torch.equal(load_efficientnet(tmp_path)(x), model(x))


def test_weights_that_do_not_fit_are_named():
    weights = published(network())
    from_published(weights)
    weights["_fc.weight"] = weights["_fc.weight"][:10]
    weights["_blocks.3._extra.weight"] = torch.zeros(1)
    del weights["_bn1.bias"]
    says = r"blocks.3._extra.weight \(1,\), classes.weight .*10, 1280.*1000, 1280.*head.norm.bias \(1280,\)"
    with pytest.raises(ValueError, match=says):
        from_published(weights)


def test_code_in_the_weights_is_not_run(tmp_path):
    class Boom:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    torch.save({"a": Boom()}, tmp_path / PUBLISHED)
    with pytest.raises(Exception, match=r"[Ww]eights.only"):
        load_efficientnet(tmp_path)
    assert not (tmp_path / "ran").exists() and not (tmp_path / "model.safetensors").exists()


def test_what_was_not_fetched_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="python -m mmbook fetch efficientnet"):
        load_efficientnet(tmp_path / "nowhere")


@needs_weights
def test_features_agree_with_the_published_implementation():
    model = load_efficientnet()
    Z = picture_features(model, pictures())
    assert np.allclose(Z[:, ::100].numpy(), FEATURES, atol=1e-4)
    assert np.allclose(Z.norm(dim=1).numpy(), NORMS, atol=1e-3)
    with torch.no_grad():
        assert np.allclose(model(torch.from_numpy(pictures()))[:, :4].numpy(), LOGITS, atol=1e-4)


@needs_weights
@pytest.mark.skipif(not fetched("tuxpaint").is_dir(), reason="the stamps were not fetched")
def test_features_know_more_of_a_category_than_chance():
    """The nearest other stamp is of the same category far more often than under shuffled categories."""
    from mmbook.world.tuxpaint import read_stamps, stamp_pictures

    stamps = read_stamps()[::4]
    Z = F.normalize(picture_features(load_efficientnet(), stamp_pictures(64)[::4]), dim=1)
    nearest = (Z @ Z.T - 2 * torch.eye(len(Z))).argmax(1).numpy()
    category = np.array([s.category for s in stamps])
    shuffled = np.random.default_rng(0).permutation(category)
    assert (category[nearest] == category).mean() > 2.5 * (shuffled[nearest] == shuffled).mean()
