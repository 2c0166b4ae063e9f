"""How far a learned reward can be trusted: gold and proxy against KL where PPO pays nothing for leaving.

python benchmarks/over_optimisation.py [setting ...] [--seeds 0 1 2]    (default: all; about 12 CPU minutes)

For each number of labels (pairs of the base's own captions, judged on utility with Bradley-Terry noise) the
plainest reward model, a linear head on the language model's states, is fitted and PPO follows it with beta
= 0. "Cautious" follows the mean of five members less their standard deviation; "looking" also checks words
against the picture and counts the likelihood of the caption under the base. Gold is the mean utility of
sampled captions, proxy the reward that PPO saw, both in standard deviations of the base's captions, so that
0 is the base. Finished runs stand in --rows and are not repeated: remove that file when the learner changed.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from results_file import number, write

from mmbook import collect_human_feedback, fine_tune_with_rl, load_pretrained_model, train_reward_model
from mmbook.equations import mean_divergence
from mmbook.feedback import SimulatedAnnotator
from mmbook.models import decode
from mmbook.rlhf import RewardConfig
from mmbook.world import check, sample_scenes

SEEDS = (0, 1, 2)
PPO: dict[str, Any] = {"updates": 15, "beta": 0.0, "lr": 1e-3}
PLAIN: dict[str, Any] = {"looks": False, "reads": True, "folds": 2}
CAUTIOUS = PLAIN | {"members": 5, "caution": 1.0}
# setting: (labels, how the reward model is fitted)
SETTINGS: dict[str, tuple[int, dict[str, Any]]] = {
    "50 labels": (50, PLAIN),
    "200 labels": (200, PLAIN),
    "2,000 labels": (2000, PLAIN),
    "200 labels, cautious": (200, CAUTIOUS),
    "2,000 labels, cautious": (2000, CAUTIOUS),
    "200 labels, looking": (200, PLAIN | {"looks": True}),
}


class Look:
    """What a policy's captions are worth to the reader and to the reward, and how far they have moved."""

    def __init__(self, base: Any, reward: Any = None, scenes: int = 256, every: int = 3) -> None:
        self.base, self.reward, self.scenes, self.every = base, reward, sample_scenes(scenes, 1), every
        worth, _ = self.captions(base)
        self.scale = {name: (x.mean(), x.std()) for name, x in worth.items()}
        self.rows, self.seconds = list[dict[str, Any]](), 0.0

    @torch.no_grad()
    def captions(self, model: Any) -> tuple[dict[str, np.ndarray], dict[str, float]]:
        """Gold and proxy of one sampled caption for each scene, and the means that a row reports."""
        prefix = self.base.prefix(self.scenes)  # PPO leaves alone what reads pictures
        out = decode(model, prefix, torch.Generator().manual_seed(1))
        states = self.base.states(prefix, out.ids)
        z, z_ref = model.logits(model.states(prefix, out.ids)[:, :-1]), self.base.logits(states[:, :-1])
        checks = [check(c, s) for c, s in zip(model.text(out.ids, out.mask), self.scenes, strict=True)]
        row = {"kl": mean_divergence(z, z_ref, out.mask, len(checks)).item()}
        for key in ("true", "full", "grammatical", "utility"):
            row[key] = float(np.mean([getattr(c, key) for c in checks]))
        worth = {"gold": np.array([c.utility for c in checks])}
        if self.reward:
            R = self.reward.so_far(prefix, out.ids, out.mask, states, self.scenes)[:, -1]
            worth["proxy"] = R.numpy()
        return worth, row

    def __call__(self, update: int, model: Any, **more: Any) -> None:
        """Add a row every few updates; a callback of PPO."""
        if update % self.every == 0:
            start = time.process_time()
            worth, row = self.captions(model)
            means = {k: float((x.mean() - self.scale[k][0]) / self.scale[k][1]) for k, x in worth.items()}
            self.rows.append({**more, "update": update, **row, **means})
            self.seconds += time.process_time() - start


def run(setting: str, seed: int, base: Any) -> list[dict[str, Any]]:
    """The rows of one run, the first before any update."""
    (labels, fit), start = SETTINGS[setting], time.process_time()
    reader = SimulatedAnnotator("utility", seed=seed, bt=1.0)
    feedback = collect_human_feedback(base, labels, reader, seed=seed)
    fitted = time.process_time()
    reward = train_reward_model(feedback, seed, RewardConfig(**fit))
    fitted = time.process_time() - fitted
    look = Look(base, reward)
    with warnings.catch_warnings():  # with 50 labels it may be no better than chance: that is what is studied
        warnings.simplefilter("ignore")
        fine_tune_with_rl(base, reward, seed, progress=False, callback=look, **PPO)
    seconds = time.process_time() - start
    more = {"setting": setting, "seed": seed, "pairs": reward.pairs, "accuracy": reward.accuracy}
    print(setting, seed, {k: round(v, 2) for k, v in look.rows[-1].items()}, f"{seconds:.0f} s", flush=True)
    return [{**more, "reward_seconds": fitted, "seconds": seconds, **row} for row in look.rows]


def ends(rows: list[dict[str, Any]], *columns: str) -> dict[str, np.ndarray]:
    """Some columns of one setting's rows, as means over seeds (rows of a run,)."""
    runs = [[r for r in rows if r["seed"] == seed] for seed in SEEDS]
    return {k: np.array([[r[k] for r in run] for run in runs]).mean(0) for k in columns}


def numbers(setting: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """What prose may quote of a setting: means over its seeds, at the mean curve's peak and at its end."""
    mean, said = ends(rows, "kl", "gold", "proxy", "full"), f"{setting}, mean of {len(SEEDS)} seeds"
    peak, key = int(mean["gold"].argmax()), setting.replace(",", "").replace(" ", "_")
    return {
        f"{key}_peak": number(mean["gold"][peak], 0.3, f"highest gold, {said}", unit="sd"),
        f"{key}_peak_kl": number(mean["kl"][peak], 2.0, f"KL at the highest gold, {said}", unit="nats"),
        f"{key}_gold": number(mean["gold"][-1], 0.6, f"gold at the end, {said}", unit="sd"),
        f"{key}_proxy": number(mean["proxy"][-1], 0.6, f"proxy at the end, {said}", unit="sd"),
        f"{key}_kl": number(mean["kl"][-1], 4.0, f"KL at the end, {said}", unit="nats"),
        f"{key}_full": number(mean["full"][-1], 0.2, f"full at the end, {said}"),
    }


def measure(name: str, settings: Any, run: Any, numbers: Any, says: str | None) -> None:
    """Run what is missing of all settings and seeds, and write the results once everything is there."""
    parser = argparse.ArgumentParser(description=says, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("settings", nargs="*", default=list(settings), help="; ".join(settings))
    parser.add_argument("--seeds", type=int, nargs="*", default=list(SEEDS))
    parser.add_argument("--rows", type=Path, default=Path(f"{name}-rows.json"), help="finished runs")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    base = load_pretrained_model("tiny", device="cpu")
    rows = json.loads(chosen.rows.read_text()) if chosen.rows.exists() else []
    for seed, setting in product(chosen.seeds, chosen.settings):
        if not any((r["setting"], r["seed"]) == (setting, seed) for r in rows):
            rows += run(setting, seed, base)
            chosen.rows.write_text(json.dumps(rows))
    if {(r["setting"], r["seed"]) for r in rows} >= set(product(settings, SEEDS)):
        of = {setting: [r for r in rows if r["setting"] == setting] for setting in settings}
        ordered = [r for setting in settings for r in sorted(of[setting], key=lambda r: r["seed"])]
        rounded = [{k: round(v, 4) if isinstance(v, float) else v for k, v in r.items()} for r in ordered]
        write(name, {k: v for s in settings for k, v in numbers(s, of[s]).items()}, rows=rounded)


if __name__ == "__main__":
    measure("over-optimisation", SETTINGS, run, numbers, __doc__)
