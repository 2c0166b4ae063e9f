"""What an update of PPO costs as batch, answers, vocabulary and model grow, and on two processes.

python benchmarks/cost_curves.py

The text model, the reward and the clock are those of `rlhf_speed.py`; the value head reads the policy's own
trunk, all of the language model learns, `Speed.fast("cpu", chunk=128)`. One quantity is varied at a time
from the shape BASE; each point is a process of its own with one thread, the best of its updates after the
first. A slope is fitted to the logarithms of a curve's upper half: 1 means that the cost is proportional.
The same run on two gloo processes (DDP, then FSDP) is compared with one process of the same global batch:
the losses of all steps, and seconds; each process has one thread.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import rlhf_speed
import torch
from results_file import number, write
from rlhf_speed import RandomReward, Text, build, prompts, words

from mmbook.models import Speed
from mmbook.rlhf import PPOConfig, fine_tune, ppo
from mmbook.training.world import World

BASE = {"batch": 64, "length": 32, "vocabulary": 512, "width": 64}
CURVES = {
    "batch": [8, 16, 32, 64, 128, 256],
    "length": [8, 16, 32, 64, 128],
    "vocabulary": [512, 2048, 8192, 32_768],
    "width": [32, 64, 128, 256],
}
SAYS = {
    "batch": "captions of an update",
    "length": "tokens of an answer",
    "vocabulary": "words of the vocabulary",
    "width": "numbers of a state",
}
PARTS = ("rollout", "learn", "update")


def prepared(shape: dict[str, int], updates: int, world: World | None = None) -> fine_tune.Run:
    """A run of the shape, ready for its first update."""
    width = shape["width"]
    rlhf_speed.SHAPES["curve"] = {
        "hidden_size": width,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 3 * width,
        "vocab_size": shape["vocabulary"],
    }
    model, trunk = (
        Text(build("curve", seed), words(shape["vocabulary"]), prompts("curve")) for seed in (0, 1)
    )
    for one in (model, trunk):
        one.max_words = shape["length"]
    config = PPOConfig(
        updates=updates,
        batch=shape["batch"],
        epochs=4,
        minibatches=4,
        rank=0,
        lr=1e-5,
        value_lr=1e-5,
        beta=0.05,
        c_v=0.1,
        critic="shared",
        per_row=True,
        shards=2,
        speed=Speed.fast("cpu", chunk=128),
    )
    run = fine_tune.Run(model, RandomReward(trunk), 0, config, model.scenes, None, world)
    run.policy.model.max_words = shape["length"]  # a copy has forgotten
    return run


def measure(shape: dict[str, int], updates: int) -> None:
    """Print the CPU seconds of rollout, learning and the whole of each update."""
    torch.set_num_threads(1)
    run = prepared(shape, updates)
    sampled: list[float] = []
    rollout = ppo.rollout

    def timed(*args: Any) -> Any:
        out = rollout(*args)
        sampled.append(time.process_time())
        return out

    ppo.rollout = timed
    for _ in range(updates):
        start = time.process_time()
        run.update()
        end = time.process_time()
        print(json.dumps({"rollout": sampled[-1] - start, "learn": end - sampled[-1], "update": end - start}))


def shared(strategy: str, updates: int) -> None:
    """Print the losses of every step, wall and CPU seconds of each update, of this world's main process."""
    torch.set_num_threads(1)
    world = World.start(strategy)
    run, losses = prepared(BASE | {"batch": 128}, updates, world), []
    total = ppo.total_loss

    def seen(*args: Any) -> torch.Tensor:
        out = total(*args)
        losses.append(out.detach())
        return out

    ppo.total_loss = seen
    for _ in range(updates):
        start, cpu = time.perf_counter(), time.process_time()
        run.update()
        row = {"wall": time.perf_counter() - start, "cpu": time.process_time() - cpu}
        row["losses"] = [world.total(x.double()).item() for x in losses]  # each has a share of the tokens
        losses.clear()
        if world.main:
            print(json.dumps(row), flush=True)


def called(*told: str, processes: int = 1) -> list[dict[str, Any]]:
    """The JSON lines of a process of its own, or of several."""
    command = [sys.executable]
    if processes > 1:
        command += ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
    env = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore", "CUDA_VISIBLE_DEVICES": ""}
    with tempfile.TemporaryDirectory() as folder:
        line = [*command, str(Path(__file__).resolve()), *told]
        done = subprocess.run(line, capture_output=True, text=True, env=env, cwd=folder)
    if done.returncode:
        raise SystemExit(f"{' '.join(told)} failed:\n{done.stderr}")
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def slope(x: list[int], y: list[float]) -> float:
    """The exponent of the cost over the upper half of a curve."""
    half = len(x) // 2
    return float(np.polyfit(np.log(x[half:]), np.log(y[half:]), 1)[0])


def curves(updates: int, values: dict[str, dict[str, Any]]) -> dict[str, list[dict[str, float]]]:
    """Measure all curves; their slopes go to `values`."""
    points: dict[str, list[dict[str, float]]] = {}
    for name, sizes in CURVES.items():
        points[name] = []
        for size in sizes:
            rows = called("--measure", json.dumps(BASE | {name: size}), str(updates))[1:]
            best = {part: round(min(row[part] for row in rows), 5) for part in PARTS}
            points[name].append({"size": size, **best})
            print(name, points[name][-1], flush=True)
        for part in PARTS:
            x = slope(sizes, [point[part] for point in points[name]])
            says = f"exponent of the CPU seconds of {part} in {SAYS[name]}"
            values[f"{name}_{part}_slope"] = number(x, 0.5, says, unit="exponent")
    return points


def processes(updates: int, values: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Compare one process with two; what was found goes to `values`."""
    kinds = [("ddp", 1), ("ddp", 2), ("fsdp", 2)]
    found: dict[tuple[str, int], list[list[dict[str, Any]]]] = {kind: [] for kind in kinds}
    for _ in range(3):
        for strategy, many in kinds:
            found[strategy, many].append(called("--shared", strategy, str(updates), processes=many))
    one = found["ddp", 1]
    first = np.array([row["losses"] for row in one[0]])
    for strategy, many in kinds[1:]:
        runs = found[strategy, many]
        apart = max(np.abs(np.array([row["losses"] for row in rows]) - first).max() for rows in runs)
        label = f"two processes ({strategy}) against one at the same global batch of 128"
        values[f"two_{strategy}_loss_difference"] = number(
            apart, 1e-5, f"{label}: largest difference of a step's loss", unit="loss"
        )
        for clock in ("wall", "cpu"):
            best = [min(row[clock] for rows in x for row in rows[1:]) for x in (one, runs)]
            says = f"{label}: {clock} seconds of an update, one over two (its main one)"
            values[f"two_{strategy}_{clock}_ratio"] = number(best[0] / best[1], 1.0, says, unit="ratio")
    kept = [
        {"strategy": s, "processes": n, "wall": row["wall"], "cpu": row["cpu"]}
        for (s, n), runs in found.items()
        for rows in runs
        for row in rows[1:]
    ]
    print({name: x["value"] for name, x in values.items() if name.startswith("two_")})
    return kept


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--updates", type=int, default=5, help="of each point; the first is dropped")
    parser.add_argument("--measure", nargs=2, metavar=("SHAPE", "UPDATES"), help=argparse.SUPPRESS)
    parser.add_argument("--shared", nargs=2, metavar=("STRATEGY", "UPDATES"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        measure(json.loads(args.measure[0]), int(args.measure[1]))
    elif args.shared:
        shared(args.shared[0], int(args.shared[1]))
    else:
        values: dict[str, dict[str, Any]] = {}
        pairs = processes(args.updates, values)
        write("cost-curves", values, curves=curves(args.updates, values), processes=pairs, base=BASE)
