"""What clicks tell: which styles, lengths and words they favour. `favours` has a twin in labeller.js."""

from __future__ import annotations

import html
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from mmbook.feedback.intervals import wilson
from mmbook.feedback.records import Item, Record
from mmbook.world import parse

if TYPE_CHECKING:
    from mmbook.feedback.dataset import Feedback

WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
MOST, OFTEN = 40, 3  # candidates at most, and in how many comparisons each must differ
CLEAR = 2.4  # standard errors at which a candidate joins the model
NAMED = 1.64  # standard errors from which a weight is spoken of
STYLE, LENGTH = "style: ", "(length)"

Features = dict[str, float]
Comparison = tuple[Features, Features, float]


def marks(item: Item) -> list[list[str]]:
    """For each response the styles that it is in: of a caption in the stickers' language one, else none."""
    return [[style] if isinstance(r, str) and (style := _style(r)) else [] for r in item["responses"]]


@lru_cache(10_000)
def _style(caption: str) -> str | None:
    statement = parse(caption)
    return statement.style if statement else None


def features_of(response: Any, marks: Iterable[str]) -> Features:
    """A response's styles (1 each), and a text's words (1 each, however often) and length / 10 words."""
    found = dict.fromkeys((STYLE + mark for mark in marks), 1.0)
    if isinstance(response, str):
        words = WORD.findall(response.lower())
        found |= dict.fromkeys(words, 1.0) | {LENGTH: len(words) / 10}
    return found


def comparisons_of(item: Mapping[str, Any], label: Mapping[str, Any]) -> list[Comparison]:
    """What a label says: (features of the better response, of the worse, weight); nothing for a tie.

    A tie may mean that the two are as good in different ways, so that it says nothing of any one feature. An
    edit is better than the original, by its words and length. In a ranking each place is a choice among all
    responses that are left, its comparisons weighing 1 together.
    """
    if label["outcome"] != "label":
        return []
    marked = item.get("marks") or [[] for _ in item["responses"]]
    said = [features_of(*pair) for pair in zip(item["responses"], marked, strict=True)]
    if label.get("choice") is not None:
        return [(said[label["choice"]], said[1 - label["choice"]], 1.0)]
    if isinstance(label.get("edit"), str):
        return [(features_of(label["edit"], []), features_of(item["responses"][0], []), 1.0)]
    rest, found = list(range(len(said))), list[Comparison]()
    for best in label.get("order") or ():
        rest.remove(best)
        found += [(said[best], said[i], 1 / len(rest)) for i in rest]
    return found


def table(comparisons: Sequence[Comparison]) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Names of the candidates, by how much they differ X (n, K), and weights a (n,) of comparisons.

    Candidates are the features that differ in `OFTEN` comparisons or more: styles, then length, then words,
    each from the most frequent down, equals in the order of their code points; `MOST` in all.
    """
    differs = [
        {name: better.get(name, 0.0) - worse.get(name, 0.0) for name in {**better, **worse}}
        for better, worse, _ in comparisons
    ]
    often = Counter(name for by in differs for name, value in by.items() if value)
    kinds = {name: 0 if name.startswith(STYLE) else 1 if name == LENGTH else 2 for name in often}
    enough = (name for name in often if often[name] >= OFTEN)
    names = sorted(enough, key=lambda name: (kinds[name], -often[name], name))[:MOST]
    X = np.array([[by.get(name, 0.0) for name in names] for by in differs]).reshape(len(differs), len(names))
    return names, X, np.array([weight for *_, weight in comparisons])


def fit(X: np.ndarray, a: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The weights w (K,) that minimise sum a log(1 + exp(-X w)) + |w|^2 / 2, and their standard errors (K,).

    By Newton's method with step halving, from 0 until the gradient is below 1e-10; the errors are those of
    the normal approximation to the posterior. Source: Bradley and Terry 1952, with a normal prior.
    """

    def loss(w: np.ndarray) -> float:
        return float(w @ w / 2 + a @ np.logaddexp(0, -X @ w))

    w, step = np.zeros(X.shape[1]), 0
    while True:
        p = _wrong(X, w)
        g, H = w - X.T @ (a * p), np.eye(len(w)) + (X.T * (a * p * (1 - p))) @ X
        if step == 50 or np.abs(g).max(initial=0) < 1e-10:
            return w, np.sqrt(np.diag(np.linalg.inv(H)))
        direction, before, size = np.linalg.solve(H, g), loss(w), 1.0
        while loss(w - size * direction) > before * (1 + 1e-12) and size > 1e-9:
            size /= 2
        w, step = w - size * direction, step + 1


def _wrong(X: np.ndarray, w: np.ndarray) -> np.ndarray:
    """The model's probability (n,) of what was not chosen."""
    return 1 / (1 + np.exp(X @ w))


def join(X: np.ndarray, a: np.ndarray) -> list[int]:
    """The columns of X (n, K) that tell of the choices, joined one by one to a model of those before.

    The next is the one whose score is furthest from 0, as long as that is `CLEAR` standard errors or more.
    All candidates at once would share what they tell: most words of a polite caption are in every one.
    Source: Rao's score test in forward selection.
    """
    taken: list[int] = []
    while True:
        p = _wrong(X[:, taken], fit(X[:, taken], a)[0])
        s, I = X.T @ (a * p), (X.T * (a * p * (1 - p))) @ X
        best, most = -1, _rounded(CLEAR) - 1
        for k in (k for k in range(X.shape[1]) if k not in taken):
            b = np.linalg.solve(I[np.ix_(taken, taken)], I[taken, k])
            left = I[k, k] - b @ I[taken, k]
            known = left <= 1e-6 * I[k, k]  # said by those taken already
            z = 0 if known else _rounded(abs(s[k] - b @ s[taken]) / math.sqrt(left))
            if z > most:
                best, most = k, z
        if best < 0:
            return taken
        taken.append(best)


def _rounded(value: float) -> int:
    return math.floor(1e6 * value + 0.5)  # what is equal but for rounding keeps its order


def favours(items: Sequence[Mapping[str, Any]], labels: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What labels favour: Bradley and Terry's model with a utility linear in the features that tell.

    Items have id, responses and marks (style words for each response), labels id, outcome, and choice, edit
    or order. Returns {"n": how many labels say something, "features": [{"name", "weight", "error", "with",
    "won"}, ...]}, the clearest first: in how many comparisons the two responses differ in it, and how many of
    those the one with more of it won. The weight of the length is for ten words.
    """
    by_id = {item["id"]: item for item in items}
    said = [comparisons_of(by_id[label["id"]], label) for label in labels if label["id"] in by_id]
    names, X, a = table([comparison for found in said for comparison in found])
    taken = join(X, a)
    w, error = fit(X[:, taken], a)
    features = [
        {
            "name": names[k],
            "weight": float(weight),
            "error": float(unsure),
            "with": int((X[:, k] != 0).sum()),
            "won": int((X[:, k] > 0).sum()),
        }
        for k, weight, unsure in zip(taken, w, error, strict=True)
    ]
    features.sort(key=lambda f: -_rounded(abs(f["weight"]) / f["error"]))  # type: ignore[arg-type]
    return {"n": sum(map(bool, said)), "features": features}


@dataclass(frozen=True)
class Leaning:
    """One feature that choices favour or disfavour: its weight, the standard error, won of differing."""

    name: str
    weight: float
    error: float
    won: int
    differed: int

    @property
    def clear(self) -> bool:
        """Whether it is worth a word: far from 0, and not only when the other leanings are counted off."""
        alone = (2 * self.won > self.differed) == (self.weight > 0)
        return alone and abs(self.weight) > NAMED * self.error

    def __str__(self) -> str:
        if self.name == LENGTH:
            k = self.won if self.weight > 0 else self.differed - self.won
            return f"{'longer' if self.weight > 0 else 'shorter'} captions (won {k} of {self.differed})"
        name = self.name.removeprefix(STYLE) if self.name.startswith(STYLE) else f"“{self.name}”"
        return f"{name} (won {self.won} of {self.differed})"


@dataclass(frozen=True)
class Taste:
    """What `n` choices favour, the clearest leaning first."""

    n: int
    leanings: tuple[Leaning, ...]

    def __repr__(self) -> str:
        clear = [leaning for leaning in self.leanings if leaning.clear]
        for_ = [str(x) for x in clear if x.weight > 0 or x.name == LENGTH]
        against = [str(x) for x in clear if x.weight < 0 and x.name != LENGTH]
        mine = "Your 1 choice" if self.n == 1 else f"Your {self.n} choices"
        if not clear:
            return f"{mine} {'does' if self.n == 1 else 'do'} not tell yet what you favour."
        both = (("favour", for_), ("disfavour", against))
        parts = [f"{verb}: {', '.join(some)}" for verb, some in both if some]
        return f"{mine} {'; '.join(parts)}."

    def _repr_html_(self) -> str:
        return f'<p dir="auto">{html.escape(repr(self))}</p>'


def taste(feedback: Feedback) -> Taste:
    """What the labels of a feedback's annotator favour, as far as they tell.

    Of two dozen coin tosses something is named about one time in nine, and if one looks after each, one in
    four.
    """
    painted = hasattr(feedback.model, "pictures")  # captions that are codes, and shown as pictures
    records = feedback.own
    items = [
        {
            "id": str(i),
            "responses": [{} for _ in r["responses"]] if painted else r["responses"],
            "marks": marks(r),
        }
        for i, r in enumerate(records)
    ]
    found = favours(items, [{**r, "id": str(i)} for i, r in enumerate(records)])
    leanings = (Leaning(f["name"], f["weight"], f["error"], f["won"], f["with"]) for f in found["features"])
    return Taste(found["n"], tuple(leanings))


def disagreements(feedback: Feedback, reward: Any, n: int = 3) -> list[tuple[Record, float]]:
    """The `n` labelled pairs whose choice a reward model finds least likely, each with its probability.

    `reward` is a reward model, or any function of scenes and captions that returns one number for each
    caption; the probability is Bradley and Terry's. Raises ValueError for `n` below 1.
    """
    if n < 1:
        raise ValueError(f"n: expected 1 or more, got {n}")
    pairs = [pair for pair in feedback.pairs() if pair[3]["annotator"] == feedback.annotator]
    if not pairs:
        return []
    scenes, better, worse, records = (list(column) for column in zip(*pairs, strict=True))
    score = getattr(reward, "score", reward)
    leads = [float(a) - float(b) for a, b in zip(score(scenes, better), score(scenes, worse), strict=True)]
    least = sorted(range(len(leads)), key=leads.__getitem__)[:n]
    return [(records[i], 0.5 * (1 + math.tanh(leads[i] / 2))) for i in least]


@dataclass(frozen=True)
class TasteCard:
    """What labels favour, how many choices fell on the response shown first, and which labels look odd.

    `first` is how many choices fell on the first response, of how many; `disagreements` are records, each
    with the probability that the reward model gives to the choice.
    """

    taste: Taste
    first: tuple[int, int]
    disagreements: tuple[tuple[Record, float], ...] = ()

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % Wilson interval of the share of choices that fell on the response shown first."""
        return wilson(*self.first) if self.first[1] else (0.0, 1.0)

    def _lines(self) -> list[str]:
        (k, n), (low, high) = self.first, self.interval
        lines = [repr(self.taste)]
        if n:
            chance = "" if low <= 0.5 <= high else ", further from half than chance gives 19 times in 20"
            fell = f"{k} of {n} choices fell on the response shown first"
            lines.append(f"{fell} ({low:.0%} to {high:.0%}){chance}.")
        for record, p in self.disagreements:
            better, worse = record["responses"][record["choice"]], record["responses"][1 - record["choice"]]
            lines.append(f"You chose “{better}” over “{worse}”; the reward model gives that {p:.0%}.")
        return lines

    def __repr__(self) -> str:
        return "\n".join(self._lines())

    def _repr_html_(self) -> str:
        return "".join(f'<p dir="auto">{html.escape(line)}</p>' for line in self._lines())


def taste_card(feedback: Feedback, reward: Any = None, n: int = 3) -> TasteCard:
    """The taste, the side, and the `n` labels with which `reward` disagrees most, as in `disagreements`."""
    from mmbook.feedback.agreement import first_shown  # which imports torch

    odd = () if reward is None else tuple(disagreements(feedback, reward, n))
    return TasteCard(taste(feedback), first_shown(feedback.own).get(feedback.annotator, (0, 0)), odd)
