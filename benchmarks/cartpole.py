"""CartPole-v1: the book's PPO, A2C and DQN beside Stable-Baselines3, interleaved, one thread each.

python3.11 -m venv PEER && PEER/bin/pip install -r benchmarks/peers/stable-baselines3.txt
python benchmarks/cartpole.py --peer-python PEER/bin/python

Every run is a process of its own. About every EVERY steps, always right after an update, the greedy policy
plays 100 episodes from the same starts in both libraries; that time does not count. The threshold is reached
at the first such mean of 475 or more. Training goes on for AFTER steps or to the end of its budget, with a
tenth of the evaluations, and a last one from other starts tells whether the policy has kept it. Seed 0 of PPO
and A2C also runs ours with the environments stepped one after another, as the peer steps its own. Finished
runs stand in --rows and are not repeated: remove that file when a learner or the peer's script has changed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from results_file import number, write

from mmbook import rl

PEER = Path(__file__).parent / "peers" / "sb3_cartpole.py"
THRESHOLD = 475.0
EVERY = {"ppo": 1000, "a2c": 4000, "dqn": 1000}
AFTER = {"ppo": 100_000, "a2c": 40_000, "dqn": 10_000}  # for PPO all of its budget
# The zoo's settings as its program reads them: one target network a round of updates; double Q is ours.
DQN = rl.DQNConfig(
    gamma=0.99,
    lr=2.3e-3,
    train_every=256,
    updates=128,
    target_every=128,
    eps_last=0.04,
    eps_share=0.16,
    width=256,
)
WHO = {
    "ours": "this book",
    "sb3": "Stable-Baselines3 2.9.2",
    "sync": "this book, environments stepped singly",
}


def learner(name: str) -> tuple[Any, Any, int]:
    """One of the book's learners: function, settings, number of environments."""
    match name:
        case "ppo":
            return rl.train_ppo, rl.PPOConfig(), 8
        case "a2c":
            return rl.train_a2c, rl.A2CConfig(), 8
        case _:
            return rl.train_dqn, DQN, 8


def cartpole(n: int, mode: str = "vector_entry_point") -> Any:
    """So many CartPoles."""
    return gymnasium.make_vec("CartPole-v1", n, vectorization_mode=mode)


def warm_up() -> None:
    """Take one step of an optimiser: the first imports a large part of PyTorch, which is no training."""
    x = torch.ones(1, requires_grad=True)
    x.sum().backward()
    torch.optim.Adam([x]).step()


def train(name: str, seed: int, who: str) -> None:
    """Train one of the book's learners and print a JSON line an evaluation, as the peer's script does."""
    torch.set_num_threads(1)
    learn, config, n = learner(name)
    envs = cartpole(n, "sync" if who == "sync" else "vector_entry_point")
    warm_up()
    start, paused, due, stop = time.process_time(), 0.0, 0, config.steps

    def report(step: int, model: Any, starts: int = 10_000, **more: bool) -> bool:
        nonlocal paused, due, stop
        if step < due and not more:
            return step >= stop
        now = time.process_time()
        mean = float(rl.evaluate(model.act, cartpole(100), 100, starts + seed).mean())
        line = {"step": step, "mean": mean, "seconds": round(now - start - paused, 3), **more}
        print(json.dumps(line), flush=True)
        if mean >= THRESHOLD and not due:
            stop = step + AFTER[name]
        due = step + 10 * EVERY[name] if due or mean >= THRESHOLD else 0
        paused += time.process_time() - now
        return step >= stop

    run = learn(envs, config, seed, every=EVERY[name], callback=report)
    report(int(run.history[-1]["step"]), run.model, 20_000, last=True)


def settings(who: str, name: str) -> str:
    """What a finished run of ours depends on, as text."""
    if who == "sb3":
        return ""
    _, config, n = learner(name)
    return json.dumps({**asdict(config), "environments": n})


def row(who: str, name: str, seed: int, peer_python: str) -> dict[str, Any]:
    """Run one training in a process of its own."""
    command = [peer_python, str(PEER), name, str(seed), str(EVERY[name]), str(AFTER[name])]
    if who != "sb3":
        command = [sys.executable, __file__, "--train", who, name, str(seed)]
    env = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(command, capture_output=True, text=True, env=env)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr}")
    curve = [json.loads(line) for line in done.stdout.splitlines()]
    last = curve.pop()
    reached = next((x for x in curve if x["mean"] >= THRESHOLD), None)
    return {
        "who": who,
        "algorithm": name,
        "seed": seed,
        "samples": reached and reached["step"],
        "seconds": reached and reached["seconds"],
        "last": last["mean"],
        "steps": last["step"],
        "all_seconds": last["seconds"],
        "curve": [[x["step"], x["mean"]] for x in curve],
        "settings": settings(who, name),
    }


def summary(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Numbers of one algorithm by one library; medians are over the seeds that reached the threshold."""
    who, name, seeds = WHO[rows[0]["who"]], rows[0]["algorithm"].upper(), len(rows)
    key = rows[0]["algorithm"] + ("" if rows[0]["who"] == "ours" else f"_{rows[0]['who']}")
    reached = [row for row in rows if row["samples"]]
    kept = sum(row["last"] >= THRESHOLD for row in rows)
    rate = np.median([row["steps"] / row["all_seconds"] for row in rows])
    what = f"{name} by {who}"
    out = {
        "success": number(len(reached), 1, f"{what}: seeds of {seeds} that reach 475", unit="seeds"),
        "kept": number(kept, 2, f"{what}: seeds of {seeds} whose last policy has 475", unit="seeds"),
        "last": number(np.median([row["last"] for row in rows]), 100, f"{what}: last return", unit="return"),
        "rate": number(rate, 1e5, f"{what}: training steps per CPU second", unit="per second"),
    }
    if rows[0]["who"] == "sync":
        return {f"{key}_rate": out["rate"]}
    if reached:
        samples = np.median([row["samples"] for row in reached])
        seconds = np.median([row["seconds"] for row in reached])
        out["samples"] = number(samples, samples, f"{what}: environment steps to 475, median", unit="steps")
        out["seconds"] = number(seconds, 2 * seconds, f"{what}: CPU seconds to 475, median", unit="seconds")
    return {f"{key}_{name}": value for name, value in out.items()}


def ratios(values: dict[str, dict[str, Any]], name: str) -> dict[str, dict[str, Any]]:
    """The peer's number over ours: above 1 where ours needs less."""
    out = {}
    for what, unit in {"samples": "environment steps", "seconds": "CPU seconds"}.items():
        ours, theirs = (values.get(f"{key}_{what}") for key in (name, f"{name}_sb3"))
        if ours and theirs:
            ratio = theirs["value"] / ours["value"]
            says = f"{name.upper()}: {unit} to 475, Stable-Baselines3's over this book's"
            out[f"{name}_{what}_ratio"] = number(ratio, 2 * ratio, says, unit="ratio")
    return out


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer-python", help="Python of the environment with Stable-Baselines3")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--algorithms", nargs="+", default=list(EVERY), choices=list(EVERY))
    parser.add_argument("--rows", type=Path, default=Path("runs/cartpole.jsonl"))
    parser.add_argument("--train", nargs=3, metavar=("WHO", "ALGORITHM", "SEED"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.train:
        who, name, seed = args.train
        train(name, int(seed), who)
        sys.exit()
    if not args.peer_python:
        parser.error("--peer-python: expected the Python of an environment with Stable-Baselines3")
    args.rows.parent.mkdir(parents=True, exist_ok=True)
    text = args.rows.read_text(encoding="utf-8") if args.rows.exists() else ""
    found = {(r["who"], r["algorithm"], r["seed"]): r for r in map(json.loads, text.splitlines())}
    rows, values = [], {}
    for name in args.algorithms:
        for seed in range(args.seeds):
            for who in WHO if seed == 0 and name != "dqn" else ("ours", "sb3"):
                old = found.get((who, name, seed))
                if not old or old["settings"] != settings(who, name):
                    old = row(who, name, seed, args.peer_python)
                    with args.rows.open("a", encoding="utf-8") as file:
                        file.write(json.dumps(old) + "\n")
                    print(*(old[key] for key in ("who", "algorithm", "seed", "samples", "seconds", "last")))
                rows.append(old)
        for who in WHO:
            if some := [x for x in rows if x["who"] == who and x["algorithm"] == name]:
                values |= summary(some)
        values |= ratios(values, name)
    keys = ("who", "algorithm", "seed", "samples", "seconds", "last", "steps", "all_seconds")
    write("cartpole", values, runs=[{key: x[key] for key in keys} for x in rows])
