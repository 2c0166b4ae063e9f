"""The recipe of the tiny model in small: it resumes exactly, and its first stage learns what stands where."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import torch

from mmbook.models import VLM, load_pretrained_model
from mmbook.models.build import PROMPT, build_tiny
from mmbook.training import Schedule, pretrain
from mmbook.world import KINDS, TRAIN_ARTWORK, Scene, SceneBatch, Sticker


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Six steps a stage on four scenes each, a checkpoint every other step."""
    schedule = Schedule(steps=6, lr=1e-3, warmup=2)
    monkeypatch.setattr(pretrain, "TOWER", schedule)
    monkeypatch.setattr(pretrain, "CAPTIONS", schedule)
    monkeypatch.setattr(pretrain, "BATCH", 4)
    monkeypatch.setattr(pretrain, "EVERY", 2)


def untrained(seed: int = 0, tower: str = "stem") -> VLM:
    return VLM(*build_tiny(seed, tower), PROMPT)


@pytest.mark.parametrize("stage", [pretrain.train_tower, pretrain.train_captions])
def test_an_interrupted_stage_ends_with_the_same_weights(short: None, tmp_path: Path, stage) -> None:
    whole, before = untrained(), untrained().hash
    stage(whole, 0, progress=False)
    stage(untrained(), 0, tmp_path, progress=False, stop_at=3)
    resumed = untrained()
    stage(resumed, 0, tmp_path, progress=False)
    assert resumed.hash == whole.hash != before
    (checkpoint,) = tmp_path.glob("*.pt")
    assert len(torch.load(checkpoint)["rest"]["losses"]) == 6
    other = untrained()
    stage(other, 1, progress=False)
    assert other.hash != whole.hash


def test_each_stage_trains_its_own_part(short: None) -> None:
    model = untrained()

    def parts() -> dict[str, dict[str, torch.Tensor]]:
        inner = model.module.model
        names = ("vision_tower", "multi_modal_projector", "language_model")
        return {n: {k: v.clone() for k, v in getattr(inner, n).state_dict().items()} for n in names}

    def moved(a: dict, b: dict) -> set[str]:
        return {n for n in a if any(not torch.equal(a[n][k], b[n][k]) for k in a[n])}

    start = parts()
    pretrain.train_tower(model, 0, progress=False)
    middle = parts()
    pretrain.train_captions(model, 0, progress=False)
    assert moved(start, middle) == {"vision_tower"}
    assert moved(middle, parts()) == {"multi_modal_projector", "language_model"}
    assert not any(p.requires_grad for p in model.module.parameters())


def test_the_recipe_resumes_across_its_stages_and_keeps_seeds_apart(short: None, tmp_path: Path) -> None:
    whole = pretrain.pretrain(0, progress=False)
    pretrain.train_tower(untrained(), 0, tmp_path / "stem-0", progress=False, stop_at=4)
    assert pretrain.pretrain(0, tmp_path, progress=False).hash == whole.hash
    assert pretrain.pretrain(0, tmp_path, progress=False).hash == whole.hash
    other = pretrain.pretrain(1, tmp_path, progress=False)
    assert other.hash == pretrain.pretrain(1, progress=False).hash != whole.hash


def test_both_towers_can_be_trained(short: None) -> None:
    model = untrained(tower="vit")
    before = model.hash
    pretrain.train_tower(model, 0, progress=False)
    after = model.hash
    pretrain.train_captions(model, 0, progress=False)
    assert len({before, after, model.hash}) == 3


def test_the_command_writes_a_model_that_loads_and_its_metrics(
    short: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pretrain, "measure", partial(pretrain.measure, scenes=4))
    pretrain.main(["--out", str(tmp_path / "out"), "--checkpoints", str(tmp_path / "steps"), "--seed", "3"])
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    model = load_pretrained_model(tmp_path / "out", device="cpu")
    assert model.hash == metrics["weights"] and metrics["seed"] == 3
    assert metrics["parameters"] == model.module.num_parameters()
    for name in ("seen", "held_out"):
        assert set(metrics[name]) == {"tower", "sampled", "greedy"}
        assert {"grammatical", "true", "full", "coverage"} < set(metrics[name]["sampled"])


def test_targets_name_what_stands_in_each_quarter() -> None:
    scene = Scene((Sticker("cat", 1, True), Sticker("bus", 2, False)))
    kinds, big, there = pretrain.quarter_targets(SceneBatch.of([scene]))
    nothing = len(KINDS)
    assert kinds.tolist() == [[nothing, KINDS.index("cat"), KINDS.index("bus"), nothing]]
    assert big.tolist() == [[0, 1, 0, 0]] and there.tolist() == [[False, True, True, False]]


def test_sixty_steps_teach_the_tower_and_shuffled_answers_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrain, "TOWER", Schedule(steps=60, lr=3e-3, warmup=10, weight_decay=0.05))
    monkeypatch.setattr(pretrain, "BATCH", 32)
    right = pretrain.quarter_targets

    def accuracy() -> float:
        model = untrained()
        pretrain.train_tower(model, 0, progress=False)
        with monkeypatch.context() as patch:
            patch.setattr(pretrain, "quarter_targets", right)
            return pretrain.tower_accuracy(model, TRAIN_ARTWORK, 5, 512)

    assert accuracy() > 0.2
    monkeypatch.setattr(
        pretrain, "quarter_targets", lambda scenes: tuple(t.roll(1, 0) for t in right(scenes))
    )
    assert accuracy() < 0.08  # guessing gives 1 in 32
