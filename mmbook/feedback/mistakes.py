"""Which mistake is the lesser one? Pairs of what a triage can do wrong, for people or simulated nurses."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np

from mmbook.feedback.collect import _clean, _temporary_log, _user
from mmbook.feedback.dataset import Feedback
from mmbook.feedback.items import digest, items_hash
from mmbook.feedback.records import Item, Record, make_record
from mmbook.world.scenes import Seed, generator

# Words of each mistake by truth and decision, urgencies as numbers; the last is none: a person is asked.
MISTAKES: dict[tuple[int, int], str] = {
    (0, 1): "A case that could wait is seen soon.",
    (0, 2): "A case that could wait is seen now.",
    (1, 0): "A case that should be seen soon is told to wait.",
    (1, 2): "A case that should be seen soon is seen now.",
    (2, 0): "A case that should be seen now is told to wait.",
    (2, 1): "A case that should be seen now is seen soon.",
    (-1, -1): "A person has to look at a case.",
}


class Nurse:
    """Somebody to whom mistakes cost C (3, 3) and asking a person d, and who mostly takes the cheaper of two.

    How often is {eq}`id:lesser-mistake`. Raises ValueError for a mistake without a cost.
    """

    def __init__(self, C: np.ndarray, d: float, seed: Seed = 0) -> None:
        self.cost = {MISTAKES[k, a]: d if k < 0 else float(C[k, a]) for k, a in MISTAKES}
        if min(self.cost.values()) <= 0:
            raise ValueError(f"C, d: expected a cost above 0 for each mistake, got {self.cost}")
        self.name, self._rng = f"simulated-nurse-{seed}", generator(seed, "nurse")

    def __call__(self, responses: list[str]) -> int:
        a, b = (self.cost[said] for said in responses)
        return int(self._rng.random() < a / (a + b))  # the second is the lesser one


def compare_mistakes(nurse: Nurse | None = None, seed: int = 0, path: str | Path | None = None) -> Feedback:
    """Every pair of mistakes once: which is better? Without a nurse it shows the labeller, for you."""
    prompt = "One of the two will happen. Which would you rather have?"
    shared: Item = {"kind": "pair", "prompt": prompt, "model": "mistakes", "image": None}
    shared |= {"temperature": None, "seed": seed, "round": 0}
    items: list[Item] = [{**shared, "responses": list(two)} for two in combinations(MISTAKES.values(), 2)]
    order = generator(seed, "mistakes").permutation(len(items))
    items = [{"id": digest(items[i]), **items[i]} for i in order]
    name = _clean(_user()) if nurse is None else nurse.name
    default = f"labels/{name}-{items_hash(items)}.jsonl" if nurse is None else _temporary_log()
    feedback = Feedback(items, path or default, name, seed, live=nurse is None)
    if nurse is not None:
        told = [make_record(x, annotator=name, outcome="label", choice=nurse(x["responses"])) for x in items]
        feedback.append([{"op": "label", "record": r} for r in told])
    return feedback


def worse_counts(records: list[Record]) -> np.ndarray:
    """How often each of `MISTAKES` was worse than each other, (7, 7); ties are half for each.

    Raises ValueError for judgements of something else.
    """
    place, W = {said: i for i, said in enumerate(MISTAKES.values())}, np.zeros((len(MISTAKES), len(MISTAKES)))
    for r in records:
        if not place.keys() >= set(r["responses"]):
            raise ValueError(
                f"records: expected pairs of MISTAKES, got {r['responses']}; is this another log?"
            )
        i, j = (place[said] for said in r["responses"])
        if r["outcome"] != "skip":
            worse = 0.5 if r["outcome"] != "label" else float(r["choice"])
            W[i, j] += worse
            W[j, i] += 1 - worse
    return W
