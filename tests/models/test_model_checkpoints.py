"""Saving, loading, hashing, and what ships with the package."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForImageTextToText, AutoProcessor, CLIPVisionModel

from mmbook.models import VLM, load_pretrained_model
from mmbook.models.build import PROMPT, build_tiny
from mmbook.models.load import TINY
from mmbook.models.tower import StickerTower
from mmbook.world import render, sample_scenes


def whole_logits(module: torch.nn.Module, processor: object) -> torch.Tensor:
    pictures = list(render(sample_scenes(4, 1)))
    inputs = processor(images=pictures, text=[f"{PROMPT} a cat."] * 4, return_tensors="pt")
    with torch.no_grad():
        return module(**inputs).logits


def test_a_saved_model_loads_through_transformers_unchanged(tiny: VLM, tmp_path: Path) -> None:
    tiny.save(tmp_path)
    module = AutoModelForImageTextToText.from_pretrained(tmp_path).eval()
    processor = AutoProcessor.from_pretrained(tmp_path)
    assert isinstance(module.model.vision_tower, StickerTower)
    assert torch.equal(whole_logits(module, processor), whole_logits(tiny.module, tiny.processor))
    again = load_pretrained_model(tmp_path, device="cpu")
    assert again.hash == tiny.hash and again.prompt == tiny.prompt
    scenes = sample_scenes(8, 2)
    assert again.sample(scenes, seed=3) == tiny.sample(scenes, seed=3)


def test_the_tiny_model_is_what_a_cpu_gets(tiny: VLM) -> None:
    assert load_pretrained_model(device="cpu").hash == tiny.hash
    assert not any(p.requires_grad for p in tiny.module.parameters()) and not tiny.module.training


def test_every_single_weight_counts_in_the_hash(tiny: VLM) -> None:
    model = tiny.copy()
    assert model.hash == tiny.hash
    for name, value in model.module.state_dict().items():
        flat, middle = value.view(-1), value.numel() // 2
        before = flat[middle].clone()
        flat[middle] = torch.nextafter(before, before + 1)
        assert model.hash != tiny.hash, name
        flat[middle] = before
    assert model.hash == tiny.hash


def test_a_copy_has_weights_of_its_own(tiny: VLM) -> None:
    model, before = tiny.copy(), tiny.hash
    with torch.no_grad():
        next(model.module.parameters()).add_(1)
    assert tiny.hash == before != model.hash


@pytest.mark.parametrize("there", [False, True])
def test_a_missing_checkpoint_says_what_to_do(tmp_path: Path, there: bool) -> None:
    folder = tmp_path / "none"
    if there:
        folder.mkdir()
    with pytest.raises(FileNotFoundError, match=r"no model at '.*none': expected a folder with .*tiny"):
        load_pretrained_model(folder, device="cpu")


def test_a_name_that_means_nothing_is_refused_at_once() -> None:
    with pytest.raises(
        FileNotFoundError, match=r"no model 'tinny': expected \"tiny\", \"full\", a folder, or"
    ):
        load_pretrained_model("tinny", device="cpu")


def test_weights_that_are_cut_off_say_so(tiny: VLM, tmp_path: Path) -> None:
    tiny.save(tmp_path)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100_000])
    with pytest.raises(FileNotFoundError, match=r"no model at .*model.safetensors"):
        load_pretrained_model(tmp_path, device="cpu")


def test_weights_that_are_no_safetensors_are_not_read(tiny: VLM, tmp_path: Path) -> None:
    tiny.save(tmp_path)
    torch.save(tiny.module.state_dict(), tmp_path / "pytorch_model.bin")
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="no model at"):
        load_pretrained_model(tmp_path, device="cpu")


def test_what_ships_is_small_and_safe(tiny: VLM) -> None:
    files = {path.name: path.stat().st_size for path in TINY.iterdir()}
    assert files["model.safetensors"] < 5_000_000 and sum(files.values()) < 5_000_000
    assert {Path(name).suffix for name in files} == {".json", ".safetensors"}
    assert tiny.module.num_parameters() <= 1_200_000
    assert {p.dtype for p in tiny.module.parameters()} == {torch.float32}


@pytest.mark.parametrize(("tower", "kind"), [("stem", StickerTower), ("vit", CLIPVisionModel)])
def test_both_towers_build(tower: str, kind: type) -> None:
    module, processor = build_tiny(0, tower)
    assert isinstance(module.model.vision_tower, kind)
    assert module.num_parameters() <= 1_200_000
    assert torch.isfinite(whole_logits(module, processor)).all()
    model = VLM(module, processor, PROMPT)
    scenes = sample_scenes(3, 0)
    assert model.prefix(scenes).picture.sum(1).tolist() == [16] * 3
    assert len(model.sample(scenes)) == 3
    same, other = (VLM(*build_tiny(seed, tower), PROMPT).hash for seed in (0, 1))
    assert model.hash == same != other


def test_an_unknown_tower_is_refused() -> None:
    with pytest.raises(ValueError, match='tower: expected "stem" or "vit", got'):
        build_tiny(0, "tall")
