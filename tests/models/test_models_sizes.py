"""The sizes of models: medium is the tiny recipe at another shape, full comes from a hub, if it can."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import transformers as hf
from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError, RepositoryNotFoundError
from tiny_classes import unseen
from transformers.utils import hub

from mmbook import collect_human_feedback, fine_tune_with_rl, load_pretrained_model, train_reward_model
from mmbook.feedback import SimulatedAnnotator
from mmbook.models import VLM, load
from mmbook.models.build import MEDIUM, PROMPT, Shape, Stack, build, build_medium
from mmbook.rlhf import RewardConfig, RewardModel
from mmbook.training import Schedule, pretrain
from mmbook.world import TRAIN_ARTWORK, sample_scenes

SMALL = Shape(96, tower=Stack(32, 1, 2, 64), text=Stack(32, 1, 2, 64))
RECIPE = pretrain.Recipe(SMALL, Schedule(5, 1e-3), Schedule(5, 1e-3), batch=4, every=2)
FULL_CLASSES = ("smolvlm", "qwen2_vl", "qwen3_vl")
SCENES = sample_scenes(6, 71)
ROOT = Path(__file__).parents[2]


def small(seed: int = 0, shape: Shape = SMALL) -> VLM:
    return VLM(*build(shape, seed), PROMPT, shape.picture)


# Medium


def test_medium_has_78_million_parameters_and_sees_64_parts() -> None:
    with torch.device("meta"):
        module, processor = build_medium(0)
    assert module.num_parameters() == 78_123_042
    assert module.config.image_seq_length == 64 and module.model.vision_tower.positions.shape == (1, 64, 512)
    assert processor.image_processor.size["height"] == MEDIUM.picture == 96
    assert pretrain.RECIPES["medium"]().shape == MEDIUM


def test_pictures_of_96_pixels_fit_the_tower_and_the_processor() -> None:
    model = small()
    prefix = model.prefix(SCENES)
    assert prefix.picture.sum(1).tolist() == [64] * 6
    seen = pretrain.tower_tokens(model, pretrain.pixels(SCENES, 96))
    picture = model.module.model.multi_modal_projector(seen).flatten(0, 1)
    torch.testing.assert_close(picture, prefix.embeds[prefix.picture], rtol=0, atol=1e-5)
    with pytest.raises(ValueError, match="picture: expected a multiple of 24 pixels, got 60"):
        small(shape=replace(SMALL, picture=60))


@pytest.mark.parametrize("stage", [pretrain.train_tower, pretrain.train_captions])
def test_a_stage_of_another_shape_resumes_exactly(tmp_path: Path, stage: Any) -> None:
    stage = partial(stage, progress=False, recipe=RECIPE)
    whole, before, resumed = small(), small().hash, small()
    stage(whole, 0)
    stage(small(), 0, tmp_path, stop_at=3)
    (saved,) = tmp_path.glob("*.pt")
    assert len(torch.load(saved, weights_only=True)["rest"]["losses"]) == 2
    stage(resumed, 0, tmp_path)
    assert resumed.hash == whole.hash != before


def test_products_are_in_bfloat16_where_the_device_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def losses() -> list[float]:
        seen: list[float] = []

        def keep(module: Any, loss_at: Any, schedule: Schedule, **how: Any) -> None:
            seen.extend(loss_at(step).item() for step in range(3))

        with monkeypatch.context() as patch:
            patch.setattr(pretrain, "train", keep)
            model = small(1)
            pretrain.train_tower(model, 0, recipe=RECIPE)
            pretrain.train_captions(model, 0, recipe=RECIPE)
        assert {p.dtype for p in model.module.parameters()} == {torch.float32}
        return seen

    exact = losses()
    monkeypatch.setattr(pretrain, "native_dtype", lambda device: torch.bfloat16)
    rounded = losses()
    assert rounded != exact and rounded == pytest.approx(exact, rel=0.02)


def test_a_tower_of_64_parts_learns_what_stands_where() -> None:
    shape = Shape(96, tower=Stack(128, 1, 4, 256), text=SMALL.text)
    recipe = replace(RECIPE, shape=shape, tower=Schedule(90, 3e-3, warmup=10, weight_decay=0.05), batch=16)
    model = small(0, shape)
    before = pretrain.tower_accuracy(model, TRAIN_ARTWORK, 5, 256)
    pretrain.train_tower(model, 0, progress=False, recipe=recipe)
    assert before < 0.06 < 0.12 < pretrain.tower_accuracy(model, TRAIN_ARTWORK, 5, 256)  # of 33


def test_medium_is_made_by_the_command_and_then_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv("MMBOOK_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"python -m mmbook pretrain --preset medium.*needs a GPU"):
        load_pretrained_model("medium", device="cpu")
    monkeypatch.setitem(pretrain.RECIPES, "medium", lambda: RECIPE)
    monkeypatch.setattr(pretrain, "measure", partial(pretrain.measure, scenes=4))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit):
        pretrain.main(["--preset", "medium"])
    assert "got cuda without a GPU; cpu takes days for medium" in capsys.readouterr().err
    pretrain.main(["--preset", "medium", "--seed", "2", "--device", "cpu"])
    metrics = json.loads((tmp_path / "medium" / "metrics.json").read_text())
    model = load_pretrained_model("medium", device="cpu")
    assert (metrics["weights"], metrics["seed"], metrics["device"]) == (model.hash, 2, "cpu")
    assert model.picture_size == 96 and len(model.sample(SCENES)) == 6


# Types of weights


def test_weights_take_the_asked_type_or_else_the_saved_one(tmp_path: Path) -> None:
    def dtypes(model: VLM) -> set[torch.dtype]:
        return {p.dtype for p in model.module.parameters()}

    tiny = load_pretrained_model("tiny", device="cpu", dtype="bfloat16")
    assert dtypes(tiny) == {torch.bfloat16} == {tiny.prefix(SCENES).embeds.dtype}
    tiny.save(tmp_path)
    again = load_pretrained_model(tmp_path, device="cpu")
    assert dtypes(again) == {torch.bfloat16} and again.hash == tiny.hash
    assert dtypes(load_pretrained_model(tmp_path, "cpu", "float32")) == {torch.float32}
    (tmp_path / "captions.json").unlink()  # a checkpoint of others takes what suits a CPU
    assert dtypes(load_pretrained_model(tmp_path, "cpu")) == {torch.float32}
    with pytest.raises(ValueError, match="dtype: expected one of float32, bfloat16, float16, got 'int8'"):
        load_pretrained_model("tiny", "cpu", "int8")


def test_a_card_without_bfloat16_takes_float16(monkeypatch: pytest.MonkeyPatch) -> None:
    for has, kind in ((True, torch.bfloat16), (False, torch.float16)):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation, has=has: has)
        assert load.native_dtype(torch.device("cuda")) == kind
    assert load.native_dtype(torch.device("cpu")) == torch.float32


# What goes wrong


def answer(status: int) -> Any:
    return SimpleNamespace(status_code=status, headers={}, request=None)


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (LocalEntryNotFoundError("no connection"), "connect to the network, or run `hf download NAME"),
        (GatedRepoError("403", response=answer(403)), "Accept the terms .* `hf auth login` or set HF_TOKEN"),
        (RepositoryNotFoundError("404", response=answer(404)), "no such name, or it is private: check"),
    ],
)
def test_a_hub_that_gives_nothing_says_what_to_do(
    error: Exception, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(hub, "hf_hub_download", refuse)
    monkeypatch.setattr(hub, "resolve_revision", lambda *_, **__: None)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(FileNotFoundError, match=f"no model at 'nobody/nothing'.*{says}.*tiny"):
        load_pretrained_model("nobody/nothing", device="cpu")


def test_a_model_of_another_kind_and_a_missing_file_are_named(tmp_path: Path) -> None:
    hf.BertConfig(num_hidden_layers=1).save_pretrained(tmp_path)
    with pytest.raises(
        ValueError, match=r"expected a model that reads pictures .*SmolVLM.*'bert'; choose anot"
    ):
        load_pretrained_model(tmp_path, device="cpu")
    small().save(tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(FileNotFoundError, match="no model at"):
        load_pretrained_model(tmp_path, device="cpu")


def test_a_card_without_room_is_told_before_and_while_loading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = small()
    model.save(tmp_path)
    need = 2 * model.module.num_parameters()
    for free in (need - 1, need):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device, free=free: (free, 10**9))
        if free < need:
            with pytest.raises(
                MemoryError, match=r"million weights are .* GiB in torch.bfloat16, but cuda has"
            ):
                load_pretrained_model(tmp_path, "cuda", "bfloat16")

    def full(*_: Any, **__: Any) -> None:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(load.AutoModelForImageTextToText, "from_pretrained", full)
    with pytest.raises(
        MemoryError, match=r"cuda ran out of memory; .*smaller checkpoint, dtype=\"bfloat16\""
    ):
        load_pretrained_model(tmp_path, "cuda", "bfloat16")


# With torchvision, without it, and with one that does not fit torch

FAKE = {
    "__init__": "__version__ = '0.28.0'",
    "io": "",
    "transforms/__init__": "from enum import Enum\nInterpolationMode = Enum('InterpolationMode', 'NEAREST "
    "NEAREST_EXACT BILINEAR BICUBIC BOX HAMMING LANCZOS')",
    "transforms/functional": "pil_to_tensor = None",
    "transforms/v2/__init__": "",
    "transforms/v2/functional": "",
}
SEE = """
import sys, torch
from mmbook.models import load_pretrained_model
from mmbook.world import sample_scenes
for folder in sys.argv[1:]:
    model = load_pretrained_model(folder, device="cpu")
    embeds = model.prefix(sample_scenes(6, 71)).embeds
    print(type(model.processor.image_processor).__name__, embeds.double().sum().item(), model.hash)
from transformers.utils.import_utils import is_torchvision_available
print(is_torchvision_available(), "torchvision" in sys.modules and sys.modules["torchvision"] is None)
"""


@pytest.mark.parametrize("broken", [False, True])
def test_the_same_pictures_are_seen_whatever_torchvision_is(broken: bool, tmp_path: Path) -> None:
    files = {"__init__": "raise RuntimeError('operator torchvision::nms does not exist')"} if broken else FAKE
    for name, text in files.items():
        file = tmp_path / "site" / "torchvision" / f"{name}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    wanted, folders = [], [str(load.TINY)]
    for name in FULL_CLASSES[:2]:
        unseen(name, tmp_path / name).save(tmp_path / name)
        folders.append(str(tmp_path / name))
    for folder in folders:
        model = load_pretrained_model(folder, device="cpu")
        embeds = model.prefix(SCENES).embeds
        kind = type(model.processor.image_processor).__name__
        assert kind.endswith("Pil")
        wanted.append(f"{kind} {embeds.double().sum().item()} {model.hash}")
    run = subprocess.run(
        [sys.executable, "-c", SEE, *folders],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": f"{tmp_path / 'site'}:{ROOT}", "PATH": "", "OMP_NUM_THREADS": "1"},
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines() == [*wanted, f"{not broken} False"]


def test_what_a_checkpoint_says_of_videos_is_kept(tmp_path: Path) -> None:
    unseen("smolvlm", tmp_path)
    path = tmp_path / "processor_config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps(config | {"video_processor": {"num_frames": 7}}))
    load_pretrained_model(tmp_path, device="cpu").save(tmp_path / "again")
    saved = json.loads((tmp_path / "again" / "processor_config.json").read_text())
    assert saved["video_processor"] == {"num_frames": 7} and saved["image_seq_len"] == 4
    assert saved["processor_class"] == "SmolVLMProcessor"


# From the processor to the merged model


@pytest.mark.parametrize("name", FULL_CLASSES)
def test_a_model_that_was_tuned_and_its_reward_come_back_from_disk(name: str, tmp_path: Path) -> None:
    model = unseen(name, tmp_path / "start")
    annotator = SimulatedAnnotator("faithful", seed=0)
    feedback = collect_human_feedback(model, pairs=24, annotator=annotator, seed=0, candidates="near-miss")
    reward = train_reward_model(feedback, 0, RewardConfig(looks=True, reads=True, epochs=20, folds=2))
    model.save(tmp_path / "model")
    reward.save(tmp_path / "reward")
    base = load_pretrained_model(tmp_path / "model", device="cpu")
    again = RewardModel.load(tmp_path / "reward", base)
    captions = model.sample(SCENES, seed=1)
    assert torch.equal(again.score(SCENES, captions), reward.score(SCENES, captions))
    with pytest.raises(ValueError, match="on which this reward model was built"):
        RewardModel.load(tmp_path / "reward", load_pretrained_model(tmp_path / "model", "cpu", "bfloat16"))

    again.interval = (0.6, 0.9)  # so few labels: no warning
    how: dict[str, Any] = dict(updates=2, batch=8, rank=2, lr=1e-2, critic="shared", progress=False)
    tuned = fine_tune_with_rl(base, again, seed=2, **how)
    tuned.save(tmp_path / "tuned")
    found = load_pretrained_model(tmp_path / "tuned", device="cpu")
    assert found.hash == tuned.hash != model.hash == base.hash
    greedy = tuned.sample(SCENES, greedy=True)
    assert found.sample(SCENES, greedy=True) == greedy != model.sample(SCENES, greedy=True)


@pytest.mark.parametrize("name", FULL_CLASSES)
@torch.no_grad()
def test_adapters_on_half_precision_are_merged_in_single(name: str, tmp_path: Path) -> None:
    unseen(name, tmp_path).save(tmp_path)
    model = load_pretrained_model(tmp_path, "cpu", "bfloat16")
    policy = model.adapted(rank=2, seed=0)
    for weight in policy.parameters():
        weight.add_(0.05 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(1)))
    ids, _ = model.tokens(["a cat.", "a dog and a cup."])
    prefix = model.prefix(SCENES[:2])
    apart, plain = (x.logits(x.states(prefix, ids)).float() for x in (policy.model, model))
    merged = policy.merged()
    assert {p.dtype for p in merged.module.parameters()} == {torch.float32}
    together = merged.logits(merged.states(prefix, ids)).float()
    moved = (apart - plain).norm()
    assert (together - apart).norm() < 0.2 * moved and moved > 0
    merged.save(tmp_path / "merged")
    again = load_pretrained_model(tmp_path / "merged", device="cpu")
    assert again.hash == merged.hash and again.sample(SCENES, greedy=True) == merged.sample(
        SCENES, greedy=True
    )


def test_full_asks_a_question_and_shows_a_picture_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unseen("idefics3", tmp_path)
    monkeypatch.setattr(load, "FULL", str(tmp_path))
    model = load_pretrained_model("full", device="cpu")
    assert load.QUESTION in model.prompt and (model.picture_size, model.max_words) == (240, 64)
    parts = model.prefix(SCENES[:2]).picture.sum(1)
    assert parts.tolist() == [4, 4]  # and not of all its tiles
    tiled = load_pretrained_model(tmp_path / ".", device="cpu")
    tiled.processor.image_processor.do_image_splitting = True
    assert tiled.prefix(SCENES[:2]).picture.sum(1).min() > 4
