"""Reward models over several seeds: how many labels, which kinds of judgement, and what PPO makes of them.

python benchmarks/reward_model.py [chapter] [labels] [shift]     (default: all; about 30 CPU minutes;
the chapter needs the ratings that `python -m mmbook fetch vader` gets)

Finished runs are kept in runs/reward-model.json, so that it can be stopped and go on; delete the file to
measure again.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from chapter_file import measure
from results_file import number, write

from mmbook import collect_human_feedback, evaluate, fine_tune_with_rl, load_pretrained_model
from mmbook.evaluate import wilson
from mmbook.evaluate.preferences import leads
from mmbook.feedback import Feedback, Judgement, SimulatedAnnotator
from mmbook.rlhf import RewardConfig, RewardModel
from mmbook.rlhf.reward_fit import Features, fit
from mmbook.world import check, near_miss_pairs, sample_scenes

torch.set_num_threads(1)
SEEDS, COUNTS = (0, 1, 2), (50, 100, 200, 500, 1000, 2000)
TRUNK: dict[str, Any] = {"tune": "full", "pool": "sum", "trunk_lr": 1e-3, "most": 16_000}
FORMS = {"reads": (False, True), "looks": (True, False), "both": (True, True)}
PPO: dict[str, Any] = {"updates": 16, "beta": 0.05, "lr": 2e-3, "progress": False}
KEYS = ("true", "full", "coverage", "claim_precision", "grammatical", "utility")
# key: (tolerance, what it is, unit). Tolerances cover another processor, not another seed.
SAYS = {
    "labels": (0.0, "choices among 500 answers", "pairs"),
    "linear_seen": (0.05, "pairs ranked right that a linear head was fitted to", "share"),
    "linear_fresh": (0.06, "fresh pairs ranked right by the linear head", "share"),
    "reads": (0.06, "fresh pairs ranked right, reading alone", "share"),
    "looks": (0.06, "fresh pairs ranked right, looking alone", "share"),
    "both": (0.05, "fresh pairs ranked right, both", "share"),
    "both_held_out": (0.06, "held-out labels ranked right, both", "share"),
    "nu": (0.8, "how common ties are", "ratio"),
    "mixed": (0.08, "fresh pairs ranked right, from ratings, edits and rankings", "share"),
    "coin": (0.12, "held-out coin tosses ranked right", "share"),
    "blind": (0.1, "held-out labels ranked right with shuffled pictures", "share"),
    "edits_shorter": (0.02, "edits that made a caption shorter", "share"),
    "short_held_out": (0.06, "held-out edits ranked right by the reward that counts words", "share"),
    "short_length": (0.15, "its correlation with length", "correlation"),
    "short_shorter": (0.1, "its accuracy where the true caption is shorter", "share"),
    "short_equal": (0.15, "its accuracy where both are equally long", "share"),
    "short_longer": (0.15, "its accuracy where the true caption is longer", "share"),
    "raw_wins": (0.1, "contests that the curt captioner wins before this judge", "share"),
    "controlled_wins": (0.12, "the same at equal length", "share"),
    "fixed_longer": (0.05, "accuracy after the repair where the true caption is longer", "share"),
    "fixed_equal": (0.06, "accuracy after the repair among equals", "share"),
    "fixed_length": (0.12, "correlation with length after the repair", "correlation"),
    "calibration": (0.05, "expected calibration error", "probability"),
    "calibrated": (0.05, "expected calibration error at a fitted temperature", "probability"),
    "temperature": (0.25, "the fitted temperature", "ratio"),
    "people_words": (0.02, "held-out pairs of film snippets ranked right by words, one seed", "share"),
    "memory_gb": (1.0, "largest resident memory of the chapter's kernel", "GB"),
    "cpu_seconds": (120.0, "CPU seconds of the whole chapter's kernel", "seconds"),
}
KEPT = Path(__file__).parents[1] / "runs" / "reward-model.json"
BASE = load_pretrained_model("tiny", device="cpu")


def kept(key: str, compute: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The result of an earlier run, or of this one."""
    done = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    if key not in done:
        done[key] = compute()
        KEPT.parent.mkdir(exist_ok=True)
        KEPT.write_text(json.dumps(done))
        print(key, done[key], flush=True)
    return done[key]


@cache
def asked(seed: int, n: int = 2000, **how: Any) -> Feedback:
    """Judgements of the base model's captions, or of near misses, by a reader with Bradley-Terry noise."""
    reader = SimulatedAnnotator("utility", seed=seed, bt=1.0)
    return collect_human_feedback(BASE, n, reader, seed=seed, **how)


@cache
def fresh(kind: str) -> list[tuple[Any, str, str]]:
    """Pairs with the better caption first, without noise: the base model's ("own"), or near misses."""
    if kind == "near-miss":
        drawn: Any = near_miss_pairs(1000, 12345)
    else:
        scenes = sample_scenes(3000, 999)
        said = BASE.sample(scenes, seed=999, samples=2)
        drawn = zip(scenes, said[::2], said[1::2], strict=True)
    gaps = [(s, a, b, check(a, s).utility - check(b, s).utility) for s, a, b in drawn]
    return [(s, a, b) if gap > 0 else (s, b, a) for s, a, b, gap in gaps if gap]


@cache
def read(seed: int, n: int = 2000, **how: Any) -> Features:
    """What heads read of these judgements, computed once."""
    judged = asked(seed, n, **how).judgements()
    return Features(BASE, judged, [j.scene for j in judged])


def fitted(features: Features, rows: Any, form: str, seed: int, **changes: Any) -> tuple[RewardModel, float]:
    """A reward model of one form without cross-validation, and the CPU seconds of its fit."""
    config, start = replace(RewardConfig(), **changes), time.process_time()
    looks, reads = FORMS[form]
    model = RewardModel(BASE, looks, seed, reads, config.pool, config.members, config.caution)
    model.base = None if config.tune == "head" else BASE.hash
    fit(model, features, torch.as_tensor(rows), config, seed)
    return model, time.process_time() - start


def right(model: RewardModel, kind: str = "own") -> float:
    """The share of fresh pairs that a reward model ranks right."""
    return float((leads(model, fresh(kind)) > 0).mean())


def ranked(
    key: str, features: Callable[[], Features], rows: Any, *how: Any, **changes: Any
) -> dict[str, Any]:
    """Accuracy on fresh pairs, and seconds, of one fit to some rows, by default all."""

    def run() -> dict[str, Any]:
        seen = features()
        model, seconds = fitted(seen, rows(seen) if rows else range(len(seen.kind)), *how, **changes)
        return {"accuracy": right(model), "seconds": seconds}

    return kept(key, run)


def controls(seed: int, shuffle: str) -> Features:
    """The same judgements with another one's picture, or with each label turned round by a coin."""
    judged = asked(seed).judgements()
    pictures = [j.scene for j in judged]
    if shuffle == "pictures":
        return Features(BASE, judged, pictures[1:] + pictures[:1])
    rng = np.random.default_rng(seed)
    judged = [j._replace(captions=j.captions[:: int(rng.choice([-1, 1]))]) for j in judged]
    return Features(BASE, judged, pictures)


def mean(rows: Sequence[dict[str, Any]], key: str) -> float:
    return float(np.mean([row[key] for row in rows]))


def labels() -> None:
    """Accuracy over the number of judgements, for each form; kinds of judgement; controls."""
    values, points, kinds = dict[str, Any](), list[dict[str, Any]](), dict[str, list[float]]()
    for form in FORMS:
        for n in COUNTS:
            rows = [
                ranked(f"{form} {n} {s}", lambda s=s: read(s), lambda _, n=n: range(n), form, s)
                for s in SEEDS
            ]
            points += [{"form": form, "n": n, "seed": s} | row for s, row in zip(SEEDS, rows, strict=True)]
            values[f"{form}_{n}"] = number(
                mean(rows, "accuracy"), 0.03, f"fresh pairs ranked right, {form}, {n} judgements, 3 seeds"
            )
            values[f"{form}_{n}_spread"] = number(
                np.ptp([row["accuracy"] for row in rows]), 0.1, f"range over seeds, {form}, {n} judgements"
            )
    others: dict[str, dict[str, Any]] = {
        "without ties": {"rows": lambda features: (features.kind == 0).nonzero()[:, 0]},
        "members": {"members": 4},
        "order": {"pool": "order"},
        "adapters": {"form": "reads", "tune": "lora", "epochs": 4},
        "shuffled pictures": {"features": lambda s: controls(s, "pictures")},
        "shuffled labels": {"features": lambda s: controls(s, "labels")},
    }
    for name, how in others.items():
        features, some, form = how.pop("features", read), how.pop("rows", None), how.pop("form", "both")
        seeds = SEEDS[:1] if "tune" in how else SEEDS  # adapters take a minute
        rows = [ranked(f"{name} {s}", lambda s=s, f=features: f(s), some, form, s, **how) for s in seeds]
        key = name.replace(" ", "_")
        says = f"fresh pairs ranked right, {name}, 2,000 judgements, {len(seeds)} seeds"
        values[key] = number(mean(rows, "accuracy"), 0.04, says)
        values[f"{key}_seconds"] = number(
            mean(rows, "seconds"), 60, f"CPU seconds of a fit, {name}", unit="seconds"
        )
    for kind in ("pair", "rating", "edit", "ranking"):
        rows = [
            ranked(f"{kind} 400 {s}", lambda s=s, k=kind: read(s + 10, 400, kind=k), None, "both", s)
            for s in SEEDS
        ]
        kinds[kind] = [row["accuracy"] for row in rows]
        values[f"kind_{kind}"] = number(
            mean(rows, "accuracy"), 0.04, f"fresh pairs ranked right, 400 judgements of kind {kind}, 3 seeds"
        )
    n = len(fresh("own"))
    values["fresh"] = number(n, 0, "fresh pairs of different utility", unit="pairs")
    interval = wilson(round(0.9 * n), n)
    values["interval"] = number(interval[1] - interval[0], 0.01, "width of an interval around 0.9")
    write("reward-model-labels", values, rows=points, kinds=kinds)


def learned_from(what: str, seed: int) -> tuple[list[Judgement], str, dict[str, Any]]:
    """Judgements, form and settings of one row of the table on shifted labels."""
    many, near = asked(seed).judgements(), asked(seed, candidates="near-miss").judgements()
    return {
        "near misses, trunk reads": (near, "reads", TRUNK),
        "near misses, both": (near, "both", {}),
        "near misses, words matched": (near, "looks", {}),
        "own samples, both": (many, "both", {}),
        "own samples, 4 members": (many, "both", {"members": 4, "caution": 1.0}),
        "half of each, both": (many[:1000] + near[:1000], "both", {}),
    }[what]


def shift() -> None:
    """What PPO makes of reward models learned from near misses and from the model's own captions."""
    values: dict[str, Any] = {}
    rows = list[dict[str, Any]]()
    base = kept("base", lambda: {k: evaluate.captions(BASE, 1000)[k] for k in KEYS})

    def run(what: str, seed: int) -> dict[str, Any]:
        judged, form, settings = learned_from(what, seed)
        features = Features(BASE, judged, [j.scene for j in judged])
        model, seconds = fitted(features, range(len(judged)), form, seed, **settings)
        model.interval = (0.6, 1.0)
        start = time.process_time()
        tuned = fine_tune_with_rl(BASE, model, seed=seed, **PPO)
        row = {"near": right(model, "near-miss"), "own": right(model), "fit_seconds": seconds}
        row |= {"seconds": time.process_time() - start, "kl": tuned.history[-1]["kl"]}
        after = evaluate.captions(tuned, 1000)
        return row | {key: after[key] for key in KEYS} | {"style": after["style"]}

    for key in KEYS:
        values[f"base_{key}"] = number(base[key], 0.03, f"{key}, base model at temperature 1")
    names = ("near misses, trunk reads", "near misses, words matched", "near misses, both",
             "own samples, both", "own samples, 4 members", "half of each, both")  # fmt: skip
    for what in names:
        of = [kept(f"ppo {what} {seed}", lambda s=seed, w=what: run(w, s)) for seed in SEEDS]
        rows += [
            {"what": what, "seed": seed, "base_full": base["full"], **row}
            for seed, row in zip(SEEDS, of, strict=True)
        ]
        key = what.replace(",", "").replace(" ", "_")
        for name in ("near", "own", "kl", "seconds", "fit_seconds", *KEYS):
            unit = {"kl": "nats", "seconds": "seconds", "fit_seconds": "seconds"}.get(name, "share")
            values[f"{key}_{name}"] = number(mean(of, name), 60 if unit != "share" else 0.06,
                                             f"{name}, {what}, mean of 3 seeds", unit=unit)  # fmt: skip
        for name, pick in (("least", min), ("most", max)):
            values[f"{key}_full_{name}"] = number(
                pick(row["full"] for row in of), 0.1, f"full, {what}, {name} of 3 seeds"
            )
    write("reward-model-shift", values, rows=rows)


if __name__ == "__main__":
    parts = {"labels": labels, "shift": shift}
    for name in sys.argv[1:] or ["labels", "shift", "chapter"]:
        if name == "chapter":
            write("reward-model", measure("rlhf/reward-model", SAYS))
        else:
            parts[name]()
