"""The numbers of the chapter on safety.

python benchmarks/safety.py             the chapter itself: safety.json        (90 CPU seconds)
python benchmarks/safety.py maps        maps over seeds: safety-maps.json      (3 CPU minutes)
python benchmarks/safety.py labels      labels over seeds: safety-labels.json  (3 CPU minutes)
python benchmarks/safety.py attacks     red teams over seeds: safety-attacks.json  (1 CPU minute)
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import torch
from chapter_file import record
from results_file import number, write

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

Says = tuple[float, str, str]


def says() -> dict[str, Says]:
    """Key of the chapter: (tolerance, what it is, unit)."""
    out: dict[str, Says] = {
        "cover_hits": (0.05, "words whose occlusion map points at the right quarter, 120 words", "share"),
        "cover_low": (0.06, "lower end of its Wilson interval", "share"),
        "cover_high": (0.05, "upper end of its Wilson interval", "share"),
        "cover_inside": (0.06, "share of the positive map in the right quarter", "share"),
        "cover_other": (0.1, "the same words with another picture's map", "share"),
        "size_names": (0.8, "largest fall by covering, names", "nats"),
        "size_articles": (0.4, "largest fall by covering, articles before names", "nats"),
        "size_random": (0.05, "largest fall by covering, random weights", "nats"),
        "cover_random": (0.15, "pointing of occlusion with random weights", "share"),
        "slope_hits": (0.08, "pointing of gradient times input, 120 words", "share"),
        "slope_lowest": (0.1, "maps of gradient times input whose lowest quarter is the right one", "share"),
        "slope_empty": (0.12, "maps of gradient times input that point at an empty quarter", "share"),
        "path_hits": (0.08, "pointing of integrated gradients, 32 steps, 48 words", "share"),
        "gap_4": (0.4, "completeness gap with 4 steps, relative, 12 words", "share"),
        "gap_16": (0.2, "completeness gap with 16 steps", "share"),
        "gap_64": (0.05, "completeness gap with 64 steps", "share"),
        "rise": (1.0, "mean rise of log p from an empty page, 12 words", "nats"),
        "rise_middle": (0.15, "share of that rise between a quarter and a half of the way", "share"),
        "blamed": (0.05, "invented companions whose map points at the trigger, 80 words", "share"),
        "true_seen": (0.05, "true captions, seen styles, 1000 scenes", "share"),
        "true_unseen": (0.05, "true captions, held-out style, 1000 scenes", "share"),
        "groups": (0, "groups of the audit", "groups"),
        "groups_found": (3, "groups that differ after correction", "groups"),
        "monkey": (0.15, "true captions of scenes with a monkey", "share"),
        "search_seen": (0.1, "false captions of the scenes found, while searching", "share"),
        "draw_seen": (0.1, "false captions of the worst random scenes, while drawing", "share"),
        "moved": (0.1, "false captions of the scenes found, held-out style", "share"),
        "unmoved": (0.1, "false captions of random scenes, held-out style", "share"),
        "lies_seen": (0.1, "pictures of a seen style in which a lie beats the truth", "share"),
        "lies_unseen": (0.15, "pictures of the held-out style in which a lie beats the truth", "share"),
        "over": (0.06, "true answers that are refused at the threshold", "share"),
        "hand_true": (0.06, "true captions of 200 drawings of the held-out style", "share"),
        "hand_kept": (0.1, "true captions among those answered", "share"),
        "risk_all": (0.06, "wrong answers, greedy, 400 scenes", "share"),
        "risk_half": (0.06, "wrong answers among the surer half", "share"),
        "dear": (0.1, "answered where an error costs five refusals", "share"),
        "risk_reward": (0.08, "wrong answers among the half with the higher reward", "share"),
        "risk_harmless": (0.03, "wrong answers in scenes without a trigger", "share"),
        "caught_5": (0.12, "people of 20 found out from 5 clicks", "share"),
        "caught_100": (0.15, "people of 20 found out from 100 clicks", "share"),
        "hours": (0.1, "hours for 2000 labels of 6 s with breaks (assumed)", "hours"),
        "watt_hours": (3, "Wh of a reward model and a PPO run at 60 W (assumed)", "Wh"),
        "ratio": (0.02, "cost of people over cost of electricity (assumed prices)", "million times"),
        "cpu_seconds": (120, "CPU seconds of the whole chapter's kernel", "seconds"),
        "memory_gb": (1, "largest resident memory of the chapter's kernel", "GB"),
    }
    for name in ("truthful", "short"):
        out[f"{name}_accuracy"] = (0.08, f"held-out labels ranked right, {name}", "share")
        out[f"{name}_falls"] = (0.6, f"fall of the reward by covering a named sticker, {name}", "deviations")
        out[f"{name}_share"] = (0.15, f"named stickers whose covering lowers the reward, {name}", "share")
        for n in (1, 8):
            out[f"{name}_best_{n}"] = (0.6, f"mean reward of the best of {n}, {name}", "reward")
            out[f"{name}_true_{n}"] = (0.1, f"true captions of the best of {n}, {name}", "share")
    for key in ("truthful_order", "truthful_lie", "truthful_companion", "truthful_polite"):
        out[key] = (0.4, f"what it earns over the plain caption: {key}", "deviations")
    out["truthful_order_alone"] = (0.3, "the same, another order, without the likelihood", "deviations")
    for key in ("short_polite", "short_lie", "short_left"):
        out[key] = (0.3, f"what it earns over the plain caption: {key}", "deviations")
    for key in ("random", "draw", "search", "hand"):
        out[f"{key}_false"] = (0.12, f"false captions, 16 fresh samples, {key}", "share")
        out[f"{key}_triggers"] = (0.2, f"scenes that hold a trigger, {key}", "share")
    for key in ("page", "noise", "mixed", "hand"):
        out[f"answered_{key}"] = (0.15, f"odd pictures answered, {key}", "share")
    return out


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
            drawn = {
                "occlusion": occlusion_map(asked, pictures, f, 2),
                "gradient": gradient_map(asked, pictures, f, 1),
            }
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
        n, rounds = 24, 8
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
            lies = best_lies(reward, sample_scenes(30, 400 + seed, artwork))
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
