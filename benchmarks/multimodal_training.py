"""Run the chapter on training and write the numbers that its cells check; its first runs over five seeds.

python benchmarks/multimodal_training.py [chapter | seeds]
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import torch
from chapter_file import record
from results_file import number, write

from mmbook.training import Schedule, train
from mmbook.training.sentiment import accuracy
from mmbook.training.tasks import Tasks, task_loss
from mmbook.world.sentiment import SETTINGS, sample_utterances

SHARE = "share"
SAYS: dict[str, tuple[float, str, str]] = {
    "redundant_whole": (0.04, "redundant, one loss: right", SHARE),
    "redundant_label_for_each": (0.04, "redundant, the label for each modality too: right", SHARE),
    "synergistic_whole": (0.08, "synergistic, one loss: right", SHARE),
    "synergistic_label_for_each": (0.15, "synergistic, the label for each modality too: right", SHARE),
    "synergistic_symbol_for_each": (0.04, "synergistic, its symbol for each modality: right", SHARE),
    "synergistic_symbols_learned_weights": (0.04, "the same with learned weights", SHARE),
    "synergistic_labels_learned_weights": (0.15, "labels for each, learned weights", SHARE),
    **{
        f"{name}_{what}": (0.06, f"redundant, {name}: right, {what.replace('_', ' ')}", SHARE)
        for name in ("plain", "contrastive", "adversarial")
        for what in ("as_they_are", "noise", "attack")
    },
    "spike_clipped": (0.1, "mean loss after a spike, clipped", "nats"),
    "spike_not": (0.1, "mean loss after a spike, not clipped", "nats"),
    "stopped": (0.05, "150 people, stopped early: right", SHARE),
    "to_the_end": (0.05, "150 people, to the end: right", SHARE),
    "watched": (0.05, "150 people: the best answer while watching", SHARE),
    "best_rate": (0.001, "the rate that halving leaves", "rate"),
    "best_coin": (0, "the best of 200 coins", SHARE),
    "same_coin": (0, "the same coin again", SHARE),
    "memory_gb": (1.0, "largest resident memory of the chapter's kernel", "GB"),
    "cpu_seconds": (120.0, "CPU seconds of the whole chapter's kernel", "seconds"),
}

WHOLE, EACH = (1, 0, 0, 0), (1, 0.5, 0.5, 0.5)
# name, setting, weights, symbols as tasks, steps
RUNS: list[tuple[str, str, tuple[float, ...] | None, bool, int]] = [
    ("redundant_whole_260", "redundant", WHOLE, False, 260),
    ("redundant_labels_260", "redundant", EACH, False, 260),
    ("whole_260", "synergistic", WHOLE, False, 260),
    ("whole_600", "synergistic", WHOLE, False, 600),
    ("labels_260", "synergistic", EACH, False, 260),
    ("labels_600", "synergistic", EACH, False, 600),
    ("learned_labels_260", "synergistic", None, False, 260),
    ("learned_labels_600", "synergistic", None, False, 600),
    ("symbols_260", "synergistic", EACH, True, 260),
    ("learned_symbols_260", "synergistic", None, True, 260),
]


def over_seeds(seeds: int = 5) -> None:
    """The chapter's first runs, with people and weights of each seed: right answers on 1,000 others."""
    rows: list[dict[str, Any]] = []
    for seed in range(seeds):
        for name, setting, weights, symbols, steps in RUNS:
            learn, test = (
                sample_utterances(n, SETTINGS[setting], s) for n, s in ((3000, seed), (1000, 1000 + seed))
            )
            tasks = Tasks("gated", seed, weights).train()
            loss_at = task_loss(tasks, learn, seed, symbols)
            train(tasks, loss_at, Schedule(steps, lr=4e-3, warmup=30), progress=False)
            rows.append({"run": name, "seed": seed, "right": accuracy(tasks.model, test)})
            print(rows[-1], flush=True)
    right = {name: np.array([row["right"] for row in rows if row["run"] == name]) for name, *_ in RUNS}
    gain = right["redundant_labels_260"] - right["redundant_whole_260"]
    values = {}
    for name, x in right.items():
        for what, value in (("mean", x.mean()), ("least", x.min()), ("most", x.max())):
            values[f"{name}_{what}"] = number(value, 0.1, f"{name}: {what} of {seeds} seeds")
    for what, value in (("mean", gain.mean()), ("least", gain.min())):
        says = f"redundant, gain by labels: {what} of {seeds} seeds"
        values[f"gain_{what}"] = number(100 * value, 2, says, unit="points")
    write("training-seeds", values, rows=rows)


if __name__ == "__main__":
    parts = sys.argv[1:] or ["chapter", "seeds"]
    if "chapter" in parts:
        record("multimodal/training", SAYS)
    if "seeds" in parts:
        torch.set_num_threads(1)
        over_seeds()
