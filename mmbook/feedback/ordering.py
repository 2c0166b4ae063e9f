"""Which pairs to ask about next: at random, the undecided ones, or those about which models disagree."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmbook.equations import answer_entropy, information_gain, tie_probabilities
from mmbook.feedback.dataset import Feedback
from mmbook.feedback.log import Log
from mmbook.feedback.records import Item
from mmbook.feedback.taste import comparisons_of, features_of, fit, marks, table
from mmbook.world import Scene

WAYS = ("random", "uncertainty", "disagreement")
Scorer = Callable[[list[Item]], Tensor]  # pairs to the rewards (K, N, 2) of K models
MEMBERS = 8  # of the ensemble that is learned where nobody gives another


def worth_asking(R: Tensor, way: str, nu: float | None = None) -> Tensor:
    """How much there is to learn (N,) from each pair, by the rewards R (K, N, 2) of an ensemble of K models.

    "uncertainty" is the entropy of the mean prediction, {eq}`eq:answer-entropy`; it is largest for pairs that
    are equally good, about which nobody will ever be sure. "disagreement" is {eq}`eq:information-gain`, which
    leaves that part out. With `nu`, ties are an answer, {eq}`eq:davidson`. "random" is worth the same
    everywhere. Raises ValueError for another way or shape, or disagreement of a single model.
    """
    if way not in WAYS:
        raise ValueError(f"way: expected one of {', '.join(WAYS)}, got {way!r}")
    if R.dim() != 3 or R.shape[-1] != 2:
        raise ValueError(f"R: expected the rewards of models, pairs, 2 responses, got {tuple(R.shape)}")
    if way == "random":
        return torch.zeros(R.shape[1])
    if way == "disagreement" and len(R) < 2:
        raise ValueError("R: expected two models or more to disagree, got one")
    if nu is None:
        first = torch.sigmoid(R[..., 0] - R[..., 1])
        p = torch.stack([first, 1 - first], -1)
    else:
        p = tie_probabilities(R[..., 0], R[..., 1], nu)
    return answer_entropy(p) if way == "uncertainty" else information_gain(p)


def order(worth: Tensor, share: float = 0.2, seed: int = 0) -> list[int]:
    """All indices of worth (N,), best first, but a share of the places, drawn at random, filled at random.

    Equals come in random order. The random share keeps labels with which everything else can be compared, and
    models that are wrong and sure of it get corrected. Raises ValueError for another share.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share: expected 0 to 1, got {share!r}")
    rng, n = np.random.default_rng(seed), len(worth)
    mixed = rng.permutation(n)
    best = iter(mixed[np.argsort(-worth.numpy()[mixed], kind="stable")].tolist())
    at_random, left = rng.random(n) < share, iter(rng.permutation(n).tolist())
    chosen: dict[int, None] = {}
    for free in at_random:
        chosen[next(i for i in (left if free else best) if i not in chosen)] = None
    return list(chosen)


def scorer_of(*rewards: Any) -> Scorer:
    """A scorer of items from reward models, or functions of scenes and captions that return a number each."""
    if not rewards:
        raise ValueError("rewards: expected a reward model or more, got none")

    def score(items: list[Item]) -> Tensor:
        scenes = [Scene.from_json(item["scene"]) for item in items]
        said = [[item["responses"][i] for item in items] for i in (0, 1)]
        each = [getattr(reward, "score", reward) for reward in rewards]
        return torch.stack([torch.stack([torch.as_tensor(f(scenes, x)) for x in said], -1) for f in each])

    return score


def taste_ensemble(feedback: Feedback, members: int = MEMBERS, seed: int = 0) -> Scorer:
    """An ensemble of what the labels favour, each member fitted to a draw of the choices with replacement.

    All candidates of `mmbook.feedback.taste.table` count. It needs no network, and milliseconds.
    """
    said = [comparisons_of({**r, "marks": marks(r)}, r) for r in feedback.records]
    names, X, a = table([comparison for found in said for comparison in found])
    rng = np.random.default_rng(seed)
    draws = [rng.integers(len(X), size=len(X)) if len(X) else np.arange(0) for _ in range(members)]
    W = np.stack([fit(X[at], a[at])[0] for at in draws])  # (K, features)

    def score(items: list[Item]) -> Tensor:
        found = [
            [features_of(*x) for x in zip(item["responses"], marks(item), strict=True)] for item in items
        ]
        x = np.array([[[f.get(name, 0.0) for name in names] for f in pair] for pair in found])
        return torch.from_numpy(np.einsum("kf,nrf->knr", W, x.reshape(len(items), 2, len(names))))

    return score


def tie_rate(R: Tensor, ties: int) -> float | None:
    """The nu of Davidson's model at which pairs with rewards R (K, N, 2) are expected to have so many ties.

    None where there was no tie, so that ties are no answer.
    """
    if not 0 < ties < R.shape[1]:
        return None
    low, high = -10.0, 10.0  # log nu, in which the expected number grows
    for _ in range(50):
        middle = (low + high) / 2
        expected = tie_probabilities(R[..., 0], R[..., 1], float(np.exp(middle)))[..., 2].mean(0).sum()
        low, high = (middle, high) if expected < ties else (low, middle)
    return float(np.exp(middle))


class Ordering:
    """The order of asking, made anew after every `every` labels from what they tell.

    `way` is one of `WAYS`, or a function of feedback that returns the ids of items, the next one first.
    `learn(feedback)` returns a scorer: a function of items that returns rewards (K, N, 2), by default
    `taste_ensemble`; a fixed `scorer` takes its place. Before the first `every` labels, for the `share` of
    places, and among equals the order is random. It follows from the seed and the labels alone. Raises
    ValueError for another way or share, or `every` below 1.
    """

    def __init__(
        self,
        way: str | Callable[[Feedback], Sequence[str]] = "disagreement",
        learn: Callable[[Feedback], Scorer] | None = None,
        scorer: Scorer | None = None,
        share: float = 0.2,
        every: int = 5,
        seed: int = 0,
    ) -> None:
        if not callable(way) and way not in WAYS:
            raise ValueError(f"ordering: expected one of {', '.join(WAYS)} or a function, got {way!r}")
        if not 0 <= share <= 1:
            raise ValueError(f"share: expected 0 to 1, got {share!r}")
        if isinstance(every, bool) or not isinstance(every, int) or every < 1:
            raise ValueError(f"every: expected a whole number, 1 or more, got {every!r}")
        self.way, self.share, self.seed = way, share, seed
        self.every = 1 if callable(way) else every
        self.learn = learn or ((lambda feedback: scorer) if scorer else taste_ensemble)
        self.fixed = scorer is not None
        self._known: dict[object, list[str]] = {}

    def ids(self, feedback: Feedback) -> list[str]:
        """The ids of all items: judged ones first, in the order of judging, then those to ask.

        Where the order is made anew, what was next stays next: a reader may be looking at it already.
        """
        own = [r["id"] for r in feedback.own]
        done = len(own) - len(own) % self.every
        ranked = self._ranked(feedback, done)
        known = set(ranked)
        judged = {id: None for id in own[:done] if id in known}
        if done and not callable(self.way):
            before = self._ranked(feedback, done - self.every)
            ranked = [*[id for id in before if id not in judged][:1], *ranked]
        return list(dict.fromkeys([*judged, *ranked]))

    def _ranked(self, feedback: Feedback, n: int) -> list[str]:
        """All ids by what the annotator's first n labels tell."""
        if callable(self.way):
            chosen = list(self.way(feedback))
            if unknown := set(chosen) - {item["id"] for item in feedback.items}:
                raise ValueError(f"ordering: expected ids of items, got {min(unknown, key=str)!r}")
            return [*chosen, *(item["id"] for item in feedback.items)]
        early = _Early(feedback, n)
        key = n, tuple((r["id"], r["time"]) for r in early.records)
        if key not in self._known:
            if len(self._known) > 3:
                self._known.pop(next(iter(self._known)))
            self._known[key] = self._rank(early, n)
        return self._known[key]

    def _rank(self, early: Feedback, n: int) -> list[str]:
        items, way = early.items, str(self.way)
        worth = torch.zeros(len(items))
        if way != "random" and (n or self.fixed):
            score = self.learn(early)
            pairs = {r["id"]: r for r in early.records if r["kind"] == "pair" and r["outcome"] != "skip"}
            seen = [item for item in items if item["id"] in pairs]
            ties = sum(pairs[item["id"]]["outcome"] == "tie" for item in seen)
            nu = tie_rate(score(seen), ties) if ties else None
            worth = worth_asking(score(items), way, nu)
        return [items[i]["id"] for i in order(worth, self.share, self.seed + n)]


class _Early(Feedback):
    """A feedback as it was when its annotator had given n labels."""

    def __init__(self, feedback: Feedback, n: int) -> None:
        self.__dict__.update(copy.copy(feedback.__dict__))
        found = feedback._log()
        own = [i for i, r in enumerate(found.records, 1) if r["annotator"] == feedback.annotator]
        self._found = Log(found.records[: own[n - 1] if n else 0], found.problems, found.header)

    def _log(self) -> Log:
        return self._found
