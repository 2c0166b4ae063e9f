"""What speed and size cost: each switch of PPO, and a tuned model made smaller.

python benchmarks/scaling.py [switches | compress | chapter]     (4, 20 and 2 CPU minutes)
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from chapter_file import record
from results_file import number, write

from mmbook import evaluate, fine_tune_with_rl, load_pretrained_model
from mmbook.models import VLM, Speed
from mmbook.models.compress import kept_bytes, quantised, student, tensor_bytes
from mmbook.rlhf import KnownReward, PPOConfig, RewardModel, fine_tune, ppo
from mmbook.training.distil import distil
from mmbook.world import sample_scenes

SEEDS = (0, 1, 2)
SWITCHES: dict[str, dict[str, Any]] = {  # each beside everything off
    "plain": {},
    "features": {"features": True},
    "share_prefix": {"share_prefix": True},
    "drop": {"drop": True},
    "trim": {"trim": True},
    "chunk": {"chunk": 256},
    "fused": {"fused": True},
    "checkpointing": {"checkpointing": True},
    "graph": {"graph": True},
    "bfloat16": {"dtype": "bfloat16"},
    "fast": vars(Speed.fast("cpu")),
}
METRICS = ("true", "full", "coverage", "claim_precision", "grammatical", "utility")
# key of the chapter: (tolerance, what it is, unit)
SAYS: dict[str, tuple[float, str, str]] = {
    "sixty_four": (10, "CPU seconds of decoding 64 captions over those of one", "ratio"),
    "one_ms": (100, "CPU milliseconds of decoding one caption", "milliseconds"),
    "many_ms": (10, "the same, a caption of 256", "milliseconds"),
    "kept_plain": (0.5, "kept for the gradient of a loss of 64 captions, counted", "MiB"),
    "kept_formula": (0.5, "the same by the formula", "MiB"),
    "kept_checkpointing": (0.5, "the same with checkpointing, counted", "MiB"),
    "kept_both": (0.5, "the same in four pieces", "MiB"),
    "checkpointing_cost": (1.0, "CPU seconds of loss and gradient with checkpointing, over plain", "ratio"),
    "fp16_vanished": (0.05, "error of a float16 gradient, loss divided by 2^14", "share"),
    "fp16_scaled": (0.05, "error of a float16 gradient, loss multiplied by 2^14", "share"),
    "bf16_gradient": (0.1, "error of a bfloat16 gradient", "share"),
    "held_ddp": (0.01, "weights on each of two processes, DDP", "MB"),
    "held_fsdp": (0.01, "weights on each of two processes, FSDP", "MB"),
    "ceiling": (200, "most operations a second of a matrix product", "G/s"),
    "copy": (50, "most bytes a second of a copy, read and written", "GB/s"),
    "decode_1": (50, "operations a second of decoding one row", "G/s"),
    "decode_64": (200, "operations a second of decoding 64 rows", "G/s"),
    "learn_8": (200, "operations a second of learning from 8 rows", "G/s"),
    "efficiency_small": (0.5, "of 64 processes with 128 captions, planned", "share"),
    "efficiency_large": (0.5, "of 64 processes with 8,192 captions, planned", "share"),
    **{
        f"{name}_full": (0.06, f"full, {name.replace('_', ' ')}, short run", "share")
        for name in ("base", "tuned", "8_bits", "4_bits", "2_bits", "2_layers_cut", "2_layers_taught")
    },
    "student_time": (0.5, "CPU seconds of reading with two layers, over three", "ratio"),
    "eight_time": (1.0, "CPU seconds of reading with layers of 8 bits, over 32", "ratio"),
    "memory_gb": (1.0, "largest resident memory of the chapter's kernel", "GB"),
    "cpu_seconds": (120.0, "CPU seconds of the whole chapter's kernel", "seconds"),
}


def timed_update(run: fine_tune.Run) -> tuple[float, float]:
    """CPU seconds of an update's rollout and of the rest."""
    spent, plain = [0.0], ppo.rollout

    def rollout(*args: Any) -> ppo.Rollout:
        start = time.process_time()
        batch = plain(*args)
        spent[0] = time.process_time() - start
        return batch

    ppo.rollout, start = rollout, time.process_time()
    try:
        run.update()
    finally:
        ppo.rollout = plain
    return spent[0], time.process_time() - start - spent[0]


def random_reward(model: VLM) -> RewardModel:
    return RewardModel(model, looks=False, seed=3).requires_grad_(False)


def switches_part(repeats: int = 15) -> None:
    """CPU seconds of an update with each switch on, all others off, taking turns; and bytes kept to learn."""
    model = load_pretrained_model("tiny", device="cpu")
    reward, runs, rows = random_reward(model), {}, []
    for name, changes in SWITCHES.items():
        config = PPOConfig(batch=64, group=4, lr=1e-5, value_lr=1e-5, per_row=True, updates=repeats + 1)
        config = replace(config, speed=Speed.plain(**changes))
        runs[name] = fine_tune.Run(model, reward, 0, config, sample_scenes, None)
        timed_update(runs[name])
    for repeat in range(repeats):
        for name, run in runs.items():
            rollout, learn = timed_update(run)
            rows.append({"switch": name, "repeat": repeat, "rollout": rollout, "learn": learn})
    values: dict[str, Any] = {}

    def spent(name: str, part: str) -> np.ndarray:
        mine = [row for row in rows if row["switch"] == name]
        return np.array([row["rollout"] + row["learn"] if part == "update" else row[part] for row in mine])

    for name, run in runs.items():
        for part in ("rollout", "learn", "update"):
            ratio = np.median(spent(name, part) / spent("plain", part))  # of the same turn
            values[f"{name}_{part}_ratio"] = number(ratio, 0.3, f"{name} over plain: {part}", unit="ratio")
            best = spent(name, part).min()
            values[f"{name}_{part}_best"] = number(best, 2.0, f"{name}: {part}, best", unit="seconds")
        scenes = sample_scenes(16, np.random.default_rng(0))
        with torch.no_grad():
            batch = ppo.rollout(run.policy, run.scorer, scenes, run.generator, run.config)
        args = run.policy.model, run.scorer, batch, batch.m.sum(), run.config
        kept, _ = kept_bytes(lambda a=args: ppo.loss(*a), run.policy.model.module.parameters())
        says = f"{name}: kept for the gradient of a loss of 64 captions"
        values[f"{name}_kept"] = number(kept / 2**20, 20, says, unit="MiB")
    write("scaling-switches", values, rows=rows)


def compress_part() -> None:
    """What fewer bits and fewer layers cost a tuned model, beside what is only sharpening."""
    base, rows = load_pretrained_model("tiny", device="cpu"), []
    gold = KnownReward(base)

    def note(name: str, model: VLM, seed: int, tuned: VLM, temperature: float = 1.0) -> None:
        found = evaluate.captions(model, 1000, temperature=temperature)
        row = {"model": name, "seed": seed, **{what: found[what] for what in METRICS}}
        row["greedy_full"] = evaluate.captions(model, 500, greedy=True)["full"]
        row["entropy"] = evaluate.sequence_entropy(model, temperature)
        row["kl"] = evaluate.sequence_kl(tuned, model) if model is not tuned else 0.0
        row["bytes"] = tensor_bytes([*model.module.parameters(), *model.module.buffers()])
        rows.append(row)
        print(row, flush=True)

    for seed in SEEDS:
        tuned = fine_tune_with_rl(base, gold, seed, progress=False, updates=30, beta=0.05, lr=2e-3)
        note("base", base, seed, tuned)
        note("base matched", base, seed, tuned, evaluate.matched_temperature(base, tuned))
        note("tuned", tuned, seed, tuned)
        for k in (8, 4, 3, 2):
            note(f"{k} bits", quantised(tuned, k), seed, tuned)
        for layers in ((0, 2), (0,)):
            note(f"{len(layers)} layers, cut", student(tuned, layers), seed, tuned)
            small = distil(tuned, student(tuned, layers), 250, seed=seed, progress=False)
            note(f"{len(layers)} layers", small, seed, tuned)
            at = evaluate.matched_temperature(base, small)
            note(f"base as random as {len(layers)} layers", base, seed, tuned, at)
    values: dict[str, Any] = {}
    for name in dict.fromkeys(row["model"] for row in rows):
        mine, key = [row for row in rows if row["model"] == name], name.replace(" ", "_").replace(",", "")
        for what in (*METRICS, "greedy_full", "entropy", "kl"):
            unit = "nats" if what in ("entropy", "kl") else "utility" if what == "utility" else "share"
            mean = np.mean([row[what] for row in mine])
            values[f"{key}_{what}"] = number(
                mean, 0.04 if unit == "share" else 0.5, f"{name}: {what}, 3 seeds", unit=unit
            )
        worst = min(row["full"] for row in mine)
        values[f"{key}_worst"] = number(worst, 0.05, f"{name}: full, worst of 3 seeds")
        values[f"{key}_mb"] = number(mine[0]["bytes"] / 1e6, 0.01, f"{name}: weights", unit="MB")
    write("scaling-compress", values, rows=rows)


if __name__ == "__main__":
    torch.set_num_threads(1)
    parts = {
        "switches": switches_part,
        "compress": compress_part,
        "chapter": lambda: record("practice/scaling", SAYS),
    }
    for part in sys.argv[1:] or parts:
        parts[part]()
