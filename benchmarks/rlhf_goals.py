"""What feedback makes of the tiny captioner: PPO on the gold reward, PPO on a learned one, DPO; three seeds.

python benchmarks/rlhf_goals.py [gold] [learned] [dpo]     (default: all; about 12 CPU minutes)
One thread, CPU seconds; those of policy training stand apart from those of the reward model.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from results_file import FOLDER, number, write

from mmbook import (
    collect_human_feedback,
    evaluate,
    fine_tune_with_rl,
    load_pretrained_model,
    train_reward_model,
)
from mmbook.feedback import SimulatedAnnotator
from mmbook.rlhf import KnownReward, fine_tune_on_pairs
from mmbook.world import HELD_OUT_ARTWORK

torch.set_num_threads(1)
SEEDS, SCENES, PAIRS = (0, 1, 2), 1000, 2000
GOLD: dict[str, Any] = {"updates": 16, "beta": 0.05}
LEARNED: dict[str, Any] = {"updates": 16, "beta": 0.05, "lr": 2e-3}
DPO: dict[str, Any] = {"beta": 0.3, "epochs": 4}
KEYS = ("true", "full", "coverage", "claim_precision", "grammatical", "utility")


def measured(model: Any, base: Any) -> dict[str, dict[str, Any]]:
    """The rows of a results table, on seen and on held-out artwork."""
    rows = evaluate.sharpening_rows(base, model, SCENES)
    for name, other in (("base", base), ("tuned", model)):
        rows[f"{name} held-out"] = evaluate.captions(other, SCENES, artwork=HELD_OUT_ARTWORK)
        rows[f"{name} held-out greedy"] = evaluate.captions(
            other, SCENES, greedy=True, artwork=HELD_OUT_ARTWORK
        )
    return {
        name: {key: row[key] for key in (*KEYS, "style", "temperature") if key in row}
        for name, row in rows.items()
    }


def run(method: str, base: Any, seed: int) -> dict[str, Any]:
    """One method with one seed."""
    row: dict[str, Any] = {"method": method, "seed": seed}
    if method != "gold":
        annotator = SimulatedAnnotator("utility", seed=seed, bt=1.0)
        feedback = collect_human_feedback(base, PAIRS, annotator, seed=seed)
        row["usable_pairs"] = len(feedback.pairs())
    start = time.process_time()
    reward = None
    if method == "learned":
        reward = train_reward_model(feedback, seed=seed)
        row |= {"accuracy": reward.accuracy, "reward_seconds": time.process_time() - start}
    start = time.process_time()
    if method == "dpo":
        tuned = fine_tune_on_pairs(base, feedback, seed=seed, progress=False, **DPO)
    else:
        settings = GOLD if method == "gold" else LEARNED
        tuned = fine_tune_with_rl(base, reward or KnownReward(base), seed=seed, progress=False, **settings)
    row |= {"seconds": time.process_time() - start, "kl": evaluate.sequence_kl(tuned, base)}
    row["rows"] = measured(tuned, base)
    shown = {key: round(row["rows"]["tuned"][key], 3) for key in KEYS}
    print(method, seed, shown, round(row["seconds"], 1), flush=True)
    return row


def summary(method: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The numbers that prose may quote: means over seeds, and how sure *full* is."""
    out = {}
    for key in KEYS:
        for place in ("tuned", "tuned held-out"):
            value = np.mean([row["rows"][place][key] for row in rows])
            name = f"{method}_{key}" + ("_held_out" if "held" in place else "")
            out[name] = number(value, 0.05, f"{key}, {place}, {method}, mean of {len(rows)} seeds")
    out[f"{method}_seconds"] = number(
        np.mean([row["seconds"] for row in rows]), 60, f"policy training, {method}, mean", unit="CPU s"
    )
    out[f"{method}_kl"] = number(
        np.mean([row["kl"] for row in rows]), 1, f"KL, {method}", unit="nats a caption"
    )
    best_base = max(rows[0]["rows"][name]["full"] for name in ("base", "base greedy"))
    best_base = max(best_base, max(row["rows"]["base matched"]["full"] for row in rows))
    full = [row["rows"]["tuned"]["full"] for row in rows]
    error = (np.mean(full) * (1 - np.mean(full)) / (SCENES * len(full))) ** 0.5
    base_error = (best_base * (1 - best_base) / SCENES) ** 0.5
    lead = (np.mean(full) - best_base) / np.hypot(error, base_error)
    out[f"{method}_lead"] = number(
        lead, 10, f"lead in full over the best base row, {method}", unit="standard errors"
    )
    if method == "learned":
        for key, says, unit in (
            ("accuracy", "held-out labels ranked right", "share"),
            ("reward_seconds", "reward-model training", "CPU s"),
            ("usable_pairs", "pairs with a choice", "pairs"),
        ):
            value = np.mean([row[key] for row in rows])
            out[f"learned_{key}"] = number(value, 60 if unit != "share" else 0.05, f"{says}, mean", unit=unit)
    return out


def main(methods: list[str]) -> None:
    warnings.filterwarnings("error", message="these labels carry no measurable preference")
    base, path = load_pretrained_model("tiny", device="cpu"), FOLDER / "rlhf-goals.json"
    old = json.loads(Path(path).read_text(encoding="utf-8"))["rows"] if path.exists() else []
    rows = [row for row in old if row["method"] not in methods]
    for seed in SEEDS:
        rows += [run(method, base, seed) for method in methods]
    values = {}
    for name in ("base", "base greedy"):
        for key in KEYS:
            value = rows[0]["rows"][name][key]
            values[f"{name}_{key}".replace(" ", "_")] = number(value, 0.05, f"{key}, {name}")
    values["base_full_held_out"] = number(
        rows[0]["rows"]["base held-out"]["full"], 0.05, "full, base, held-out artwork"
    )
    for method in ("gold", "learned", "dpo"):
        if of := [row for row in rows if row["method"] == method]:
            values |= summary(method, of)
            matched = np.mean([row["rows"]["base matched"]["full"] for row in of])
            values[f"{method}_base_matched_full"] = number(
                matched, 0.05, f"full, base at the entropy of the policy tuned by {method}"
            )
    write("rlhf-goals", values, rows=rows)


if __name__ == "__main__":
    main(sys.argv[1:] or ["gold", "learned", "dpo"])
