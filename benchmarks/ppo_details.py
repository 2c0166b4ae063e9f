"""Switch each implementation detail of PPO, one at a time, on CartPole-v1 and the sticker classifier.

python benchmarks/ppo_details.py

Every run starts from the book's settings for its task and changes one. Its score is the mean training return
over the run, each of 30 stretches of steps counting alike: high for a run that learns early and keeps it.
Finished runs stand in --rows and are not repeated while their settings stay the same: remove that file when
the learner changed.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from results_file import number, write

import mmbook.world.environments  # noqa: F401  (registers the environments)
from mmbook.figures.rl import binned
from mmbook.rl import PPOConfig, evaluate, train_ppo

PIXELS = PPOConfig(steps=12_288, T=8, epochs=4, minibatches=4, gamma=0.99, lam=0.95)
TASKS = {
    "cartpole": ("CartPole-v1", 8, PPOConfig(steps=30_000)),
    "classifier": ("mmbook/StickerClassifier-v0", 64, PIXELS),
}
INF = float("inf")
CHANGES: dict[str, dict[str, Any]] = {
    "the book's settings": {},
    "no clipping": {"eps": INF},
    "no annealing": {"anneal": False},
    "one epoch": {"epochs": 1},
    "no whitening": {"whiten": False},
    "no clipping of gradients": {"clip_norm": INF},
    "default start of weights": {"orthogonal": False},
    "Adam's eps 1e-8": {"adam_eps": 1e-8},
    "minibatches x 4": {"minibatches": 4},
    "entropy bonus 0.01": {"c_H": 0.01},
    "value clipping 0.2": {"eps_v": 0.2},
    "stop at KL 0.02": {"target_kl": 0.02},
    "lambda 1": {"lam": 1.0},
    "lambda 0": {"lam": 0.0},
    "discount weights": {"discount_weights": True},
}
NOT_IN_A_BANDIT = ("lambda 1", "lambda 0", "discount weights")  # an episode of one step has no later steps


def config_of(task: str, change: dict[str, Any]) -> PPOConfig:
    """The task's settings with one changed; four times as many minibatches as the task has."""
    base = TASKS[task][2]
    if "minibatches" in change:
        change = {"minibatches": change["minibatches"] * base.minibatches}
    return replace(base, **change)


def run(task: str, config: PPOConfig, seed: int) -> dict[str, Any]:
    """Train once: the mean training return and the last policy's greedy return."""
    name, n, _ = TASKS[task]
    start = time.process_time()
    done = train_ppo(gymnasium.make_vec(name, n, vectorization_mode="vector_entry_point"), config, seed=seed)
    seconds = time.process_time() - start
    curve = binned([done.episodes], 30)[1][0]
    test = gymnasium.make_vec(name, 100, vectorization_mode="vector_entry_point")
    return {
        "area": float(np.nanmean(curve)),
        "last": float(evaluate(done.model.act, test, 100, 50_000 + seed).mean()),
        "curve": [round(float(x), 3) for x in curve],
        "seconds": round(seconds, 2),
    }


def numbers(task: str, rows: dict[str, list[dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    """The mean over seeds of each setting's two scores, and how far seeds of one setting lie apart."""
    out = {}
    for i, (name, runs) in enumerate(rows.items()):
        for what, says in (("area", "mean training return"), ("last", "greedy return at the end")):
            v = [x[what] for x in runs]
            key = f"{task}_{'base' if i == 0 else name.replace(' ', '_').replace(chr(39), '')}_{what}"
            out[key] = number(np.mean(v), max(np.ptp(v), 0.1 * np.mean(v)), f"{task}, {name}: {says}")
            out[key]["unit"] = "return"
    first = [x["area"] for x in next(iter(rows.values()))]
    says = f"{task}: range of mean training returns over seeds of the book's settings"
    out[f"{task}_base_range"] = number(np.ptp(first), 2 * np.ptp(first), says, unit="return")
    return out


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rows", type=Path, default=Path("runs/ppo-details.jsonl"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    args.rows.parent.mkdir(parents=True, exist_ok=True)
    text = args.rows.read_text(encoding="utf-8") if args.rows.exists() else ""
    found = {x["key"]: x for x in map(json.loads, text.splitlines())}
    table: dict[str, dict[str, list[dict[str, Any]]]] = {task: {} for task in TASKS}
    for seed in range(args.seeds):
        for task in TASKS:
            for name, change in CHANGES.items():
                if task == "classifier" and name in NOT_IN_A_BANDIT:
                    continue
                config = config_of(task, change)
                key = json.dumps([task, seed, asdict(config)])
                if key not in found:
                    found[key] = {"key": key, **run(task, config, seed)}
                    with args.rows.open("a", encoding="utf-8") as file:
                        file.write(json.dumps(found[key]) + "\n")
                    print(
                        task,
                        seed,
                        name,
                        *(found[key][x] for x in ("area", "last", "seconds")),
                        flush=True,
                    )
                table[task].setdefault(name, []).append({k: v for k, v in found[key].items() if k != "key"})
    values = {}
    for task, rows in table.items():
        values |= numbers(task, rows)
    seconds = sum(x["seconds"] for rows in table.values() for runs in rows.values() for x in runs)
    values["seconds"] = number(seconds, 2 * seconds, "CPU seconds of training in all", unit="seconds")
    write("ppo-details", values, runs=table)
