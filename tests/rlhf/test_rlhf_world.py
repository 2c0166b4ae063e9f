"""The same run on one process and on two (DDP and FSDP on gloo), and resumed on another number of them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from shared_run import run

from mmbook.models import VLM
from mmbook.rlhf import PPOConfig, fine_tune_with_rl
from mmbook.training.world import World
from mmbook.world import sample_scenes

CONFIGS = {
    "reward": {},
    "shared": {"critic": "shared", "accumulate": 3, "shards": 2, "whiten_rewards": True},
    "separate": {"critic": "separate", "kl_goal": 1.0},
    "groups": {"advantage": "rloo", "group": 4, "kl_in": "loss", "kl": "k3"},
    "few": {"batch": 4, "minibatches": 4, "epochs": 3},  # often none of a minibatch's rows is here
    "fast": {
        "batch": 8,
        "group": 2,
        "minibatches": 4,
        "accumulate": 2,
        "speed": {"share_prefix": True, "fused": True},
    },
    "whole": {"rank": 0, "lr": 1e-4},
}
STRATEGIES = ("ddp", "fsdp")
SHARED = [("ddp", name) for name in CONFIGS] + [("fsdp", name) for name in ("shared", "separate", "whole")]


def two(jobs: list[dict], folder: Path) -> None:
    """Let two processes do jobs. Fails with what they said."""
    (folder / "jobs.json").write_text(json.dumps(jobs))
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    done = subprocess.run(
        [*launch, str(Path(__file__).with_name("shared_run.py")), str(folder / "jobs.json")],
        env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert done.returncode == 0, done.stderr[-3000:]


def found(path: Path) -> tuple[dict, dict]:
    """Weights, and all else, of a finished job."""
    return load_file(path), json.loads(path.with_suffix(".json").read_text())


def assert_same(one: Path, other: Path) -> None:
    (a, says_a), (b, says_b) = found(one), found(other)
    assert max((a[k] - b[k]).abs().max().item() for k in a) < 1e-6
    for x, y in zip(says_a["history"], says_b["history"], strict=True):
        assert x == pytest.approx(y, abs=1e-5)
    assert says_a["seen"][-1] == says_b["seen"][-1]


@pytest.fixture(scope="module")
def results(tiny: VLM, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All jobs, done by one process, and by two of each strategy."""
    folder = tmp_path_factory.mktemp("world")
    jobs = [{"config": CONFIGS[name], "out": str(folder / f"one-{name}.st")} for name in CONFIGS]
    long = {"config": {"updates": 3}, "out": str(folder / "long.st")}
    for job in (*jobs, long):
        run(job, tiny)
    run({**long, "folder": str(folder / "by-one"), "stop": 1}, tiny)
    shared = [
        {"config": CONFIGS[name], "out": str(folder / f"{strategy}-{name}.st"), "strategy": strategy}
        for strategy, name in SHARED
    ]
    shared.append({**long, "folder": str(folder / "by-one"), "out": str(folder / "one-then-two.st"),
                   "strategy": "fsdp"})  # fmt: skip
    for strategy in STRATEGIES:
        shared.append({**long, "folder": str(folder / strategy), "stop": 2, "strategy": strategy})
    for breaks in ("folder", "reward"):
        run({**long, "folder": str(folder / breaks), "stop": 1}, tiny)
        shared.append(
            {**long, "folder": str(folder / breaks), "out": str(folder / breaks / "out"), "breaks": breaks}
        )
    two(shared, folder)
    for strategy in STRATEGIES:
        run({**long, "folder": str(folder / strategy), "out": str(folder / f"{strategy}-then-one.st")}, tiny)
    return folder


@pytest.mark.parametrize(("strategy", "name"), SHARED)
def test_two_processes_do_what_one_does(results: Path, strategy: str, name: str) -> None:
    assert_same(results / f"one-{name}.st", results / f"{strategy}-{name}.st")
    assert found(results / f"{strategy}-{name}.st")[1]["size"] == 2


def test_what_was_compared_has_moved(results: Path, tiny: VLM) -> None:
    before = dict(tiny.module.named_parameters())
    for name in CONFIGS:
        weights, says = found(results / f"one-{name}.st")
        assert max((weights[k] - before[k]).abs().max().item() for k in before) > 1e-4
        assert [row[:2] for row in says["seen"]] == [[0, 0], [1, 1], [2, 2]]


def test_shards_hold_a_half_each(results: Path) -> None:
    """With FSDP no process holds a whole layer; with DDP each holds all."""
    held = {s: found(results / f"{s}-shared.st")[1]["held"] for s in STRATEGIES}
    sizes = {s: sum(torch.Size(x).numel() for x in shapes.values()) for s, shapes in held.items()}
    assert sizes["fsdp"] == pytest.approx(sizes["ddp"] / 2, rel=0.02)


@pytest.mark.parametrize("name", ["one-then-two", "ddp-then-one", "fsdp-then-one"])
def test_a_run_goes_on_with_another_number_of_processes(results: Path, name: str) -> None:
    assert_same(results / "long.st", results / f"{name}.st")
    assert len(found(results / f"{name}.st")[1]["seen"]) < 4  # it did go on, not begin again


@pytest.mark.parametrize(
    ("breaks", "says"),
    [
        ("folder", ["one with 1 updates in process 0", "one with 0 updates in process 1"]),
        ("reward", ["got others in another process", "expected finite numbers, got nan"]),
    ],
)
def test_what_one_process_cannot_do_ends_all_of_them(results: Path, breaks: str, says: list[str]) -> None:
    for rank, text in enumerate(says):
        assert text in (results / breaks / f"out.{rank}").read_text()


def test_a_batch_that_cannot_be_shared_out_is_refused(tiny: VLM, reward, monkeypatch) -> None:
    world = World()
    monkeypatch.setattr(world, "size", 3)
    with pytest.raises(ValueError, match="per_row: expected True with 3 processes"):
        fine_tune_with_rl(tiny, reward, 0, PPOConfig(), progress=False, world=world)
    with pytest.raises(
        ValueError, match=r"batch: expected a multiple of group \* processes = 4 \* 3, got 16"
    ):
        config = PPOConfig(batch=16, group=4, per_row=True)
        fine_tune_with_rl(tiny, reward, 0, config, progress=False, world=world)
    with pytest.raises(ValueError, match="expected a multiple of 3 processes, got 8 rows"):
        world.mine(torch.zeros(8))
    assert len(world.mine(sample_scenes(9, 0))) == 3
    with pytest.raises(ValueError, match="strategy: expected one of ddp, fsdp, got 'zero'"):
        World("zero")
