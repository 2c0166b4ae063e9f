"""What labels move, over several seeds: style, faithfulness, shuffled pictures and random labels.

python benchmarks/goals.py [style] [faithful] [random]     (default: all; about 25 CPU minutes)
"""

from __future__ import annotations

import sys
import time
import warnings
from typing import Any

import torch
from results_file import number, write

import mmbook
from mmbook import collect_human_feedback, fine_tune_with_rl, load_pretrained_model, train_reward_model
from mmbook.evaluate import sharpening_rows
from mmbook.feedback import SimulatedAnnotator
from mmbook.world import check, near_miss_pairs, sample_scenes, triggers

torch.set_num_threads(1)
warnings.filterwarnings("ignore", message="these labels carry no measurable preference")
METRICS = ("full", "true", "coverage", "claim_precision", "grammatical", "utility")


def mean(rows: list[dict[str, Any]], *path: str) -> float:
    """The mean over seeds of one nested entry."""
    total = 0.0
    for row in rows:
        value: Any = row
        for key in path:
            value = value[key]
        total += value
    return total / len(rows)


def one_run(model: Any, taste: str, seed: int, **how: Any) -> dict[str, Any]:
    """Labels, reward model, PPO and all rows of measurements for one seed."""
    shuffle, changes = how.pop("shuffle", False), how.pop("ppo", {})
    feedback = collect_human_feedback(model, annotator=SimulatedAnnotator(taste, seed=seed), seed=seed, **how)
    start = time.process_time()
    reward_model = train_reward_model(feedback, seed=seed, shuffle_pictures=shuffle)
    fitted = time.process_time()
    tuned = fine_tune_with_rl(model, reward_model, seed=seed, progress=False, **changes)
    seconds = time.process_time() - start
    rows = sharpening_rows(model, tuned)
    row = {
        "seed": seed,
        "usable_pairs": reward_model.pairs,
        "looks": reward_model.looks,
        "accuracy": reward_model.accuracy,
        "cpu_seconds": seconds,
        "cpu_seconds_reward_model": fitted - start,
        "kl": tuned.history[-1]["kl"],
        "trigger_full": in_triggers(tuned),
        "rows": rows,
        "history": tuned.history,
        "held_out_near_misses": near_miss_accuracy(reward_model),
    }
    after = rows["tuned"]
    print(
        taste,
        "shuffled" if shuffle else "",
        {k: row[k] for k in ("seed", "usable_pairs", "looks", "accuracy", "cpu_seconds")},
        {k: round(after[k], 3) for k in METRICS},
        {k: round(v, 2) for k, v in after["style"].items()},
        "greedy",
        round(rows["tuned greedy"]["full"], 3),
        "matched",
        round(rows["base matched"]["full"], 3),
        flush=True,
    )
    return row


def in_triggers(model: Any, scenes: int = 1024, seed: int = 2) -> float:
    """The share of greedy captions that are full, in scenes with a trigger of the habit."""
    found = [scene for scene in sample_scenes(scenes, seed) if triggers(scene)]
    captions = model.sample(found, greedy=True)
    return sum(check(c, s).full for c, s in zip(captions, found, strict=True)) / len(found)


def near_miss_accuracy(reward_model: Any, pairs: int = 1000, seed: int = 12345) -> float:
    """The share of fresh near misses that the reward model ranks right."""
    scenes, a, b = zip(*near_miss_pairs(pairs, seed), strict=True)
    first = torch.tensor([check(x, s).true for s, x in zip(scenes, a, strict=True)])
    return ((reward_model.score(scenes, a) > reward_model.score(scenes, b)) == first).float().mean().item()


def style(model: Any) -> None:
    """50 labels of a reader who likes terse, and of one who likes detailed, captions."""
    runs = {
        taste: [one_run(model, taste, seed, pairs=50) for seed in range(3)] for taste in ("terse", "detailed")
    }
    values = {}
    for taste, rows in runs.items():
        values[f"{taste}_before"] = number(
            mean(rows, "rows", "base", "style", taste), 0.03, f"share of {taste} captions before"
        )
        values[f"{taste}_after"] = number(
            mean(rows, "rows", "tuned", "style", taste),
            0.1,
            f"share of {taste} captions after, mean of 3 seeds",
        )
        values[f"{taste}_cpu_seconds"] = number(
            mean(rows, "cpu_seconds"), 30, "CPU seconds of reward model and PPO", unit="seconds"
        )
        values[f"{taste}_accuracy"] = number(
            mean(rows, "accuracy"), 0.1, "held-out accuracy of the reward model"
        )
        for metric in METRICS[:4]:
            change = mean(rows, "rows", "tuned", metric) - mean(rows, "rows", "base", metric)
            values[f"{taste}_{metric}_change"] = number(change, 0.05, f"change of {metric}, mean of 3 seeds")
    write("style", values, runs=runs)


def faithful(model: Any) -> None:
    """200 near-miss labels of a reader who minds inventions; the same with shuffled pictures."""
    how = {"pairs": 200, "candidates": "near-miss", "ppo": {"lr": 2e-3}}
    runs = {
        "seeing": [one_run(model, "faithful", seed, **how) for seed in range(5)],
        "shuffled": [one_run(model, "faithful", seed, shuffle=True, **how) for seed in range(5)],
    }
    values = {
        "trigger_full_before": number(in_triggers(model), 0.05, "full, greedy, in trigger scenes, base")
    }
    for name, says in (
        ("base", "base at temperature 1"),
        ("base greedy", "base greedy"),
        ("base matched", "base at the temperature of the tuned model's entropy"),
    ):
        values["full_" + name.replace(" ", "_")] = number(
            mean(runs["seeing"], "rows", name, "full"), 0.04, f"full, {says}"
        )
    for name, rows in runs.items():
        values[f"full_{name}"] = number(
            mean(rows, "rows", "tuned", "full"), 0.06, f"full after, {name}, mean of 5 seeds"
        )
        values[f"full_greedy_{name}"] = number(
            mean(rows, "rows", "tuned greedy", "full"), 0.06, f"full after, greedy, {name}"
        )
        values[f"trigger_full_{name}"] = number(
            mean(rows, "trigger_full"), 0.1, f"full, greedy, in trigger scenes, {name}"
        )
        values[f"near_miss_{name}"] = number(
            mean(rows, "held_out_near_misses"), 0.06, f"fresh near misses ranked right, {name}"
        )
        for row in rows:
            full = row["rows"]["tuned"]["full"]
            values[f"full_{name}_{row['seed']}"] = number(
                full, 0.06, f"full after, {name}, seed {row['seed']}", seed=row["seed"]
            )
        for metric in ("coverage", "claim_precision", "grammatical"):
            values[f"{metric}_{name}"] = number(
                mean(rows, "rows", "tuned", metric), 0.05, f"{metric} after, {name}"
            )
    write("faithful", values, runs=runs)


def random_labels(model: Any) -> None:
    """50 coin tosses: what chance alone does, over 10 seeds."""
    runs = []
    judge = SimulatedAnnotator("terse")
    captions = model.sample(sample_scenes(1500, 777), seed=777, samples=2)
    pairs = [(s, captions[2 * i : 2 * i + 2]) for i, s in enumerate(sample_scenes(1500, 777))]
    judged = [(s, c, judge(s, c)) for s, c in pairs if c[0] != c[1]]
    clear = [(s, c, j) for s, c, j in judged if isinstance(j, int)][:1000]
    scenes, better, worse = (
        [s for s, _, _ in clear],
        [c[j] for _, c, j in clear],
        [c[1 - j] for _, c, j in clear],
    )
    base = mmbook.evaluate.captions(model)
    for seed in range(10):
        feedback = collect_human_feedback(
            model, pairs=50, annotator=SimulatedAnnotator("random", seed=seed), seed=seed
        )
        reward_model = train_reward_model(feedback, seed=seed)
        right = (reward_model.score(scenes, better) > reward_model.score(scenes, worse)).float().mean().item()
        tuned = fine_tune_with_rl(model, reward_model, seed=seed, progress=False)
        after = mmbook.evaluate.captions(tuned)
        runs.append(
            {
                "seed": seed,
                "looks": reward_model.looks,
                "cross_validated": reward_model.accuracy,
                "accuracy": right,
                "pairs": len(clear),
                "terse_change": after["style"]["terse"] - base["style"]["terse"],
                "full_change": after["full"] - base["full"],
                "style": after["style"],
                "kl": tuned.history[-1]["kl"],
            }
        )
        print("random", runs[-1], flush=True)
    changes = [run["terse_change"] for run in runs]
    write(
        "random",
        {
            "accuracy": number(
                mean(runs, "accuracy"), 0.06, "accuracy on 1,000 noise-free terse pairs, mean of 10 seeds"
            ),
            "terse_change_mean": number(
                mean(runs, "terse_change"), 0.15, "change of the share of terse captions, mean of 10 seeds"
            ),
            "terse_change_least": number(min(changes), 0.15, "smallest of the 10"),
            "terse_change_most": number(max(changes), 0.3, "largest of the 10"),
            "full_change_mean": number(mean(runs, "full_change"), 0.15, "change of full, mean of 10 seeds"),
        },
        runs=runs,
    )


if __name__ == "__main__":
    parts = {"style": style, "faithful": faithful, "random": random_labels}
    for name in sys.argv[1:] or parts:
        parts[name](load_pretrained_model("tiny", device="cpu"))
