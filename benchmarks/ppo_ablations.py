"""Take pieces of PPO-RLHF away, one at a time, on the stickers.

python benchmarks/ppo_ablations.py

With the gold reward: advantages that are not whitened, values that are not clipped, padding that counts, an
end that does not. With the plainest reward learned from 200 noisy labels: no price for leaving the reference.
Three seeds each. Finished runs stand in --rows and are not repeated: remove that file once the learner
changed.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from results_file import number, write

from mmbook import collect_human_feedback, evaluate, fine_tune_with_rl, load_pretrained_model
from mmbook.equations import log_prob
from mmbook.feedback import SimulatedAnnotator
from mmbook.models import Decoded
from mmbook.rlhf import KnownReward, RewardConfig, ppo, train_reward_model

SEEDS, SCENES, LABELS = (0, 1, 2), 256, 200
KNOWN = {"updates": 10, "beta": 0.05}
LEARNED = {"updates": 16, "lr": 2e-3}
PLAIN = RewardConfig(looks=False, reads=True, folds=2)
# name: (what is changed, fault in the mask, whether the reward is learned)
RUNS: dict[str, tuple[dict[str, Any], str, bool]] = {
    "as it is": ({}, "", False),
    "not whitened": ({"whiten_advantages": False}, "", False),
    "values not clipped": ({"eps_v": float("inf")}, "", False),
    "padding counts": ({}, "padding", False),
    "the end does not count": ({}, "end", False),
    "with a price": ({"beta": 0.3}, "", True),
    "without a price": ({"beta": 0.0}, "", True),
}
decode = ppo.decode


def with_padding(model: Any, prefix: Any, *how: Any) -> Decoded:
    """A mask of ones, and log-probabilities of whatever stands after the end."""
    out = decode(model, prefix, *how)
    z = model.logits(model.states(prefix, out.ids)[:, :-1])
    return Decoded(out.ids, torch.ones_like(out.mask), log_prob(z, out.ids, how[1]), out.ended)


def without_end(model: Any, prefix: Any, *how: Any) -> Decoded:
    """A mask that stops one token early, as `ids != pad` does where padding is written with EOS."""
    out = decode(model, prefix, *how)
    count = (out.mask.sum(1, keepdim=True) - out.ended[:, None].float()).clamp(min=1)
    m = (torch.arange(out.mask.shape[1]) < count).float()
    return Decoded(out.ids, m, out.log_p * m, out.ended)


@contextmanager
def masked(fault: str) -> Iterator[None]:
    """Put a fault into the mask that PPO learns with."""
    ppo.decode = {"padding": with_padding, "end": without_end}.get(fault, decode)
    try:
        yield
    finally:
        ppo.decode = decode


def run(model: Any, name: str, seed: int) -> list[dict[str, Any]]:
    """Train once; a row for each look at the policy: update, gold, true, full, kl and what PPO was paid."""
    changes, fault, learned = RUNS[name]
    reward: Any = KnownReward(model)
    if learned:
        reader = SimulatedAnnotator("utility", seed, bt=1.0)
        reward = train_reward_model(collect_human_feedback(model, LABELS, reader, seed=seed), seed, PLAIN)
    rows: list[dict[str, Any]] = []

    def look(update: int, policy: Any) -> None:
        if update % (4 if learned else 5) == 0:
            said = evaluate.captions(policy, SCENES, 100 + seed)
            row = {"run": name, "seed": seed, "update": update, "gold": said["utility"]}
            row |= {key: said[key] for key in ("true", "full", "grammatical")}
            rows.append(row | {"kl": evaluate.sequence_kl(policy, model, 128, 100 + seed)})

    start = time.process_time()
    settings = {**(LEARNED if learned else KNOWN), **changes, "progress": False}
    with masked(fault):
        tuned = fine_tune_with_rl(model, reward, seed, callback=look, **settings)
    for row in rows:
        past = tuned.history[min(row["update"], len(tuned.history) - 1)]
        row |= {"score": past["score"], "words": past["words"], "accuracy": reward.accuracy}
    print(name, seed, [round(r["gold"], 2) for r in rows], f"{time.process_time() - start:.0f} s", flush=True)
    return rows


def numbers(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The last look of each run: mean over seeds, and how far the seeds lie apart."""
    out = {}
    for name in RUNS:
        of = [row for row in rows if row["run"] == name]
        last = [row for row in of if row["update"] == max(r["update"] for r in of)]
        for key in ("gold", "true", "full", "kl", "score", "words"):
            x = [row[key] for row in last]
            says, unit = f"{name}: {key} after the last update", "share" if key in ("true", "full") else key
            slug = f"{name.replace(' ', '_')}_{key}"
            out[slug] = number(np.mean(x), max(np.ptp(x), 0.05), f"{says}, mean of seeds", unit=unit)
            out[f"{slug}_range"] = number(
                np.ptp(x), max(np.ptp(x), 0.05), f"{says}, range of seeds", unit=unit
            )
        best = [max(r["gold"] for r in of if r["seed"] == seed) for seed in SEEDS]
        out[f"{name.replace(' ', '_')}_best"] = number(np.mean(best), 0.5, f"{name}: best gold", unit="gold")
    return out


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=Path, default=Path("ppo-ablations-rows.json"), help="finished runs")
    parser.add_argument("--seeds", type=int, default=len(SEEDS))
    args = parser.parse_args()
    torch.set_num_threads(1)
    done = json.loads(args.rows.read_text()) if args.rows.exists() else []
    base = load_pretrained_model("tiny", device="cpu")
    for seed in SEEDS[: args.seeds]:
        for name in RUNS:
            if not any(row["run"] == name and row["seed"] == seed for row in done):
                done += run(base, name, seed)
                args.rows.write_text(json.dumps(done))
    if args.seeds == len(SEEDS):
        rounded = [{k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()} for row in done]
        write("ppo-ablations", numbers(done), rows=rounded)
