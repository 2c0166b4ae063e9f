"""Make the painter's and the judge's weights; measure both directions; move the painter by preferences.

python benchmarks/generation.py weights                      (writes mmbook/models/tiny_painter)
python benchmarks/generation.py [preferences | data | chapter]
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from chapter_file import record
from results_file import number, write
from safetensors.torch import save_file

from mmbook import collect_human_feedback, fine_tune_with_rl, load_pretrained_model, train_reward_model
from mmbook.evaluate import matched_temperature, sequence_kl
from mmbook.evaluate.pictures import (
    NOTHING,
    Judge,
    PictureReader,
    come_back,
    load_judge,
    train_judge,
    verdict,
)
from mmbook.evaluate.pictures import (
    WEIGHTS as JUDGE,
)
from mmbook.models.painter import WEIGHTS, Painter, load_painter
from mmbook.models.threads import one_thread
from mmbook.models.vq import to_quarters
from mmbook.training import Schedule, train
from mmbook.training.paint import ARTWORK, learn_to_paint
from mmbook.training.pretrain import quarter_targets
from mmbook.world import KINDS, SceneBatch, render, sample_scenes
from mmbook.world.captions import article

SEEDS = (0, 1, 2)
SCENES = 500
SETTINGS = {"beta": 0.2, "updates": 24}
RUNS = {"big": ("big", 1000), "warm": ("warm", 1000), "few": ("big", 200)}  # taste and pairs
# key: (tolerance, what it is, unit). Tolerances cover another processor, not another seed.
SAYS: dict[str, tuple[float, str, str]] = {
    "stage_coverage": (0.15, "coverage after the projector alone was trained", "share"),
    "stage_full": (0.15, "full captions after the projector alone was trained", "share"),
    "habit_one": (0.06, "trigger scenes in which the companion is invented, temperature 1", "share"),
    "habit_greedy": (0.06, "the same, greedy", "share"),
    "slip_one": (0.05, "other scenes with a wrong claim, temperature 1", "share"),
    "slip_greedy": (0.04, "the same, greedy", "share"),
    "parameters": (1e-3, "weights of the painter's language model", "millions"),
    "training_seconds": (1.0, "CPU seconds of both stages of the shipped painter", "seconds"),
    "drawn_asked": (0.02, "asked stickers recognised, drawn scenes", "share"),
    "rebuilt_asked": (0.03, "the same, rebuilt from codes", "share"),
    "control_asked": (0.05, "the same, another scene's caption", "share"),
    "held_out_asked": (0.06, "the same, artwork that the judge never saw", "share"),
    "one_asked": (0.05, "the same, painted at temperature 1", "share"),
    "cool_asked": (0.04, "the same, painted at temperature 0.7", "share"),
    "greedy_asked": (0.03, "the same, painted greedily", "share"),
    "one_big": (0.06, "big stickers painted at temperature 1", "share"),
    "greedy_big": (0.06, "big stickers painted greedily", "share"),
    "drawn_big": (0.02, "big stickers in drawn scenes", "share"),
    "one_exact": (0.06, "pictures with all that was asked and nothing else, temperature 1", "share"),
    "greedy_exact": (0.03, "the same, greedy", "share"),
    "drawn_exact": (0.02, "the same, drawn scenes", "share"),
    "one_extra": (0.1, "stickers a picture that nobody asked for, temperature 1", "stickers"),
    "one_warm": (0.03, "warmth of pictures painted at temperature 1", "red less blue"),
    "read_by_painting": (0.05, "single stickers named by the painter's likelihood", "share"),
    "drawn_come_back": (0.03, "asked kinds that the captioner names, drawn scenes", "share"),
    "rebuilt_come_back": (0.05, "the same, rebuilt from codes", "share"),
    "painted_come_back": (0.06, "the same, painted at temperature 1", "share"),
    "control_come_back": (0.05, "the same, another scene's picture", "share"),
    "heard": (0.07, "spoken one-sticker captions understood, a voice never heard", "share"),
    "rl_accuracy": (0.08, "held-out pairs ranked right, 300 pairs, bigger stickers", "share"),
    "rl_big": (0.12, "big stickers after 12 updates", "share"),
    "rl_asked": (0.06, "asked stickers recognised after 12 updates", "share"),
    "broken_asked": (0.2, "asked stickers recognised, warm colours at no price", "share"),
    "broken_extra": (0.8, "stickers that nobody asked for, warm colours at no price", "stickers"),
    "broken_score": (0.7, "score in the last update, warm colours at no price", "standard deviations"),
    "broken_warm": (0.1, "warmth, warm colours at no price", "red less blue"),
    "memory_gb": (1.0, "largest resident memory of the chapter's kernel", "GB"),
    "cpu_seconds": (120.0, "CPU seconds of the whole chapter's kernel", "seconds"),
}


def weights() -> None:
    """Train the judge and the painter from nothing; write both, and what they reach."""
    WEIGHTS.parent.mkdir(exist_ok=True)
    seconds = {}
    start = time.process_time()
    save_file(train_judge(progress=False).state_dict(), JUDGE)
    seconds["judge"], start = round(time.process_time() - start), time.process_time()
    painter = learn_to_paint(0, Path("runs/painter"), progress=False)
    seconds["painter"] = round(time.process_time() - start)
    painter.save(WEIGHTS)
    scenes, judge = sample_scenes(SCENES, 1, ARTWORK), load_judge()
    metrics = {
        "seed": 0,
        "cpu_seconds": seconds,
        "weights": painter.hash,
        "drawn": verdict(judge, render(scenes), scenes),
        "rebuilt": verdict(judge, painter.vq.rebuilt(render(scenes)), scenes),
        "painted": painted(painter, judge, scenes),
    }
    WEIGHTS.with_name("metrics.json").write_text(json.dumps(metrics, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(metrics, indent=1))


def painted(
    painter: Painter, judge: Judge, scenes: SceneBatch, temperature: float = 1.0, greedy: bool = False
) -> dict[str, float]:
    """The judge's verdict on one painted picture for each scene."""
    return verdict(judge, painter.pictures(painter.sample(scenes, temperature, 1, greedy)), scenes)


def preferences() -> None:
    """The four lines on pictures, over three seeds, with what cooling alone would give."""
    painter, judge, scenes = load_painter(), load_judge(), sample_scenes(SCENES, 1)
    tower = load_pretrained_model("tiny", device="cpu")
    rows: list[dict[str, Any]] = []

    def note(name: str, seed: int, model: Painter, **more: Any) -> dict[str, Any]:
        pictures = model.pictures(model.sample(scenes, seed=1))
        row = {"run": name, "seed": seed, **verdict(judge, pictures, scenes), **more}
        row["read"] = come_back(tower, pictures, scenes)
        rows.append(row)
        print(row, flush=True)
        return row

    note("base", 0, painter)
    rows.append({"run": "base greedy", "seed": 0, **painted(painter, judge, scenes, greedy=True)})
    for name, (taste, pairs) in RUNS.items():
        for seed in SEEDS:
            start = time.process_time()
            reader = PictureReader(painter, taste)
            feedback = collect_human_feedback(painter, pairs=pairs, annotator=reader, seed=seed)
            reward_model = train_reward_model(feedback, seed=seed)
            tuned = fine_tune_with_rl(painter, reward_model, seed=seed, progress=False, **SETTINGS)
            seconds = time.process_time() - start
            cooled = matched_temperature(painter, tuned, 128)
            row = note(
                name, seed, tuned, accuracy=reward_model.accuracy, labels=len(feedback.pairs()),
                cpu_seconds=seconds, kl=sequence_kl(tuned, painter, 256), temperature=cooled,
            )  # fmt: skip
            row["matched"] = painted(painter, judge, scenes, cooled)
    values = {
        f"base_{key}": number(rows[0][key], 0.05, f"base: {key}") for key in ("asked", "big", "warm", "read")
    }
    values |= {
        f"greedy_{key}": number(rows[1][key], 0.05, f"greedy: {key}") for key in ("asked", "big", "warm")
    }
    for name in RUNS:
        mine = [r for r in rows if r["run"] == name]
        for key in ("asked", "exact", "big", "warm", "read", "accuracy", "kl", "cpu_seconds"):
            v = [r[key] for r in mine]
            unit = {"kl": "nats", "cpu_seconds": "seconds"}.get(key, "share")
            wide = {"kl": 5.0, "cpu_seconds": 60.0}.get(key, 0.1)
            values[f"{name}_{key}"] = number(np.mean(v), wide, f"{name}: {key}, mean of 3 seeds", unit=unit)
            worst = max(v) if key == "kl" else min(v)
            values[f"{name}_{key}_worst"] = number(worst, wide, f"{name}: {key}, worst of 3 seeds", unit=unit)
        for key in ("asked", "big", "warm"):
            v = [r["matched"][key] for r in mine]
            values[f"{name}_matched_{key}"] = number(np.mean(v), 0.1, f"base as random as {name}: {key}")
    write("generation-preferences", values, rows=rows)


def data() -> None:
    """A classifier learns from few drawn scenes, with and without painted ones beside them; three seeds."""
    painter, kinds = load_painter(), np.arange(len(KINDS))
    test = {
        "seen": sample_scenes(1000, 901, ARTWORK),
        "other": sample_scenes(1000, 902, ("twemoji", "fluent")),
    }
    rows: list[dict[str, Any]] = []
    for seed in SEEDS:
        few, many = (alone(np.repeat(kinds, n), seed) for n in (4, 40))
        asked = np.repeat(kinds, 36)
        pictures = painter.pictures(painter.sample([f"{article(KINDS[k])}." for k in asked], seed=100 + seed))
        seen, _ = load_judge().names(pictures)
        agreed = (seen == asked[:, None]).any(1)
        sets = {
            "4 drawn of each": few,
            "36 painted of each": (pictures, asked),
            "both": tuple(np.concatenate(x) for x in zip(few, (pictures, asked), strict=True)),
            "both, those the judge accepts": tuple(
                np.concatenate(x) for x in zip(few, (pictures[agreed], asked[agreed]), strict=True)
            ),
            "40 drawn of each": many,
        }
        for name, (x, y) in sets.items():
            model = learned(x, y, seed)
            row = {"data": name, "seed": seed, "pictures": len(x)}
            rows.append(row | {where: right(model, s) for where, s in test.items()})
            print(rows[-1], flush=True)
    values = {}
    for i, name in enumerate(dict.fromkeys(r["data"] for r in rows)):
        for where in test:
            v = [r[where] for r in rows if r["data"] == name]
            values[f"set_{i}_{where}"] = number(np.mean(v), 0.05, f"{name}: {where} artwork named right")
    write("generation-data", values, rows=rows)


def alone(kind: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Drawn pictures of one sticker each, of these kinds."""
    batch = sample_scenes(len(kind), 500 + seed, ARTWORK)
    batch.kind = np.stack([kind, *[np.full(len(kind), -1)] * 2], 1)
    return render(batch), kind


def learned(pictures: np.ndarray, kind: np.ndarray, seed: int) -> Judge:
    """A classifier that has learned from pictures of one sticker each; the fullest quarter shows it."""
    x = to_quarters(pictures).unflatten(0, (-1, 4))
    full = (x - x[..., :1, :1]).abs().sum((2, 3, 4)).argmax(1)
    x, y, model = x[torch.arange(len(x)), full], torch.from_numpy(kind), Judge(seed)

    def loss_at(step: int) -> torch.Tensor:
        rng = np.random.default_rng([seed, 6, step])
        rows = torch.from_numpy(rng.integers(len(x), size=64))
        return F.cross_entropy(model(x[rows])[0], y[rows])

    train(model, loss_at, Schedule(400, 3e-3, 20), progress=False)
    return model.eval()


def right(model: Judge, scenes: SceneBatch) -> float:
    """The share of stickers that a classifier names."""
    kinds, _, there = quarter_targets(scenes)
    with torch.no_grad():
        z = model(to_quarters(render(scenes)))[0][:, :NOTHING]
    return (z.argmax(-1).view(-1, 4) == kinds)[there].float().mean().item()


if __name__ == "__main__":
    parts = sys.argv[1:] or ["preferences", "data", "chapter"]
    with one_thread():
        for part in parts:
            if part == "chapter":
                record("multimodal/generation", SAYS)
            else:
                {"weights": weights, "preferences": preferences, "data": data}[part]()
