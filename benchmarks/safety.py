"""The numbers of the chapter on safety.

    python benchmarks/safety.py             the chapter itself: safety.json        (90 CPU seconds)
    python benchmarks/safety.py maps        maps over seeds: safety-maps.json      (3 CPU minutes)
    python benchmarks/safety.py labels      labels over seeds: safety-labels.json  (3 CPU minutes)
    python benchmarks/safety.py attacks     red teams over seeds: safety-attacks.json  (3 CPU minutes)
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import torch
from chapter_file import record
from results_file import number, write
from safety_says import says

import mmbook
from mmbook.equations import response_epsilon
from mmbook.evaluate.attribution import (
    gradient_map,
    inside,
    named,
    occlusion_map,
    pointed,
    word_log_p,
)
from mmbook.evaluate.calibration import fit_temperature
from mmbook.evaluate.preferences import leads
from mmbook.evaluate.red_team import best_lies, evolve, false_share
from mmbook.feedback import SimulatedAnnotator
from mmbook.feedback.privacy import Crowd, RandomisedResponse, reidentified
from mmbook.models.build import build_tiny
from mmbook.models.vlm import VLM
from mmbook.world import COMPANIONS, STYLES, SceneBatch, parse, sample_scenes, triggers

SEEDS = (0, 1, 2)


class Person:
    """A reader with a taste in styles who chooses as Bradley and Terry have it."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self.taste = dict(zip(STYLES, self._rng.normal(0, 1.5, len(STYLES)), strict=True))

    def worth(self, caption: str) -> float:
        """What a caption is worth; one in no style is worth little."""
        statement = parse(caption)
        return self.taste[statement.style] if statement else -3.0

    def __call__(self, scene: Any, captions: Any) -> int:
        first, second = map(self.worth, captions)
        return int(self._rng.random() >= 1 / (1 + np.exp(second - first)))


def spread(values: dict[str, Any], key: str, x: list[float], tolerance: float, says: str) -> None:
    """The mean of seeds, the least and the most of them."""
    for end, of in (("", np.mean), ("_least", np.min), ("_most", np.max)):
        values[key + end] = number(float(of(x)), tolerance, f"{says}, {len(x)} seeds{end.replace('_', ', ')}")


def maps() -> None:
    """Pointing of three kinds of maps, for the model and for one with random weights; companions."""
    model, found = mmbook.load_pretrained_model("tiny", device="cpu"), dict[str, list[float]]()
    for seed in SEEDS:
        scenes = SceneBatch.of([s for s in sample_scenes(200, 100 + seed) if len(s.stickers) > 1])
        captions = model.sample(scenes, seed=seed)
        words = [w for w in named(model, scenes, captions) if w.quarter >= 0][:40]
        pictures, quarter = scenes[np.array([w.row for w in words])], [w.quarter for w in words]
        other = np.random.default_rng(seed).permutation(len(words))
        for who, asked in (("", model), ("random_", VLM(*build_tiny(seed), model.prompt))):
            f = word_log_p(asked, captions, words)
            drawn = {"occlusion": occlusion_map(asked, pictures, f, 2), "gradient": gradient_map(asked, pictures, f, 1)}
            if not who:
                drawn["integrated"] = gradient_map(asked, pictures, f, 32)
            for how, m in drawn.items():
                found.setdefault(f"{who}{how}", []).append(pointed(m, quarter).mean())
                found.setdefault(f"{who}{how}_inside", []).append(inside(m, quarter).mean())
                found.setdefault(f"{who}{how}_other", []).append(pointed(m[other], quarter).mean())
        hard = [s for s in sample_scenes(900, 200 + seed) if triggers(s) and len(s.stickers) > 1]
        risky, rows = SceneBatch.of(hard), []
        captions = model.sample(risky, seed=seed)
        for w in named(model, risky, captions):
            source = [k for k in triggers(risky[w.row]) if COMPANIONS[k] == w.kind]
            if w.quarter < 0 and source:
                rows.append((w, {s.kind: s.quarter for s in risky[w.row].stickers}[source[0]]))
        some = [w for w, _ in rows][:60]
        m = occlusion_map(model, risky[np.array([w.row for w in some])], word_log_p(model, captions, some), 2)
        found.setdefault("companion", []).append(pointed(m, [q for _, q in rows][:60]).mean())
    values: dict[str, Any] = {}
    for key, x in found.items():
        spread(values, key, x, 0.1, f"{key}: share of maps, or of their positive part, in the right quarter")
    write("safety-maps", values)


def labels() -> None:
    """Re-identification by number of clicks, and what a reward learns from answers turned round."""
    model, values = mmbook.load_pretrained_model("tiny", device="cpu"), dict[str, Any]()
    said = model.sample(sample_scenes(400, 51), seed=51, samples=2)
    pairs, who = list(zip(said[::2], said[1::2], strict=True)), np.repeat(np.arange(20), 5)
    for p in (0.0, 0.25, 0.4):
        for n in (5, 100):
            right = []
            for seed in SEEDS:
                crowd = Crowd(pairs, 20, seed)
                known = [crowd.clicks(i, 100, p) for i in range(20)]
                guess = reidentified(known, [crowd.clicks(i, n, p) for i in who])
                right.append((guess == who).mean())
            spread(values, f"known_{round(100 * p)}_{n}", right, 0.15, f"found out from {n} clicks, p {p:g}")
    rows = []
    for seed in SEEDS:
        reader = Person(seed)
        fresh = mmbook.collect_human_feedback(model, 1000, reader, seed=900 + seed).pairs()
        truth = [(reader.worth(a), reader.worth(b)) for _, a, b, _ in fresh]
        rows_of = zip(fresh, truth, strict=True)
        truly = [(s, *((a, b) if u > v else (b, a))) for (s, a, b, _), (u, v) in rows_of if u != v]
        for p in (0.0, 0.25, 0.4):
            shy = RandomisedResponse(reader, p, seed)
            log = mmbook.collect_human_feedback(model, 400, shy, seed=seed)
            for name, flipped in {"naive": 0.0, "corrected": p}.items() if p else [("naive", 0.0)]:
                reward = mmbook.train_reward_model(
                    log, seed=seed, looks=False, folds=2, most=2500, flipped=flipped
                )
                row = {"right": float((leads(reward, truly) > 0).mean())}
                lead = leads(reward, fresh)
                row |= {"scale": fit_temperature(lead), "lead": float(np.abs(lead).mean())}
                rows.append({"seed": seed, "p": p, "epsilon": response_epsilon(p), "loss": name, **row})
                print(rows[-1], flush=True)
    for p in (0.0, 0.25, 0.4):
        for name in ("naive", "corrected")[: 2 if p else 1]:
            of = [r for r in rows if r["p"] == p and r["loss"] == name]
            for key in ("right", "scale", "lead"):
                says = f"{key}, 400 pairs, p {p:g}, {name} loss"
                spread(values, f"{name}_{round(100 * p)}_{key}", [r[key] for r in of], 0.15, says)
    write("safety-labels", values, rows=[r | {"epsilon": min(r["epsilon"], 99.0)} for r in rows])


def attacks() -> None:
    """Search for the policy's errors against as many random scenes; lies that beat the truth."""
    model, found = mmbook.load_pretrained_model("tiny", device="cpu"), dict[str, list[float]]()
    for seed in SEEDS:
        n, rounds = 32, 12
        some, best = evolve(lambda s, seed=seed: false_share(model, s, 4, 7 + seed), n, rounds, seed)
        pool = sample_scenes(n * (rounds + 1), 300 + seed)
        harm = false_share(model, pool, 4, 7 + seed)
        top = pool[np.argsort(-harm, kind="stable")[:n]]
        found.setdefault("policy_search_seen", []).append(best[-1].mean())
        found.setdefault("policy_search", []).append(false_share(model, some, 16, 99).mean())
        found.setdefault("policy_random_seen", []).append(np.sort(harm)[-n:].mean())
        found.setdefault("policy_random", []).append(false_share(model, top, 16, 99).mean())
        reader = SimulatedAnnotator("truth", seed=seed)
        near = mmbook.collect_human_feedback(model, 200, reader, candidates="near-miss", seed=seed)
        reward = mmbook.train_reward_model(near, seed=seed, folds=2, most=5000)

        for name, artwork in (("seen", "noto"), ("held_out", "openmoji")):
            lies = best_lies(reward, sample_scenes(40, 400 + seed, artwork))
            found.setdefault(f"reward_{name}", []).append(np.mean([x > 0 for *_, x in lies]))
        print({k: v[-1] for k, v in found.items()}, flush=True)
    values: dict[str, Any] = {}
    for key, x in found.items():
        spread(values, key, x, 0.2, key.replace("_", " "))
    write("safety-attacks", values)


if __name__ == "__main__":
    torch.set_num_threads(1)
    parts = {"maps": maps, "labels": labels, "attacks": attacks}
    parts[sys.argv[1]]() if len(sys.argv) > 1 else record("practice/safety", says())
