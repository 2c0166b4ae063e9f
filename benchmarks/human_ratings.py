"""Learn a reward from ratings by real people, and measure it on texts and ratings that were held out.

python -m mmbook fetch; python benchmarks/human_ratings.py     (about 20 minutes of one core)

Finished runs are kept in runs/human-ratings.json, so that it can be stopped and go on; delete the file to
measure again.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from results_file import number, write
from scipy.stats import spearmanr

from mmbook.rlhf.text_reward import learn_from_people, movie_split, pair_accuracy
from mmbook.world.fetch import fetch
from mmbook.world.vader import Rated, rating_pairs

torch.set_num_threads(1)
SEEDS = (0, 1, 2)
KEPT = Path(__file__).parents[1] / "runs" / "human-ratings.json"
MANY = 160_000  # pairs; in groups of 64 texts they take as many readings of a text as 3,000 pairs one by one
FROZEN = {"layers": 0, "head_lr": 1e-2, "epochs": 3}  # the head alone learns
INDEPENDENT = {"words": (100, 300, 1000, 3000, 10_000, 30_000), "tuned": (300, 1000, 3000)}
values: dict[str, dict[str, Any]] = {}
more: dict[str, Any] = {"curve": {}, "calibration": {}}


@dataclass
class Run:
    """A finished run: held-out texts, their rewards, and the CPU seconds of learning and scoring."""

    texts: list[Rated]
    rewards: np.ndarray
    seconds: float

    @property
    def accuracy(self) -> float:
        return pair_accuracy(self.rewards, means(self))


def means(run: Run) -> np.ndarray:
    return np.array([text.mean for text in run.texts])


def learn(seed: int, words: bool = False, **settings: Any) -> Run:
    """Learn from people with these settings, or read what an earlier run left."""
    kept = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    key = json.dumps({"seed": seed, "words": words, **settings})
    if key not in kept:
        encoder = {} if words else {"encoder": fetch("minilm"), "bf16": True}
        start = time.process_time()
        people = learn_from_people(seed=seed, **encoder, **settings)
        kept[key] = {"seconds": time.process_time() - start, "rewards": people.rewards.tolist()}
        KEPT.parent.mkdir(exist_ok=True)
        KEPT.write_text(json.dumps(kept))
        print(key, f"{people.accuracy:.4f}", round(kept[key]["seconds"]), "CPU s", flush=True)
    return Run(movie_split(seed)[1], np.array(kept[key]["rewards"]), kept[key]["seconds"])


def interval(run: Run, draws: int = 200) -> list[float]:
    """95 % of the accuracies on held-out texts drawn again with replacement."""
    rng, mean = np.random.default_rng(0), means(run)
    rows = [rng.integers(len(mean), size=len(mean)) for _ in range(draws)]
    return np.quantile([pair_accuracy(run.rewards[i], mean[i]) for i in rows], [0.025, 0.975]).tolist()


def one_against_the_rest(run: Run, seed: int) -> float:
    """How often one rating of each text ranks two texts as the means of the others do; ties left out."""
    rng = np.random.default_rng(seed)
    one = np.array([rng.choice(text.ratings) for text in run.texts])
    count = np.array([len(text.ratings) for text in run.texts])
    rest = (means(run) * count - one) / (count - 1)
    return pair_accuracy(one, rest, one[:, None] != one)


def calibration(run: Run, seed: int) -> dict[str, Any]:
    """Single held-out ratings against the probability the reward gives, in ten bins from 0.5 to 1."""
    pairs = rating_pairs(run.texts, 20_000, seed + 100)
    gap = run.rewards[pairs[:, 0]] - run.rewards[pairs[:, 1]]
    p, right = 1 / (1 + np.exp(-abs(gap))), gap > 0
    place = np.minimum(((p - 0.5) * 20).astype(int), 9)
    rows = [(p[place == b].mean(), right[place == b].mean(), (place == b).sum()) for b in np.unique(place)]
    error = sum(abs(said - was) * n for said, was, n in rows) / len(p)
    loss = np.logaddexp(0, -gap).mean()
    return {"rows": [[float(x) for x in row] for row in rows], "error": error, "loss": loss,
            "accuracy": right.mean()}  # fmt: skip


def add(name: str, runs: list[float], tolerance: float, says: str, unit: str = "share") -> None:
    """A mean over seeds as a number, with the single runs."""
    seeds = "one seed" if len(runs) == 1 else f"mean of {len(runs)} seeds"
    values[name] = number(np.mean(runs), tolerance, f"{says}; {seeds}", unit=unit)
    values[name]["runs"] = [round(float(run), 4) for run in runs]
    print(name, np.round(runs, 4), flush=True)


def headline() -> None:
    """The reward that learns in all layers, beside what it is compared with."""
    people = [learn(seed, n=MANY) for seed in SEEDS]
    says = "held-out pairs of movie snippets ranked as the mean of their ratings does"
    add("tuned", [p.accuracy for p in people], 0.01, f"{says}: all layers of MiniLM learn, {MANY:,} pairs")
    values["tuned"]["interval"] = interval(people[0])
    add("tuned_seconds", [p.seconds for p in people], 150, "CPU seconds of fitting and scoring it", "seconds")
    apart = [(p.rewards, means(p)) for p in people]
    clear = [pair_accuracy(R, mean, abs(mean[:, None] - mean) > 1) for R, mean in apart]
    add("tuned_clear", clear, 0.01, "the same, of pairs whose means differ by more than 1")
    add("tuned_rank", [spearmanr(p.rewards, means(p))[0] for p in people], 0.02, "rank correlation", "rho")
    add("one_rater", [one_against_the_rest(p, s) for s, p in zip(SEEDS, people, strict=True)], 0.01,
        "pairs that one rating of each text ranks as the means of the others do, ties left out")  # fmt: skip
    measured = [calibration(p, s) for s, p in zip(SEEDS, people, strict=True)]
    more["calibration"]["tuned"] = [m["rows"] for m in measured]
    add("tuned_single", [m["accuracy"] for m in measured], 0.01, "held-out single-rating pairs ranked right")
    add("tuned_loss", [m["loss"] for m in measured], 0.02, "preference loss on them", "nats")
    add("tuned_calibration", [m["error"] for m in measured], 0.02, "expected calibration error on them")
    words = [np.array([len(t.text.split()) for t in p.texts]) for p in people]
    pairs = list(zip(people, words, strict=True))
    add("tuned_length", [spearmanr(p.rewards, w)[0] for p, w in pairs], 0.05,
        "rank correlation of reward and number of words", "rho")  # fmt: skip
    add("people_length", [spearmanr(means(p), w)[0] for p, w in pairs], 0.05,
        "rank correlation of people's means and number of words", "rho")  # fmt: skip
    add("tuned_equal_length", [pair_accuracy(p.rewards, means(p), w[:, None] == w) for p, w in pairs], 0.02,
        f"{says}, among snippets of equally many words")  # fmt: skip
    add("longer", [pair_accuracy(w, means(p)) for p, w in pairs], 0.01, f"{says}: the longer one wins")


def beside() -> None:
    """Words alone, a frozen encoder, and labels shuffled."""
    says = "held-out pairs of movie snippets ranked as the mean of their ratings does"
    words = [learn(seed, words=True, n=MANY, epochs=3) for seed in SEEDS]
    add("words", [p.accuracy for p in words], 0.01, f"{says}: a number for each word or two, no encoder")
    values["words"]["interval"] = interval(words[0])
    add("words_seconds", [p.seconds for p in words], 10, "CPU seconds of it", "seconds")
    mixed = [learn(seed, words=True, n=MANY, shuffled=True).accuracy for seed in SEEDS]
    add("words_shuffled", mixed, 0.03, f"{says}: words, with every pair turned by a coin")
    frozen = [learn(seed, n=MANY, **FROZEN) for seed in SEEDS[:1]]
    add("frozen", [p.accuracy for p in frozen], 0.01, f"{says}: MiniLM frozen, a linear head learns")
    add("frozen_seconds", [p.seconds for p in frozen], 60, "CPU seconds of it, embedding included", "seconds")
    mixed = [learn(seed, n=MANY // 4, shuffled=True) for seed in SEEDS]
    add("tuned_shuffled", [p.accuracy for p in mixed], 0.06,
        f"{says}: all layers learn, with every pair turned by a coin")  # fmt: skip
    loss = [calibration(p, s)["loss"] for s, p in zip(SEEDS, mixed, strict=True)]
    add("tuned_shuffled_loss", loss, 0.01, "its preference loss on held-out single ratings", "nats")


def curve() -> None:
    """Accuracy over the number of pairs that each have texts and ratings of their own."""
    for name, seeds in (("words", SEEDS), ("tuned", SEEDS[:1])):
        for n in INDEPENDENT[name]:
            passes = 5 if name == "words" else max(1, min(3, 1000 // n))
            runs = [learn(s, name == "words", n=n, group=2, epochs=passes) for s in seeds]
            accuracies = [run.accuracy for run in runs]
            point = {"runs": accuracies, "interval": interval(runs[0]), "epochs": passes}
            more["curve"].setdefault(name, {})[str(n)] = point
            add(f"{name}_{n}", accuracies, 0.03, f"accuracy after {n:,} pairs, each of texts of their own")


if __name__ == "__main__":
    for part in (headline, beside, curve):
        part()
        write("human-ratings", values, **more)
    sys.exit(0 if values["tuned"]["value"] > 0.744 else 1)
