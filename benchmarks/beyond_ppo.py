"""PPO, RLOO, GRPO, DPO, IPO and best-of-n side by side: exactly on the caption tree, and on the stickers.

python benchmarks/beyond_ppo.py [arena | stickers | chapter]     (1, 17 and 1 CPU minutes)
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Collection
from functools import partial
from typing import Any

import numpy as np
import torch
from chapter_file import record
from results_file import number, write

from mmbook import (
    collect_human_feedback,
    evaluate,
    fine_tune_with_rl,
    load_pretrained_model,
    train_reward_model,
)
from mmbook.equations import best_of_n_kl, best_of_n_policy, kl_k1
from mmbook.feedback import SimulatedAnnotator
from mmbook.models import decode
from mmbook.rlhf import KnownReward, fine_tune_on_pairs
from mmbook.rlhf.arena import Arena
from mmbook.world import HELD_OUT_ARTWORK, sample_scenes, score

SEEDS = (0, 1, 2)
# On the tree. Rewards are not standardised, so beta is that of J.
TREE: dict[str, dict[str, Any]] = {
    "PPO": {},
    "RLOO": {"advantage": "rloo", "group": 4},
    "GRPO": {"advantage": "grpo", "group": 4},
    "GRPO, KL in the loss": {"advantage": "grpo", "group": 4, "kl_in": "loss", "kl": "k3"},
}
RL = {"standardise": False, "c": 100.0, "batch": 128, "minibatches": 2, "lr": 0.1, "value_lr": 0.1}
UPDATES, AT = 100, (2, 5, 10, 20, 50, 100)
SIZES = (64, 256, 1024, 4096)  # pairs; a pair is two captions
IPO_BETA = 0.06  # on the tree: where IPO's own optimum is nearest to the best policy
# On the stickers: the rewards are standardised, as in the chapter on PPO.
LEARNED: dict[str, Any] = {"beta": 0.05, "lr": 2e-3}
STICKERS: dict[str, dict[str, Any]] = {
    "PPO": LEARNED,
    "RLOO": LEARNED | {"advantage": "rloo", "group": 4},
    "GRPO": LEARNED | {"advantage": "grpo", "group": 4},
}
DIRECT: dict[str, dict[str, Any]] = {
    "DPO": {"method": "dpo", "beta": 0.3, "epochs": 4},
    "IPO": {"method": "ipo", "beta": 0.1, "epochs": 4},
}
# key of the chapter: (tolerance, what it is, unit). Tolerances cover another processor, not another seed.
TOKEN = "nats a token"
SAYS = {
    "full_1": (0.05, "full, one sample", "share"),
    "full_4": (0.05, "full, best of 4 by the gold reward", "share"),
    "full_16": (0.05, "full, best of 16 by the gold reward", "share"),
    "bound_512": (1e-4, "bound of the KL of best of 512", "nats"),
    "kl_512": (1e-4, "KL of best of 512 on the tree", "nats"),
    **{f"best_of_{n}": (1e-4, f"best of {n} on the tree, from the best policy", TOKEN) for n in (8, 32, 128)},
    "ppo_kl_token": (0.05, "PPO after 5,120 captions", TOKEN),
    "rloo_kl_token": (0.05, "RLOO after 5,120 captions", TOKEN),
    "grpo_kl_token": (0.05, "GRPO after 5,120 captions", TOKEN),
    "kl_in_the_loss_kl_token": (0.1, "GRPO with its KL in the loss after 5,120 captions", TOKEN),
    "kl_in_the_loss_kl": (0.2, "the same, from the reference", "nats"),
    "kl_of_best": (1e-4, "the best policy, from the reference", "nats"),
    **{f"dpo_{n}": (0.05, f"DPO with {n} pairs", TOKEN) for n in (100, 1000)},
    **{f"dpo_{n}_chosen": (1.0, f"log-ratio of the chosen, {n} pairs", "nats") for n in (100, 1000)},
    **{f"dpo_{n}_rejected": (1.0, f"log-ratio of the rejected, {n} pairs", "nats") for n in (100, 1000)},
    **{
        f"{m}_sure_{n}": (0.3, f"{m} on sure pairs after {n} steps", "nats")
        for m in ("dpo", "ipo")
        for n in (100, 600)
    },
    "ipo_target_0.5": (1e-4, "IPO's optimum at beta 0.5, from the best policy", TOKEN),
    "ipo_target_0.06": (1e-4, "IPO's optimum at beta 0.06, from the best policy", TOKEN),
    "live_base_full": (0.05, "full, base", "share"),
    "live_dpo_full": (0.08, "full, DPO on 400 judged pairs", "share"),
    "memory_gb": (1.0, "largest resident memory of the chapter's kernel", "GB"),
    "cpu_seconds": (120.0, "CPU seconds of the whole chapter's kernel", "seconds"),
}
PAIRS, N, SCENES = 2000, (1, 2, 4, 8, 16, 32), 256


def on_the_tree(arena: Arena, name: str, seed: int) -> list[dict[str, float]]:
    """One row for each number of captions that the method had sampled."""
    rows: list[dict[str, float]] = []

    def note(captions: int, model: Any) -> None:
        rows.append({"captions": captions, **arena.measure(model.log_pi())})

    if name in TREE:
        settings = {**RL, **TREE[name], "beta": arena.beta, "updates": UPDATES}
        fine_tune_with_rl(
            arena.model, arena.reward, seed, progress=False, **settings,
            callback=lambda update, model: note(128 * update, model) if update in AT else None,
        )  # fmt: skip
    elif name == "DPO, fresh pairs":
        model = arena.model
        for update in range(UPDATES):
            pairs = arena.pairs(64, 1000 * seed + update, model)
            model = fine_tune_on_pairs(
                model, pairs, seed, progress=False, reference=arena.model, beta=arena.beta, batch=64,
                epochs=4, lr=0.1 * (1 - update / UPDATES),
            )  # fmt: skip
            if update + 1 in AT:
                note(128 * (update + 1), model)
    else:
        how = {"beta": arena.beta} if name == "DPO" else {"beta": IPO_BETA, "method": "ipo"}
        for n in SIZES:
            batch = min(n, 128)
            epochs = max(6, 384 * batch // n)  # at least 384 steps: to the end, also with few pairs
            model = fine_tune_on_pairs(
                arena.model,
                arena.pairs(n, seed),
                seed,
                progress=False,
                batch=batch,
                epochs=epochs,
                lr=0.2,
                **how,
            )
            note(2 * n, model)
    return rows


def arena_part() -> None:
    """Distance from the best policy against captions sampled; best-of-n exactly."""
    arena, rows, values = Arena(), [], {}
    units = {"kl_token": "nats a token", "kl_best": "nats", "regret": "reward", "kl": "nats"}
    for name in [*TREE, "DPO", "DPO, fresh pairs", "IPO"]:
        start = time.process_time()
        found = {seed: on_the_tree(arena, name, seed) for seed in SEEDS}
        rows += [{"method": name, "seed": seed, **row} for seed in SEEDS for row in found[seed]]
        last = [points[-1] for points in found.values()]
        key = name.lower().replace(",", "").replace(" ", "_")
        for what, unit in units.items():
            mean = float(np.mean([point[what] for point in last]))
            values[f"{key}_{what}"] = number(mean, 0.05, f"{name} on the tree at the end: {what}", unit=unit)
        worst = max(point["kl_token"] for point in last)
        values[f"{key}_worst"] = number(worst, 0.05, f"{name}: kl_token, worst seed", unit="nats a token")
        print(name, last, f"{time.process_time() - start:.1f} s", flush=True)
    for n in (1, 2, 4, 8, 16, 32, 64, 128):
        exact = arena.measure(best_of_n_policy(arena.log_p_ref, arena.R, n))
        rows.append({"method": "best of n", "seed": 0, "captions": n, **exact})
    write("beyond-ppo-arena", values, rows=rows)


def gold(model: Any, base: Any, seed: int = 99) -> dict[str, float]:
    """Utility, truth and nats from the base of one caption for each of SCENES scenes."""
    scenes = sample_scenes(SCENES, seed)
    prefix = model.prefix(scenes)
    out = decode(model, prefix, torch.Generator().manual_seed(seed))
    z = base.logits(base.states(prefix, out.ids)[:, :-1])
    log_p_ref = torch.log_softmax(z, -1).gather(-1, out.ids[..., None])[..., 0]
    verdict = score(model.text(out.ids, out.mask), scenes)
    kl = (kl_k1(out.log_p, log_p_ref) * out.mask).sum(1).mean().item()
    return {"kl": kl, "gold": verdict["utility"], **{k: verdict[k] for k in ("true", "full", "grammatical")}}


def watched(train: Callable[..., Any], base: Any, at: Collection[int]) -> tuple[Any, list[dict], float]:
    """Train with a callback; return the model, a row for each step in `at`, CPU seconds without the rows'."""
    rows: list[dict[str, Any]] = []
    watching, start = 0.0, time.process_time()

    def callback(step: int, model: Any) -> None:
        nonlocal watching
        begun = time.process_time()
        if step in at:
            with torch.no_grad():
                rows.append({"step": step, "cpu_seconds": begun - start - watching, **gold(model, base)})
        watching += time.process_time() - begun

    model = train(callback=callback)
    return model, rows, time.process_time() - start - watching


def best_rows(base: Any, judges: dict[str, Any], seed: int) -> list[dict[str, Any]]:
    """Gold of the best of n by each judge; every n uses all of the same samples, and the KL is the bound."""
    scenes, largest, rows = sample_scenes(SCENES, 99), max(N), []
    said = base.sample(scenes, seed=seed, samples=largest)
    worth, *scores = (
        judge.score(scenes.repeat(largest), said).view(-1, largest)
        for judge in (KnownReward(base), *judges.values())
    )
    for name, R in zip(judges, scores, strict=True):
        for n in N:
            best = R.unflatten(1, (-1, n)).argmax(-1, keepdim=True)
            mean = worth.unflatten(1, (-1, n)).gather(-1, best).mean().item()
            kl = best_of_n_kl(n).item()
            rows.append({"method": name, "seed": seed, "n": n, "kl": kl, "gold": mean})
    return rows


def stickers_part() -> None:
    """Gold reward against KL from the same 2,000 judged pairs, and what each model says in the end."""
    base, rows, runs = load_pretrained_model("tiny", device="cpu"), [], []
    for seed in SEEDS:
        feedback = collect_human_feedback(
            base, pairs=PAIRS, annotator=SimulatedAnnotator("utility", seed=seed, bt=1.0), seed=seed
        )
        start = time.process_time()
        reward = train_reward_model(feedback, seed=seed)
        shared = {"labels": len(feedback.pairs()), "accuracy": reward.accuracy}
        shared["reward_model_seconds"] = time.process_time() - start
        print(seed, shared, flush=True)
        for name in [*STICKERS, *DIRECT]:
            if name in STICKERS:
                train, at = (
                    partial(fine_tune_with_rl, base, reward, **STICKERS[name]),
                    {0, 1, 2, 4, 8, 12, 16},
                )
            else:
                train = partial(fine_tune_on_pairs, base, feedback, **DIRECT[name])
                steps = DIRECT[name]["epochs"] * -(-len(feedback.pairs()) // 32)
                at = {round(steps * k / 16) for k in (0, 1, 2, 4, 8, 12, 16)}
            model, found, seconds = watched(partial(train, seed=seed, progress=False), base, at)
            rows += [{"method": name, "seed": seed, **row} for row in found]
            run = {"method": name, "seed": seed, "cpu_seconds": seconds, **shared, **found[-1]}
            run |= {
                "seen": evaluate.captions(model, 1000),
                "greedy": evaluate.captions(model, 500, greedy=True),
            }
            run["held_out"] = evaluate.captions(model, 500, artwork=HELD_OUT_ARTWORK)
            t = evaluate.matched_temperature(base, model, scenes=256)
            run["matched"] = {"temperature": t, **evaluate.captions(base, 1000, temperature=t)}
            runs.append({**run, "cpu_seconds": seconds})
            brief = {k: round(run["seen"][k], 3) for k in ("true", "full", "utility", "grammatical")}
            print(
                seed,
                name,
                f"{seconds:.1f} s",
                brief,
                {k: round(v, 2) for k, v in found[-1].items()},
                flush=True,
            )
        rows += best_rows(base, {"best of n": reward, "best of n, gold": KnownReward(base)}, seed)
        print(seed, [(r["method"], r["n"], round(r["gold"], 2)) for r in rows[-2 * len(N) :]], flush=True)
    write("beyond-ppo-stickers", summary(base, rows, runs), rows=rows, runs=runs)


def summary(base: Any, rows: list[dict[str, Any]], runs: list[dict[str, Any]]) -> dict[str, dict]:
    """The numbers of the table: what the base and the models say, means over seeds."""
    values = {}
    for how, more in {
        "base_seen": {}, "base_greedy": {"greedy": True}, "base_held_out": {"artwork": HELD_OUT_ARTWORK}
    }.items():  # fmt: skip
        found = evaluate.captions(base, 1000, **more)
        for what in ("true", "full", "coverage", "grammatical", "utility"):
            values[f"{how}_{what}"] = number(found[what], 0.04, f"{how}: {what}")
    for name in [*STICKERS, *DIRECT]:
        mine, key = [run for run in runs if run["method"] == name], name.lower()
        for where in ("seen", "held_out", "greedy"):
            for what in ("true", "full", "coverage", "grammatical", "utility"):
                each = [run[where][what] for run in mine]
                values[f"{key}_{where}_{what}"] = number(
                    np.mean(each), 0.04, f"{name}, {where}: {what}, 3 seeds"
                )
                if where == "seen" and what == "full":
                    values[f"{key}_full_worst"] = number(min(each), 0.05, f"{name}: full, worst of 3 seeds")
        for what, unit in {"gold": "utility", "kl": "nats", "cpu_seconds": "seconds"}.items():
            mean = np.mean([run[what] for run in mine])
            values[f"{key}_{what}"] = number(
                mean, 40 if unit == "seconds" else 0.3, f"{name}: {what}", unit=unit
            )
        matched = np.mean([run["matched"]["full"] for run in mine])
        values[f"{key}_matched_full"] = number(matched, 0.04, f"full, base at {name}'s entropy, 3 seeds")
    for row in rows:
        if "n" in row and row["seed"] == 0:
            same = [r["gold"] for r in rows if (r["method"], r.get("n")) == (row["method"], row["n"])]
            key = f"{row['method'].replace(',', '').replace(' ', '_')}_{row['n']}"
            values[key] = number(np.mean(same), 0.2, f"{row['method']}, n = {row['n']}: gold", unit="utility")
    for what, unit in {"labels": "pairs", "accuracy": "share", "reward_model_seconds": "seconds"}.items():
        mean = np.mean([run[what] for run in runs])
        values[what] = number(mean, 0.05 if unit == "share" else 60, f"{what}, mean of 3 seeds", unit=unit)
    return values


if __name__ == "__main__":
    torch.set_num_threads(1)
    parts = {
        "arena": arena_part,
        "stickers": stickers_part,
        "chapter": lambda: record("rlhf/beyond-ppo", SAYS),
    }
    for part in sys.argv[1:] or parts:
        parts[part]()
