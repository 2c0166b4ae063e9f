"""What labels tell: how many are needed, which to ask for, what habits spoil, and what several people add.

python benchmarks/feedback.py [clicks] [asking] [habits] [people] [chapter]     (default: all; about ten CPU
minutes; the chapter needs the ratings that `python -m mmbook fetch vader` gets)

Each part writes results/feedback-<part>.json, the chapter results/feedback.json. Rewards of most parts are
linear in what the frozen captioner knows of a caption (`reads`), fitted exactly: a Davidson or Bradley-Terry
likelihood with a Gaussian prior, by Newton's method.
"""

from __future__ import annotations

import copy
import sys
import time
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from chapter_file import record
from results_file import number, write
from scipy.stats import binomtest, t

from mmbook import collect_human_feedback, load_pretrained_model, train_reward_model
from mmbook.equations import log_prob
from mmbook.evaluate.preferences import leads
from mmbook.feedback import Feedback, SimulatedAnnotator, make_record, shown_first
from mmbook.feedback.agreement import first_shown, gold, self_agreement, unusual_times
from mmbook.feedback.habits import Contrary, PositionBiased, Tired
from mmbook.feedback.items import make_items
from mmbook.feedback.ordering import order, worth_asking
from mmbook.feedback.records import Item, Record
from mmbook.feedback.taste import taste as taste_of
from mmbook.world import STYLES, Scene

torch.set_num_threads(1)
POOL, TEST = 1500, 400  # pairs of the captioner's own captions, and how many of them are held out
PRIOR, DRAWS = 1.0, 16
TIE = 2


# Rewards that are linear in what the captioner knows


@cache
def base() -> Any:
    return load_pretrained_model("tiny", device="cpu")


@torch.no_grad()
def reads(scenes: Sequence[Scene], captions: Sequence[str]) -> np.ndarray:
    """The mean hidden state of each caption, its log-likelihood, its least likely word, its length."""
    model, found = base(), []
    (ids, m), prefix = model.tokens(list(captions)), model.prefix(list(scenes))
    for rows in torch.arange(len(ids)).split(128):
        states, there = model.states(prefix[rows], ids[rows]), m[rows]
        log_p = log_prob(model.logits(states[:, :-1]), ids[rows]) * there
        mean = (states[:, 1:] * there[..., None]).sum(1) / there.sum(1, keepdim=True)
        found.append(torch.cat([mean, log_p.sum(1, keepdim=True), log_p.amin(1, keepdim=True),
                                there.sum(1, keepdim=True)], 1))  # fmt: skip
    return torch.cat(found).double().numpy()


@cache
def pool() -> tuple[list[Item], np.ndarray, np.ndarray]:
    """The pairs, and x (POOL, 2, D) of their captions, scaled so that a prior of 1 suits all of them."""
    items = make_items(base(), POOL, 0)
    scenes = [Scene.from_json(item["scene"]) for item in items]
    x = np.stack([reads(scenes, [item["responses"][k] for item in items]) for k in (0, 1)], 1)
    x = x / (x[:, 0] - x[:, 1]).std(0)
    x[..., :-3] *= 0.1
    return items, x, x[:, 0] - x[:, 1]


@cache
def gaps(taste: str) -> np.ndarray:
    """By how much the first caption of each pair is better to a reader, in nats of a choice; 0 for a tie."""
    reader = SimulatedAnnotator(taste)
    found = []
    for item in pool()[0]:
        a, b = (reader.liking(Scene.from_json(item["scene"]), caption) for caption in item["responses"])
        found.append(a[0] - b[0] if reader.weighs else 3.0 * ((a > b) - (a < b)))
    return np.array(found)


def fit(x: np.ndarray, y: np.ndarray, ties: bool) -> tuple[np.ndarray, float, np.ndarray]:
    """The most probable weights w (D,) and log nu for differences x (N, D), answers y, and the Hessian there.

    Without `ties` these are left out and log nu stays at -60. Newton's method; the loss is convex.
    """
    if not ties:
        x, y = x[y != TIE], y[y != TIE]
    w, c, D = np.zeros(x.shape[1]), 0.0 if ties else -60.0, x.shape[1]
    Y = np.eye(3)[y]
    for _ in range(50):
        z = x @ w
        p = np.stack([np.exp(z / 2), np.exp(-z / 2), np.full_like(z, np.exp(c))], 1)
        p /= p.sum(1, keepdims=True)
        side, error = (p[:, 0] - p[:, 1]) / 2, p - Y
        g = x.T @ (error[:, 0] - error[:, 1]) / 2 + PRIOR * w
        H = x.T @ (x * ((p[:, 0] + p[:, 1]) / 4 - side**2)[:, None]) + PRIOR * np.eye(D)
        if ties:
            both = -x.T @ (side * p[:, TIE])
            g = np.append(g, error[:, TIE].sum() + 0.1 * c)
            H = np.block([[H, both[:, None]], [both, (p[:, TIE] * (1 - p[:, TIE])).sum() + 0.1]])
        step = np.linalg.solve(H, g)
        step /= max(1.0, np.abs(step).max() / 5)
        w, c = w - step[:D], c - (step[D] if ties else 0.0)
        if np.abs(step).max() < 1e-6:
            break
    return w, c, H


def members(
    w: np.ndarray, c: float, H: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, float | None]:
    """Weights (DRAWS, D) from the Gaussian at the most probable ones (Laplace), and nu, None without ties."""
    noise = np.linalg.solve(np.linalg.cholesky(H).T, rng.standard_normal((len(H), DRAWS))).T
    return w + noise[:, : len(w)], float(np.exp(c)) if len(H) > len(w) else None


def right(w: np.ndarray, rows: np.ndarray, gap: np.ndarray) -> float:
    """The share of pairs with a better caption for which the reward says which."""
    rows = rows[gap[rows] != 0]
    return float((pool()[2][rows] @ w * gap[rows] > 0).mean())


def interval(values: Sequence[float]) -> float:
    """Half the 95 % interval of a mean over independent runs (Student's t)."""
    return float(t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / len(values) ** 0.5)


def spread(values: dict[str, Any], key: str, found: Sequence[float], says: str, tolerance: float) -> None:
    """Put the mean of runs, and half its interval, among the numbers."""
    values[key] = number(np.mean(found), tolerance, f"{says}, mean of {len(found)} runs")
    values[f"{key}_half"] = number(interval(found), tolerance, f"{says}, half the 95 % interval of the mean")


# What n clicks tell

CLICKS, CLICK_SEEDS = (10, 20, 40, 80), range(5)
CLICK_TASTES: dict[str, dict[str, Any]] = {
    "terse": {"noise": 0.05}, "polite": {"noise": 0.05}, "utility": {"bt": 1.0}, "random": {},
}  # fmt: skip
QUICK: dict[str, Any] = {"folds": 2, "most": 2000, "minimum": 2}


def leanings(feedback: Feedback) -> list[str]:
    """What the labels clearly favour (+) or disfavour (-), in words."""
    return [f"{'+' if x.weight > 0 else '-'}{x.name}" for x in taste_of(feedback).leanings if x.clear]


def clicks() -> None:
    """Rewards from 10 to 80 answers of one reader, judged on pairs that this reader never saw."""
    rows = list[dict[str, Any]]()
    items = pool()[0][:TEST]
    for name, how in CLICK_TASTES.items():
        gap = gaps("terse" if name == "random" else name)
        test = [(Scene.from_json(item["scene"]), *item["responses"][:: 1 if g > 0 else -1])
                for item, g in zip(items, gap, strict=False) if g != 0]  # fmt: skip
        for seed in CLICK_SEEDS:
            for n in CLICKS:
                some = collect_human_feedback(
                    base(), n, SimulatedAnnotator(name, seed, **how), seed=200 + seed
                )
                start = time.process_time()
                reward = train_reward_model(some, seed=seed, **QUICK)
                seconds, usable = time.process_time() - start, len(some.pairs())
                found = float((leads(reward, test) > 0).mean())
                rows.append({"taste": name, "n": n, "seed": seed, "right": found, "choices": usable,
                             "held_out": reward.accuracy, "seconds": round(seconds, 2),
                             "leanings": leanings(some)})  # fmt: skip
        print(name, [np.mean([r["right"] for r in rows if (r["taste"], r["n"]) == (name, n)]).round(3)
                      for n in CLICKS], flush=True)  # fmt: skip
    write("feedback-clicks", told_by_clicks(rows), rows=rows)


def told_by_clicks(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The numbers of the runs `rows`."""
    values = dict[str, Any]()
    for name in CLICK_TASTES:
        for n in CLICKS:
            some_rows = [r for r in rows if (r["taste"], r["n"]) == (name, n)]
            says = f"{n} answers of a reader with the taste {name}: fresh pairs ranked right"
            spread(values, f"{name}_{n}", [r["right"] for r in some_rows], says, 0.08)
            own = {"terse": {"-(length)", "+style: terse"}}.get(name, {f"+style: {name}"})
            said = [bool(own & set(r["leanings"]) if name in STYLES else r["leanings"]) for r in some_rows]
            what = "runs in which the taste card names it" if name in STYLES else "cards that name anything"
            values[f"{name}_{n}_named"] = number(np.mean(said), 0.25, f"{name}, {n} answers: {what}")
            held = [r["held_out"] for r in some_rows]
            values[f"{name}_{n}_held_least"] = number(min(held), 0.2, f"{says}, lowest held-out accuracy")
            values[f"{name}_{n}_held_most"] = number(max(held), 0.2, f"{says}, highest held-out accuracy")
    seconds = np.mean([r["seconds"] for r in rows])
    values["seconds"] = number(seconds, 10, "CPU seconds of one fit", unit="seconds")
    return values


# Which pair to ask about next

WAYS = [(way, share) for way in ("uncertainty", "disagreement") for share in (0.0, 0.3)]
FIRST, BATCH, LAST, ASK_SEEDS = 20, 10, 160, range(40)
# name: (share of equally good pairs in the pool, None for what the model says; a tie button; ties are fitted)
SETTINGS: dict[str, tuple[float | None, bool, bool]] = {
    "own": (None, True, False),
    "fitted": (None, True, True),
    "forced": (0.9, False, False),
    "ties": (0.9, True, True),
}
POINTS = (40, 80, 160)


def ask(way: str, share: float, setting: str, taste: str, seed: int) -> list[tuple[int, float, float]]:
    """(labels, fresh pairs ranked right, share of labelled pairs that are equally good) after each batch."""
    equal, button, ties = SETTINGS[setting]
    rng, gap, x = np.random.default_rng(seed), gaps(taste), pool()[1]
    mixed = rng.permutation(POOL)
    test, rest = mixed[:TEST], mixed[TEST:]
    if equal is not None:
        same, other = rest[gap[rest] == 0], rest[gap[rest] != 0]
        rest = rng.permutation(np.concatenate([same, other[: int(len(same) * (1 - equal) / equal)]]))
    says = np.random.default_rng(10_000 + seed)
    y = np.where(says.random(POOL) < 1 / (1 + np.exp(-gap)), 0, 1)  # softmax of the worths, bt = 1
    y = np.where((gap == 0) & button, TIE, y)
    have, rest = list(rest[:FIRST]), list(rest[FIRST:])
    found = []
    while True:
        w, c, H = fit(pool()[2][have], y[have], ties)
        found.append((len(have), right(w, test, gap), float((gap[have] == 0).mean())))
        if len(have) >= LAST:
            return found
        W, nu = members(w, c, H, rng)
        R = torch.from_numpy(np.einsum("nkd,md->mnk", x[rest], W))
        picked = order(worth_asking(R, way, nu), share, int(rng.integers(2**31)))[:BATCH]
        have += [rest[i] for i in picked]
        rest = [row for i, row in enumerate(rest) if i not in set(picked)]


def asking() -> None:
    """Each way of asking against random asking, at equal numbers of labels."""
    rows, values = list[dict[str, Any]](), dict[str, Any]()
    for taste in ("polite", "utility"):
        values[f"{taste}_equal"] = number(
            (gaps(taste) == 0).mean(), 0.02, f"pairs of own captions that are equal to {taste}"
        )
        for setting in SETTINGS:
            chance = None
            for way, share in [("random", 0.0), *WAYS]:
                runs = np.array([ask(way, share, setting, taste, seed) for seed in ASK_SEEDS])
                chance = runs if chance is None else chance
                name = "_".join([taste, setting, way, *(["share"] if share else [])])
                for n in POINTS:
                    i = (n - FIRST) // BATCH
                    says = f"{taste}, {setting}, {way}, random share {share:g}, {n} labels: fresh pairs right"
                    values[f"{name}_{n}"] = number(runs[:, i, 1].mean(), 0.04, says)
                    if way != "random":
                        spread(values, f"{name}_{n}_lead", runs[:, i, 1] - chance[:, i, 1],
                               f"{says}, above random", 0.04)  # fmt: skip
                values[f"{name}_ties"] = number(
                    runs[:, -1, 2].mean(), 0.05, f"{taste}, {setting}, {way}: labels of equally good pairs"
                )
                half = [interval(runs[:, i, 1]) for i in range(runs.shape[1])]
                rows.append({"taste": taste, "setting": setting, "way": way, "share": share,
                             "n": runs[0, :, 0].astype(int).tolist(), "half": np.round(half, 4).tolist(),
                             "right": runs[:, :, 1].mean(0).round(4).tolist()})  # fmt: skip
                lead = (runs - chance)[:, :, 1]
                print(name, [f"{lead[:, (n - FIRST) // BATCH].mean():+.3f}"
                             f" ± {interval(lead[:, (n - FIRST) // BATCH]) if way != 'random' else 0:.3f}"
                             for n in POINTS], f"ties {runs[:, -1, 2].mean():.2f}", flush=True)  # fmt: skip
    write("feedback-asking", values, rows=rows)


# Habits, and the checks that catch them

JUDGED, GOLD, AGAIN, READERS = (
    200,
    20,
    20,
    200,
)  # answers of a reader, of which some are to gold or come again
SURE = 4.5  # lead in utility that makes a gold item: an honest reader gets 99 % of these right
HONEST_GOLD, HONEST_SELF, FLAGS, LEVEL = 0.9, 0.8, 2, 0.05
LOOK, GLANCE = (4000, 0.4), (600, 0.4)  # ms in the middle and spread of its logarithm: assumed, not measured


class Remembering(SimulatedAnnotator):
    """A reader who parses each caption once."""

    def liking(self, scene: Scene, caption: str) -> tuple[float, ...]:
        return _liking(self.taste, scene, caption)


@cache
def _liking(taste: str, scene: Scene, caption: str) -> tuple[float, ...]:
    return SimulatedAnnotator(taste).liking(scene, caption)


def honest(seed: int, noise: float = 0.0) -> SimulatedAnnotator:
    return Remembering("utility", seed, noise=noise, bt=1.0)


class Slipping:
    """A reader whose finger slips now and then: an answer that nobody gave, with a coin's choice."""

    def __init__(self, reader: Any, share: float, seed: int) -> None:
        self.reader, self.share, self._rng = reader, share, np.random.default_rng(seed)

    def __call__(self, scene: Scene, captions: Sequence[str]) -> Any:
        slip, side = self._rng.random() < self.share, int(self._rng.integers(2))
        return side if slip else self.reader(scene, captions)


HABITS: dict[str, Any] = {
    "honest": honest,
    "noisy": lambda seed: honest(seed, 0.3),
    "first": lambda seed: PositionBiased(honest(seed), 0.5, seed),
    "tired": lambda seed: Tired(honest(seed), at=80, half=40, seed=seed),
    "slips": lambda seed: Slipping(honest(seed), 0.03, seed),
    "contrary": lambda seed: Contrary(honest(seed), 1.0, seed),
    "sometimes": lambda seed: Contrary(honest(seed), 0.3, seed),
}
CHECKS = ("side", "self", "gold", "time")


def guesses(reader: Any) -> bool:
    """Whether the reader's next answer will not be looked for, told from a copy of its generator."""
    if isinstance(reader, PositionBiased):
        return copy.deepcopy(reader._rng).random() < reader.bias
    if isinstance(reader, Slipping):
        return copy.deepcopy(reader._rng).random() < reader.share
    if isinstance(reader, Tired):
        late = max(0, reader.judged + 1 - reader.at)
        return copy.deepcopy(reader._rng).random() < 1 - 0.5 ** (late / reader.half)
    return False


def session(name: str, seed: int) -> tuple[list[Record], list[int], dict[str, int]]:
    """The records of one reader, the rows of the pool that were asked, the right answers of gold items."""
    rng, items, gap = np.random.default_rng(seed), pool()[0], gaps("utility")
    rows = TEST + rng.permutation(POOL - TEST)
    known = [row for row in rows if abs(gap[row]) >= SURE][:GOLD]
    fresh = [row for row in rows if row not in set(known)][: JUDGED - GOLD - AGAIN]
    asked = list(rng.permutation([*known, *fresh]))
    again = rng.choice(asked[: JUDGED // 2], AGAIN, replace=False)
    for row in again:  # the second time comes in the second half
        asked.insert(int(rng.integers(JUDGED // 2, len(asked) + 1)), row)
    reader, records = HABITS[name](seed), list[Record]()
    for row in asked:
        item = items[row]
        side = shown_first(seed, name, f"{item['id']}{len(records)}")
        middle, wide = GLANCE if guesses(reader) else LOOK
        ms = int(middle * np.exp(wide * rng.standard_normal()))
        answer = reader(Scene.from_json(item["scene"]), item["responses"][:: 1 - 2 * side])
        choice = None if answer == "tie" else int(answer) ^ side
        outcome = "tie" if choice is None else "label"
        records.append(make_record(item, annotator=name, outcome=outcome, choice=choice, side=side, ms=ms))
    return records, asked, {items[row]["id"]: int(gap[row] < 0) for row in known}


def alarms(records: list[Record], known: dict[str, int]) -> dict[str, bool]:
    """Which checks say that something is wrong with a reader, each at the level LEVEL."""
    found = first_shown(records), self_agreement(records), gold(records, known)
    (firsts, chosen), (same, twice), (good, asked) = (next(iter(each.values())) for each in found)
    return {
        "side": binomtest(firsts, chosen).pvalue < LEVEL,
        "self": binomtest(same, twice, HONEST_SELF, "less").pvalue < LEVEL,
        "gold": binomtest(good, asked, HONEST_GOLD, "less").pvalue < LEVEL,
        "time": len(unusual_times(records)) >= FLAGS,
    }


def habits() -> None:
    """What each habit does to a reward of its labels, and how often each check notices."""
    rows, values, gap = list[dict[str, Any]](), dict[str, Any](), gaps("utility")
    for name in HABITS:
        noticed, rewards, first = list[dict[str, bool]](), list[float](), list[float]()
        for seed in range(READERS):
            records, asked, known = session(name, seed)
            noticed.append(alarms(records, known))
            right_, n = first_shown(records)[name]
            first.append(right_ / n)
            y = np.array([TIE if r["outcome"] == "tie" else r["choice"] for r in records])
            w, _, _ = fit(pool()[2][asked], y, ties=True)
            rewards.append(right(w, np.arange(TEST), gap))
        spread(values, f"{name}_right", rewards, f"{name} readers: fresh pairs ranked right", 0.04)
        values[f"{name}_first"] = number(np.mean(first), 0.03, f"{name} readers: choices of what came first")
        row: dict[str, Any] = {"habit": name, "right": round(float(np.mean(rewards)), 4)}
        for check in CHECKS:
            row[check] = float(np.mean([found[check] for found in noticed]))
            values[f"{name}_{check}"] = number(
                row[check], 0.1, f"{name} readers of whom the check of {check} speaks"
            )
        any_ = float(np.mean([any(found[check] for check in CHECKS) for found in noticed]))
        values[f"{name}_any"] = number(any_, 0.1, f"{name} readers of whom some check speaks")
        rows.append({**row, "any": any_})
        print(rows[-1], flush=True)
    values["readers"] = number(READERS, 0, "readers with each habit", unit="readers")
    write("feedback-habits", values, rows=rows)


# Several people

BUDGETS, PEOPLE_SEEDS, PANEL = (50, 100, 200, 400), range(40), 5


def people() -> None:
    """One answer on each of n pairs, or the majority of five on a fifth of them; how right each is."""
    values, gap, x = dict[str, Any](), gaps("utility"), pool()[2]
    rows = list[dict[str, Any]]()
    for noise in (0.0, 0.3):
        alone, voted = list[float](), list[float]()
        for n in BUDGETS:
            found = dict[str, list[float]](one=[], five=[])
            for seed in PEOPLE_SEEDS:
                rng = np.random.default_rng(seed)
                asked = TEST + rng.permutation(POOL - TEST)
                p = 1 / (1 + np.exp(-gap))
                p = (1 - noise) * p + noise * (1 - p)
                y = np.where(gap == 0, TIE, (rng.random((PANEL, POOL)) > p).astype(int))
                vote = np.where(gap == 0, TIE, (y.sum(0) > PANEL / 2).astype(int))
                for how, told, rows_ in (("one", y[0], asked[:n]), ("five", vote, asked[: n // PANEL])):
                    w, _, _ = fit(x[rows_], told[rows_], ties=True)
                    found[how].append(right(w, np.arange(TEST), gap))
                choice = asked[gap[asked] != 0]
                alone.append(float((y[0][choice] == (gap[choice] < 0)).mean()))
                voted.append(float((vote[choice] == (gap[choice] < 0)).mean()))
            for how, each in found.items():
                spread(values, f"{how}_{n}_{noise:.0%}".replace("%", ""), each,
                       f"{n} answers, {how} a pair, noise {noise:g}: fresh pairs right", 0.04)  # fmt: skip
            lead = np.subtract(found["five"], found["one"])
            key = f"lead_{n}_{noise:.0%}".replace("%", "")
            spread(values, key, lead, f"five less one, {n} answers, noise {noise:g}", 0.04)
            rows.append({"noise": noise, "n": n, **{k: float(np.mean(v)) for k, v in found.items()}})
            print(rows[-1], f"five less one {lead.mean():+.3f} ± {interval(lead):.3f}", flush=True)
        tail = f"{noise:.0%}".replace("%", "")
        values[f"alone_{tail}"] = number(np.mean(alone), 0.02, f"choices of one, noise {noise:g}: right")
        values[f"voted_{tail}"] = number(np.mean(voted), 0.02, f"majority of five, noise {noise:g}: right")
    write("feedback-people", values, rows=rows)


SHARE = "share"
SAYS: dict[str, tuple[float, str, str]] = {
    "rating_same": (0.03, "captions that a strict and a generous reader give the same rating", SHARE),
    "first_share": (0.08, "choices that fell on what came first, biased every second time", SHARE),
    "terse_detailed": (0.1, "Cohen's kappa of readers with the tastes terse and detailed", "kappa"),
    "truth_utility": (0.1, "Cohen's kappa of readers with the tastes truth and utility", "kappa"),
    "panel_alpha": (0.05, "Krippendorff's alpha of five tastes", "alpha"),
    "panel_low": (0.06, "the same, lower end of the 95 % bootstrap interval", "alpha"),
    "panel_high": (0.06, "the same, upper end", "alpha"),
    **{
        f"people_{level}": (0.001, f"film reviews: Krippendorff's alpha, {level} level", "alpha")
        for level in ("nominal", "ordinal", "interval")
    },
    "people_sign": (0.001, "film reviews: alpha of the ratings' signs, nominal", "alpha"),
    "people_low": (
        0.002,
        "film reviews: lower end of the 95 % interval of alpha, interval",
        "alpha",
    ),
    "people_high": (0.002, "film reviews: the same, upper end", "alpha"),
    "people_one_rest": (0.001, "film reviews: one rating and the mean of the others", "correlation"),
    **{
        f"people_groups_{k}": (0.001, f"film reviews: means of two groups of {k}", "correlation")
        for k in (1, 3, 7)
    },
    "people_texts": (0.0, "film reviews with ratings", "texts"),
    **{
        f"{button}_{way}": (0.12, f"first 60 by {way}, {button} button: equally good", SHARE)
        for button in ("tie", "no")
        for way in ("uncertainty", "disagreement")
    },
    "pool_equal": (0.03, "pairs of that pool that are equally good", SHARE),
    "hours": (1e-5, "hours for 1000 pairs at 6 seconds, with breaks: arithmetic", "hours"),
    "money": (1e-4, "their cost at 20 an hour: arithmetic", "money"),
    "memory_gb": (1.0, "largest resident memory of the chapter's kernel", "GB"),
    "cpu_seconds": (120.0, "CPU seconds of the whole chapter's kernel", "seconds"),
}

if __name__ == "__main__":
    parts = {"clicks": clicks, "asking": asking, "habits": habits, "people": people,
             "chapter": lambda: record("rlhf/feedback", SAYS)}  # fmt: skip
    for part in sys.argv[1:] or parts:
        begun = time.process_time()
        parts[part]()
        print(f"{part}: {time.process_time() - begun:.0f} CPU seconds", flush=True)
