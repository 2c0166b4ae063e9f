"""A blind A/B test: captions of two models, mixed, and nobody is told which is whose until all are judged."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from mmbook.feedback.collect import Annotator, _ask, _clean, _name_of, _temporary_log, _user
from mmbook.feedback.dataset import Feedback
from mmbook.feedback.items import Captioner, digest, items_hash, whole_seed
from mmbook.feedback.records import Item, Record
from mmbook.world import normalise, sample_scenes


class BlindTest(Feedback):
    """A feedback on pairs with one caption of each of two models, `names`, in an order that is drawn.

    Items, page and log name a mixture of both models, and each annotator sees the responses on sides that
    are drawn again. `same` of the scenes need no judgement: both models said the same. Made by `blind_test`.
    """

    names: tuple[str, str]
    same: int
    _second: dict[str, int]  # the place of the second model's caption, by item

    def reveal(self, early: bool = False) -> list[Record]:
        """The records, each with its `models`: who gave which response.

        Raises ValueError before all items are judged, unless `early`: whoever looks while the clicks come in
        and stops where the result is good finds differences that are not there.
        """
        done = {r["id"] for r in self.own}
        if not early and (left := len(self.items) - len(done)):
            raise ValueError(
                f"{left} of {len(self.items)} items are not judged yet: expected all; looking early and "
                "stopping where it looks good finds differences that are not there (early=True looks all the "
                "same)"
            )
        return [
            {**r, "models": [self.names[i ^ self._second[r["id"]] ^ 1] for i in (0, 1)]} for r in self.own
        ]

    def wins(self, early: bool = False) -> np.ndarray:
        """Wins (n,) of the second model, 1/2 for a tie; the same captions are ties, what was skipped is out.

        Raises ValueError as `reveal` does.
        """
        won = [
            0.5 if r["outcome"] != "label" else float(r["models"][r["choice"]] == self.names[1])
            for r in self.reveal(early)
            if r["outcome"] != "skip"
        ]
        return np.array([*won, *[0.5] * self.same])


def blind_test(
    first: Captioner,
    second: Captioner,
    scenes: int = 100,
    annotator: Annotator | None = None,
    path: str | Path | None = None,
    seed: Any = 0,
    names: tuple[str, str] = ("first", "second"),
    temperature: float = 1.0,
) -> BlindTest:
    """Put one caption of each of two models for each of `scenes` pictures to a reader, blind.

    Without `annotator` the result shows the labeller where a notebook displays it, and its log is
    `labels/<name>-<hash of items>.jsonl`; the same call resumes it. `BlindTest.wins` counts at the end.
    Raises ValueError for names that are alike, or models that say the same of every picture.
    """
    if len(set(names)) != 2:
        raise ValueError(f"names: expected two that differ, got {names!r}")
    seed = whole_seed(seed)
    pictures, rng = sample_scenes(scenes, seed), np.random.default_rng([seed, 1])
    said = [m.sample(pictures, temperature=temperature, seed=seed + i) for i, m in enumerate((first, second))]
    shared = {
        "kind": "pair",
        "prompt": first.prompt,
        "model": "blind-" + digest(sorted([first.hash, second.hash])),  # the same whichever is first
        "temperature": temperature,
        "seed": seed,
        "round": 0,
    }
    items, place = dict[str, Item](), dict[str, int]()
    for scene, *captions, coin in zip(pictures, *said, rng.integers(2, size=scenes).tolist(), strict=True):
        if normalise(captions[0]) != normalise(captions[1]):
            responses = captions if coin else captions[::-1]
            item = {**shared, "scene": scene.to_json(), "responses": responses}
            id = digest([item, len(items)])  # two scenes may be alike
            items[id], place[id] = {"id": id, **item}, coin
    if not items:
        raise ValueError(f"expected two models that differ, got the same captions of all {scenes} scenes")
    asked = list(items.values())
    who = os.environ.get("MMBOOK_ANNOTATOR") or _user()
    name = _name_of(annotator) if annotator else _clean(who)
    if path is None:
        path = _temporary_log() if annotator else f"labels/{name}-{items_hash(asked)}.jsonl"
    test = BlindTest(asked, path, name, seed, live=annotator is None)
    test.names, test.same, test._second = names, scenes - len(items), place
    if annotator is not None:
        _ask(annotator, test)
    return test
