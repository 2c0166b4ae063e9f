"""Scenes that are hard on purpose, as a test and as training data: PPO on the gold reward, three seeds.

python benchmarks/adversarial.py [--seeds 0 1 2]    (about 6 CPU minutes)

"usual scenes" trains on random scenes, "hard scenes too" takes half of them from the kinds of
`mmbook.world.mixed`; held-out artwork is a test alone. Everything else is equal.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import torch
from results_file import number, write

from mmbook import evaluate, fine_tune_with_rl, load_pretrained_model
from mmbook.rlhf import KnownReward
from mmbook.world import adversarial_scenes, mixed, sample_scenes
from mmbook.world.adversarial import HARD

SCENES = 1000
PPO: dict[str, Any] = {"updates": 16, "beta": 0.05, "progress": False}
SETS = {"random": sample_scenes(SCENES, 1)} | {kind: adversarial_scenes(kind, SCENES, 1) for kind in HARD}
TRAINED: dict[str, dict[str, Any]] = {"usual scenes": {}, "hard scenes too": {"scenes": mixed(0.5)}}


def measured(model: Any, policy: str, seed: int) -> list[dict[str, Any]]:
    """A row for each set of scenes, sampled and greedy."""
    rows = []
    for kind, scenes in SETS.items():
        row: dict[str, Any] = {"policy": policy, "scenes": kind, "seed": seed}
        after = evaluate.captions(model, scenes)
        row |= {key: after[key] for key in ("true", "full", "coverage", "claim_precision", "grammatical")}
        rows.append(row | {"full_greedy": evaluate.captions(model, scenes, greedy=True)["full"]})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    seeds = parser.parse_args().seeds
    torch.set_num_threads(1)
    base = load_pretrained_model("tiny", device="cpu")
    rows = measured(base, "base", 0)
    for policy, how in TRAINED.items():
        for seed in seeds:
            tuned = fine_tune_with_rl(base, KnownReward(base), seed=seed, **PPO, **how)
            rows += measured(tuned, policy, seed)
            print(policy, seed, {row["scenes"]: row["full"] for row in rows[-len(SETS) :]}, flush=True)
    values = {}
    for policy in ("base", *TRAINED):
        for kind in SETS:
            of = [row for row in rows if (row["policy"], row["scenes"]) == (policy, kind)]
            key = f"{policy}_{kind}".replace(" ", "_").replace("-", "_")
            for column in ("true", "full", "coverage", "full_greedy"):
                value = np.mean([row[column] for row in of])
                says = f"{column.replace('_', ', ')}, {policy}, {kind} scenes, {len(of)} runs"
                values[f"{key}_{column}"] = number(value, 0.06, says)
    write("adversarial", values, rows=rows)


if __name__ == "__main__":
    main()
