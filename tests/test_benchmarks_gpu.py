"""The GPU's script runs from end to end on a CPU, and what it counts is what PyTorch counts."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from mmbook.equations import log_prob
from mmbook.models import Adapted, Speed
from mmbook.publishing.numbers import read_results
from mmbook.training.pretrain import Recipe
from mmbook.world import sample_scenes

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def gpu() -> Any:
    sys.path.insert(0, str(BENCHMARKS))
    import gpu

    yield gpu
    sys.path.remove(str(BENCHMARKS))


@pytest.fixture()
def run(gpu: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> Any:
    """Runs a part at tiny size; returns its printed rows and its results file."""
    monkeypatch.setenv("MMBOOK_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")

    def go(part: str, *more: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        gpu.main([part, "--tiny", "--out", str(tmp_path), *more])
        rows = [json.loads(x) for x in capsys.readouterr().out.splitlines() if x.startswith("{")]
        path = tmp_path / f"gpu-{part}.json"
        read_results(path)  # which refuses what the book cannot read
        found = json.loads(path.read_text(encoding="utf-8"))
        assert found["device"].startswith("CPU, tiny, torch ")
        return rows, {key: entry["value"] for key, entry in found["values"].items()} | {"": found}

    return go


def test_it_asks_for_a_gpu(gpu: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(
        SystemExit, match="expected a GPU, found none; to try the script on a CPU, add --tiny"
    ):
        gpu.main(["decode", "--out", str(tmp_path)])
    assert not list(tmp_path.iterdir())


def test_ceilings_and_decoding(run: Any) -> None:
    _, found = run("ceilings")
    assert set(found) - {""} == {"bf16_tflops", "fp16_tflops", "fp32_tflops", "copy_gbs"}
    rows, found = run("decode")
    sides = [f"{name}{kind}" for kind in ("", "_adapted") for name in ("generate", "loop", "static", "graph")]
    assert [row["name"] for row in rows] == sides
    for row in rows:
        of = 8 * 6 / row["seconds"]
        assert row["tokens_per_second"] == pytest.approx(of, rel=1e-2)
        generate = rows[4 * row["name"].endswith("_adapted")]
        assert found[f"{row['name']}_ratio"] == pytest.approx(generate["seconds"] / row["seconds"], rel=1e-2)
    assert all(len(x) == 2 for x in found[""]["seconds"].values())


def test_updates_and_what_is_measured_again(run: Any, gpu: ModuleType) -> None:
    rows, found = run("update", "--only", "float32", "fast_uncompiled")
    assert [row["name"] for row in rows] == ["float32", "fast_uncompiled"]
    assert {row["steps"] for row in rows} == {16}
    for row in rows:
        assert 0 < row["sample"] < row["rollout"] < row["update"]
        assert row["rollout"] + row["learn"] == pytest.approx(row["update"], rel=1e-4)
    ratio = rows[0]["update"] / rows[1]["update"]
    assert found["fast_uncompiled_over_float32"] == pytest.approx(ratio, rel=1e-3)
    again, found = run("update", "--only", "float32")
    assert found["fast_uncompiled_update"] == rows[1]["update"]  # kept
    assert found["float32_update"] == again[0]["update"]
    assert found[""]["rows"]["float32"]["speed"] == vars(Speed.plain())
    place = gpu.Place(torch.device("cpu"), gpu.TINY, True, Path("."))
    assert gpu.speeds(place)["fast"] == Speed.fast("cuda", dtype="bfloat16", compile="aot_eager")


def test_half_precision_in_fifteen_gib(run: Any) -> None:
    (row,), found = run("t4")
    assert row["finite"] and found["scale"] == row["scale"] == 2**14  # it had no reason to shrink
    assert [x["words"] for x in row["history"]] == [6, 6]
    assert "dtype='float16'" in found[""]["config"] and "checkpointing=True" in found[""]["config"]


@pytest.mark.slow
def test_all_switches(run: Any, gpu: ModuleType) -> None:
    rows, _ = run("update")
    ours = [row["name"] for row in rows if row["name"] != "trl"]
    ladder = ["float32", "half", "features", "graph", "chunk", "fused", "compile"]
    assert ours == [*ladder, "fast", "fast_uncompiled"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:these labels carry no measurable preference")
def test_the_medium_model_is_trained_once_and_seeds_add_up(run: Any, tmp_path: Path) -> None:
    rows, found = run("learn", "--minutes", "0.02", "--seeds", "1")
    assert [row.get("seed") for row in rows] == [None, None, 1] and rows[0]["tower"] > 0
    made = (tmp_path / "data" / "medium" / "model.safetensors").stat().st_mtime_ns
    rows, found = run("learn", "--seeds", "0")
    assert (tmp_path / "data" / "medium" / "model.safetensors").stat().st_mtime_ns == made
    assert [row["seed"] for row in found[""]["rows"]] == [0, 1]
    assert len(found[""]["rows"][0]["history"]) == 2
    mean = sum(row["after"]["true"] for row in found[""]["rows"]) / 2
    assert found["true_after"] == pytest.approx(mean, abs=1e-6)


def test_a_recipe_is_cut_to_its_minutes(gpu: ModuleType) -> None:
    recipe = Recipe()
    cut = gpu.fitted(recipe, (0.1, 0.2), 4.0)
    assert 0.1 * cut.tower.steps + 0.2 * cut.captions.steps == pytest.approx(240, abs=0.3)
    assert cut.tower.steps / cut.captions.steps == pytest.approx(800 / 2200, abs=0.01)
    assert gpu.fitted(recipe, (0.1, 0.2), 100.0) == recipe


def counted(task: Any) -> int:
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        task()
    return counter.get_total_flops()


def test_the_formulas_are_what_pytorch_counts(gpu: ModuleType) -> None:
    size = replace(gpu.TINY, text=gpu.TINY.text | {"num_hidden_layers": 5})
    model = gpu.build(size, "cpu")
    prefix = model.prefix(sample_scenes(3, 0))
    P, T = gpu.read_length(size), size.words
    assert prefix.mask.shape == (3, P) and prefix.mask.all()
    text, embeds = model.decoder, torch.randn(1, P + T, 48)

    def read() -> Any:
        return text(inputs_embeds=embeds, use_cache=False).last_hidden_state

    assert counted(read) == gpu.text_flops(size, P + T)
    assert counted(lambda: model.logits(embeds)) == gpu.head_flops(size, P + T)
    assert counted(lambda: model.prefix(sample_scenes(3, 0))) == 3 * gpu.tower_flops(size)
    policy = Adapted(model, gpu.RANK, 0).model
    text = policy.decoder
    extra = gpu.lora_flops(size, P + T)
    assert counted(read) == gpu.text_flops(size, P + T) + extra

    def learn() -> None:
        ids = torch.zeros(1, T, dtype=torch.long)
        log_prob(policy.logits(read()[:, -T:]), ids).sum().backward()

    (one,) = {gpu.update_flops(replace(size, batch=b, group=b))["learn"] / gpu.EPOCHS / b for b in (1, 8)}
    assert counted(learn) == pytest.approx(one, rel=0.06)  # the first layer's own inputs need no gradient


def test_a_step_reads_the_weights_and_the_cache(gpu: ModuleType) -> None:
    size = gpu.TINY
    model = gpu.build(size, "cpu")
    weights = sum(p.numel() for p in model.decoder.layers.parameters() if p.dim() > 1)
    weights += model.module.get_output_embeddings().weight.numel()
    from transformers import DynamicCache

    total, cache, P = 0, DynamicCache(), gpu.read_length(size)
    model.decoder(inputs_embeds=torch.randn(8, P, 48), past_key_values=cache, use_cache=True)
    for _ in range(size.words - 1):
        model.decoder(inputs_embeds=torch.randn(8, 1, 48), past_key_values=cache, use_cache=True)
        total += weights + sum(layer.keys.numel() + layer.values.numel() for layer in cache.layers)
    assert gpu.decode_bytes(size, 2) == 2 * total


def test_activations_are_counted_as_autograd_keeps_them(gpu: ModuleType) -> None:
    size, kept = gpu.TINY, {}
    policy = Adapted(gpu.build(size, "cpu"), gpu.RANK, 0).model
    own = {p.untyped_storage().data_ptr() for p in policy.module.parameters()}
    embeds = torch.randn(2, gpu.read_length(size) + size.words, 48)

    def keep(x: torch.Tensor) -> torch.Tensor:
        storage = x.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return x

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        out = policy.decoder(inputs_embeds=embeds, use_cache=False).last_hidden_state
    assert gpu.kept(size, 2, torch.float32) == pytest.approx(sum(kept.values()), rel=0.02)
    assert out.requires_grad
    few = gpu.kept(size, 2, torch.float32, checkpointing=True)
    assert few < 0.2 * gpu.kept(size, 2, torch.float32) < 0.6 * gpu.kept(size, 4, torch.float32)


def test_the_counted_model_is_smolvlm(run: Any, gpu: ModuleType, tmp_path: Path) -> None:
    parts = gpu.memory(gpu.SMOL, 2)
    assert parts["weights"] / 2 == pytest.approx(256.5e6, rel=1e-3)  # as its checkpoint has
    assert gpu.SMOL.tokens == 64 and gpu.read_length(gpu.SMOL) == 83
    assert 190 < gpu.tower_flops(gpu.SMOL) / 1e9 < 220
    slow, fast = gpu.update_flops(gpu.SMOL, False, False, False), gpu.update_flops(gpu.SMOL)
    assert 2.5 < sum(slow.values()) / sum(fast.values()) < 3
    rows, found = run("count")
    assert len(rows) == len(found) - 1 > 30
    assert found["checkpointed_mib_2"] < found["activations_mib_2"] < found["activations_mib_4"]
