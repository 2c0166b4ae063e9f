"""Time to quality: CPU seconds and samples until captions are full in 0.80 of scenes, beside TRL's GRPO.

python3.11 -m venv PEER
PEER/bin/pip install -r benchmarks/peers/trl.txt && PEER/bin/pip install --no-deps -e .
python benchmarks/time_to_quality.py --peer PEER/bin/python

The same tiny model, the same reward, one thread, every run a process of its own, interleaved by seed: this
book's PPO, this book's GRPO with the peer's settings, and TRL's GRPO. Seconds are process CPU seconds of
policy training alone: the reward's own and those of evaluations are taken off (the reward's are recorded
apart), and building the peer's trainer does not count. After each update the policy captions the same 512 new
scenes in seen artwork at temperature 1; the threshold is reached at the first share of 0.80 or more. Samples
are all captions drawn for training, ours with the 256 of the reference that fix the reward's scale. The
rewards are the checker's utility ("gold") and a reward model fitted to 2,000 pairs with Bradley-Terry noise
on that utility. Finished runs stand in --rows and are not repeated: remove that file when a trainer changes.

What differs besides the code: PPO has a critic and an advantage for every token, pays for the distance to the
reference, and each caption is of a new scene; GRPO compares captions of one scene, every token of a caption
has the same advantage, and there is no reference.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from results_file import number, write

from mmbook import collect_human_feedback, load_pretrained_model, train_reward_model
from mmbook.equations import log_prob
from mmbook.feedback import SimulatedAnnotator
from mmbook.models import VLM, decode
from mmbook.rlhf import KnownReward, PPOConfig, RewardModel, fine_tune_with_rl
from mmbook.world import sample_scenes, score

PEER = Path(__file__).parent / "peers" / "trl_grpo.py"
THRESHOLD = 0.80
STEPS: dict[str, Any] = {"epochs": 1, "minibatches": 8, "lr": 2e-3}
GROUPS = {"advantage": "grpo", "group": 4, "beta": 0.0}
SETTINGS: dict[str, dict[str, dict[str, Any]]] = {  # the peer's others stand in its own script
    "gold": {"ppo": STEPS | {"beta": 0.05, "value_lr": 1e-2}, "grpo": STEPS | GROUPS, "trl": {}},
    "learned": {
        "ppo": STEPS | {"beta": 0.05, "value_lr": 1e-2, "updates": 24},
        "grpo": STEPS | GROUPS | {"updates": 24},
        "trl": {"updates": 24},
    },
}
WHO = {"ppo": "this book's PPO", "grpo": "this book's GRPO", "trl": "TRL 1.16.0's GRPO"}


class Watch:
    """A clock of policy training and a judge of the policy, which prints a JSON line an evaluation."""

    def __init__(self, seed: int, scenes: int = 512) -> None:
        self.base, self.scenes, self.seed = load_pretrained_model("tiny", device="cpu"), scenes, seed
        self.judged = sample_scenes(scenes, 90_000)
        self.start = self.paused = self.reward = 0.0

    def begin(self, model: VLM) -> None:
        """Judge the untrained model and start the clock; PyTorch's optimisers are imported before."""
        x = torch.ones(1, requires_grad=True)
        x.sum().backward()
        torch.optim.AdamW([x]).step()
        self.report(model, 0)
        self.start, self.paused = time.process_time(), 0.0

    def timed(self, function: Callable, *args: Any) -> Any:
        """Call the reward; its seconds do not count."""
        now = time.process_time()
        out = function(*args)
        self.reward += time.process_time() - now
        return out

    @torch.no_grad()
    def report(self, model: VLM, samples: int) -> None:
        """Judge the policy and print."""
        now = time.process_time()
        seconds = now - self.start - self.paused - self.reward if self.start else 0.0
        generator = torch.Generator().manual_seed(90_000 + self.seed)
        captions, kl = [], 0.0
        for i in range(0, self.scenes, 256):
            some = self.judged[i : i + 256]
            out = decode(model, model.prefix(some), generator)
            captions += model.text(out.ids, out.mask)
            z = self.base.logits(self.base.states(self.base.prefix(some), out.ids)[:, :-1])
            kl += float((out.log_p - log_prob(z, out.ids) * out.mask).sum()) / self.scenes
        found = score(captions, self.judged)
        keys = ("true", "full", "coverage", "claim_precision", "utility")
        line = {"samples": samples, "seconds": seconds, "reward": self.reward, "kl": kl}
        line |= {key: found[key] for key in keys}
        print(json.dumps({key: round(value, 4) for key, value in line.items()}), flush=True)
        self.paused += time.process_time() - now


def load_reward(name: str, trunk: VLM) -> Any:
    """The gold reward, or the reward model in a folder, on a model that stays as it is."""
    return KnownReward(trunk) if name == "gold" else RewardModel.load(name, trunk)


def train(seed: int, name: str, settings: dict[str, Any]) -> None:
    """One of this book's runs."""
    torch.set_num_threads(1)
    watch, config = Watch(seed), PPOConfig(**settings)
    model = watch.base.copy()
    reward = load_reward(name, model)
    so_far = reward.so_far
    reward.so_far = lambda *args: watch.timed(so_far, *args)

    def judge(update: int, policy: VLM) -> None:
        if update:
            watch.report(policy, (update + 2) * config.batch)

    watch.begin(model)
    fine_tune_with_rl(model, reward, seed, config, progress=False, callback=judge)


def fit_reward(folder: Path) -> dict[str, dict[str, Any]]:
    """Fit a reward model to noisy labels of the base model's captions, save it and say how good it is."""
    model = load_pretrained_model("tiny", device="cpu")
    reader = SimulatedAnnotator("utility", seed=0, bt=1.0)
    feedback = collect_human_feedback(model, pairs=2000, annotator=reader, seed=0)
    start = time.process_time()
    reward = train_reward_model(feedback, seed=0)
    seconds = time.process_time() - start
    reward.save(folder)
    return {
        "learned_accuracy": number(reward.accuracy, 0.05, "learned reward: held-out pairs ranked right"),
        "learned_pairs": number(reward.pairs, 300, "learned reward: pairs with a choice", unit="pairs"),
        "learned_seconds": number(seconds, 600, "learned reward: CPU seconds of fitting it", unit="seconds"),
    }


def run(who: str, seed: int, reward: str, folder: Path, peer: str) -> dict[str, Any]:
    """One training in a process of its own."""
    settings = SETTINGS[reward][who]
    script = [peer, str(PEER)] if who == "trl" else [sys.executable, __file__, "--train"]
    command = [*script, str(seed), reward if reward == "gold" else str(folder), json.dumps(settings)]
    env = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(command, capture_output=True, text=True, env=env)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr}")
    curve = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"samples"')]
    return {"who": who, "reward": reward, "seed": seed, "settings": settings, "curve": curve}


def reached(row: dict[str, Any]) -> dict[str, Any] | None:
    """The first evaluation at the threshold or above."""
    return next((x for x in row["curve"] if x["full"] >= THRESHOLD), None)


def summary(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Numbers of one trainer on one reward; medians are over the seeds that reached the threshold."""
    who, reward = rows[0]["who"], rows[0]["reward"]
    what = f"{WHO[who]}, {reward} reward"
    ends, found = [row["curve"][-1] for row in rows], [x for x in map(reached, rows) if x]
    rate = np.median([x["samples"] / x["seconds"] for x in ends])
    out = {
        "reached": number(len(found), 1, f"{what}: seeds of {len(rows)} that reach 0.80 full", unit="seeds"),
        "rate": number(rate, 1e4, f"{what}: training samples per CPU second", unit="per second"),
        "all_seconds": number(
            np.median([x["seconds"] for x in ends]),
            300,
            f"{what}: CPU seconds of the whole run",
            unit="seconds",
        ),
        "reward_seconds": number(
            np.median([x["reward"] for x in ends]), 300, f"{what}: CPU seconds of the reward", unit="seconds"
        ),
    }
    for key in ("full", "true", "coverage", "kl"):
        unit = "nats" if key == "kl" else "share"
        out[key] = number(
            np.mean([x[key] for x in ends]),
            2.0 if key == "kl" else 0.1,
            f"{what}: {key} in the end",
            unit=unit,
        )
    if found:
        samples, seconds = (np.median([x[key] for x in found]) for key in ("samples", "seconds"))
        out["samples"] = number(samples, samples, f"{what}: samples to 0.80 full, median", unit="captions")
        out["seconds"] = number(
            seconds, 2 * seconds, f"{what}: CPU seconds to 0.80 full, median", unit="seconds"
        )
    return {f"{reward}_{who}_{key}": value for key, value in out.items()}


def ratios(values: dict[str, dict[str, Any]], reward: str) -> dict[str, dict[str, Any]]:
    """The peer's number over ours: above 1 where ours needs less."""
    out = {}
    for who in ("ppo", "grpo"):
        for what, says in {"samples": "samples to 0.80 full", "seconds": "CPU seconds to 0.80 full"}.items():
            ours, theirs = (values.get(f"{reward}_{name}_{what}") for name in (who, "trl"))
            if ours and theirs:
                ratio = theirs["value"] / ours["value"]
                says = f"{reward} reward: {says}, TRL's GRPO over {WHO[who]}"
                out[f"{reward}_{who}_{what}_ratio"] = number(ratio, 2 * ratio, says, unit="ratio")
    return out


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer", help="Python of the environment with TRL")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rewards", nargs="+", default=list(SETTINGS), choices=list(SETTINGS))
    parser.add_argument("--who", nargs="+", default=list(WHO), choices=list(WHO))
    parser.add_argument("--rows", type=Path, default=Path("runs/time-to-quality.jsonl"))
    parser.add_argument("--train", nargs=3, metavar=("SEED", "REWARD", "SETTINGS"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.train:
        train(int(args.train[0]), args.train[1], json.loads(args.train[2]))
        sys.exit()
    if not args.peer:
        parser.error("--peer: expected the Python of an environment with TRL")
    args.rows.parent.mkdir(parents=True, exist_ok=True)
    text = args.rows.read_text(encoding="utf-8") if args.rows.exists() else ""
    done = {(x["who"], x["reward"], x["seed"]): x for x in map(json.loads, text.splitlines())}
    values: dict[str, dict[str, Any]] = {}
    rows, folder = [], args.rows.with_suffix("")
    for reward in args.rewards:
        if reward == "learned":
            values |= fit_reward(folder)
        for seed in range(args.seeds):
            for who in args.who:
                row = done.get((who, reward, seed))
                if not row or row["settings"] != SETTINGS[reward][who]:
                    row = run(who, seed, reward, folder, args.peer)
                    with args.rows.open("a", encoding="utf-8") as log:
                        log.write(json.dumps(row) + "\n")
                    print(who, reward, seed, reached(row), row["curve"][-1], flush=True)
                rows.append(row)
        for who in args.who:
            values |= summary([x for x in rows if x["who"] == who and x["reward"] == reward])
        values |= ratios(values, reward)
    write("time-to-quality", values, runs=rows)
