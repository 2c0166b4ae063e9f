"""Feedback: the items that are asked, the log that grows as they are judged, and what the log amounts to."""

from __future__ import annotations

import html
import os
import warnings
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mmbook.feedback import log
from mmbook.feedback.importing import read_foreign
from mmbook.feedback.items import digest, items_hash
from mmbook.feedback.media import decode_picture
from mmbook.feedback.records import Item, Record, form_of, make_record, shorten, validate
from mmbook.world import Scene, normalise

if TYPE_CHECKING:
    from mmbook.feedback.labeller import Labeller

Picture = Scene | np.ndarray  # an array is uint8 (H, W, 3)
Pair = tuple[Picture, str, str, Record]


class Judgement(NamedTuple):
    """What one record says: a "pair" or "ranking" (the best caption first), a "tie", or a "rating".

    Of a ranking `ranked` captions are in order and the rest only worse than those; 0 is all of them.
    """

    kind: str
    scene: Picture
    captions: tuple[str, ...]
    record: Record
    rating: int = 0
    ranked: int = 0


_ITEM = ("id", "kind", "prompt", "model", "temperature", "seed", "round", "scene", "image", "responses")


def picture_key(picture: Picture) -> Any:
    """What two pictures have in common when they are the same one; it can be hashed."""
    return picture if isinstance(picture, Scene) else (picture.shape, picture.tobytes())


def said(record: Record) -> tuple[str, tuple[str, ...], int] | None:
    """Kind, captions and `ranked` of a record of texts, as in `Judgement`; None where it compares nothing.

    Captions that say the same count once, at the best place.
    """
    if record["outcome"] not in ("label", "tie") or form_of(record["responses"]) != "text":
        return None
    kind, captions = record["kind"], list(record["responses"])
    ranked = len(captions)
    if kind == "ranking":
        ranked = len(record["order"])
        rest = [i for i in range(len(captions)) if i not in record["order"]]
        captions = [captions[i] for i in [*record["order"], *rest]]
    elif kind == "edit":
        kind, captions = "pair", [record["edit"], *captions]
    elif record["outcome"] == "tie":
        kind = "tie"
    elif kind == "pair":
        captions = [captions[record["choice"]], captions[1 - record["choice"]]]
    first = {normalise(caption): i for i, caption in reversed(list(enumerate(captions)))}
    kept = sorted(first.values())
    if len(kept) <= (kind != "rating"):
        return None
    listed = sum(i < ranked for i in kept)
    partial = kind == "ranking" and listed < len(kept) - 1
    return kind, tuple(captions[i] for i in kept), listed if partial else 0


class Feedback:
    """Items and their judgements in the log at `path`; the log on disk is the truth, `records` its replay.

    A `live` feedback shows the labeller where a notebook displays it; one that is not shows its summary.
    Raises ValueError when the log at `path` belongs to other items, OSError when it cannot be read.
    """

    def __init__(
        self,
        items: Sequence[Item],
        path: str | Path,
        annotator: str = "reader",
        seed: int = 0,
        live: bool = False,
        model: Any = None,
        *,
        foreign: log.Log | None = None,
    ) -> None:
        self.items, self.path, self.model = list(items), Path(path), model
        self.annotator, self.seed, self.live = annotator, seed, live
        self.ordering: Any = None
        self.front = "widget"
        self.lang, self.aspects = os.environ.get("MMBOOK_LANG", "en"), tuple[str, ...]()
        self._file = self.path.absolute()  # the notebook may change its folder
        self._read: tuple[tuple[int, int], log.Log] | None = None
        self._labeller: Any = None
        self._foreign = foreign  # what a file holds that is no log
        self._pictures: dict[str, np.ndarray | None] = {}
        self._parts: tuple[Feedback, ...] = ()
        self._refuse_odd_items()
        self._refuse_other_items()

    @classmethod
    def from_log(cls, path: str | Path, model: Any = None) -> Feedback:
        """Read a log, what was downloaded from a page, or a file of TRL's rows: see `importing.read_labels`.

        Several files belong together through `merge`, which counts copies once.
        `model` is the model whose captions were judged; a reward model is built on it. What cannot be read
        is in `problems`. Raises ValueError when the file holds no judgement, FileNotFoundError, OSError.
        """
        foreign = read_foreign(path)
        records = log.read_log(path)[0] if foreign is None else foreign.records
        if not records:
            why = f" ({foreign.problems[0]})" if foreign and foreign.problems else ""
            raise ValueError(
                f"{path}: the log holds no judgement yet{why}; label first, or give another path"
            )
        feedback = cls([], path, records[0]["annotator"], model=model, foreign=foreign)
        items = {r["id"]: {k: r[k] for k in _ITEM if k in r} for r in records}
        feedback.items = list(items.values())
        return feedback

    @classmethod
    def merge(cls, feedbacks: Sequence[Feedback], model: Any = None) -> Feedback:
        """Several feedbacks read as one, each log where it is; a label in one of them is seen here too.

        `model` is the one that a reward model is built on, by default the first feedback's.
        Raises ValueError for no feedback.
        """
        if not feedbacks:
            raise ValueError("feedbacks: expected one or more, got none")
        first, parts = feedbacks[0], tuple(feedbacks)
        rest = "" if len(parts) <= 3 else f" + {len(parts) - 3} more"  # a file's name has its limit
        names = " + ".join(part.path.name for part in parts[:3]) + rest
        merged = cls([], first.path.parent / names, first.annotator, first.seed, model=model or first.model)
        merged._parts = parts
        merged.items = list({item["id"]: item for part in parts for item in part.items}.values())
        return merged

    def _log(self) -> log.Log:
        if self._parts:
            logs = [part._log() for part in self._parts]
            records = {
                (r["id"], r["annotator"], r["time"]): r for x in logs for r in x.records
            }  # copies: once
            return log.Log(list(records.values()), [p for x in logs for p in x.problems])
        if self._foreign is not None:
            return self._foreign
        try:
            stat = self._file.stat()
        except FileNotFoundError:
            return log.Log()
        stamp = (stat.st_size, stat.st_mtime_ns)
        if self._read is None or self._read[0] != stamp:
            known, self._read = (
                self._read and self._read[1],
                None,
            )  # which replay changes: once, also if broken off
            self._read = stamp, log.replay(self._file, known)
        return self._read[1]

    def _refuse_odd_items(self) -> None:
        """What no record could hold must not be asked."""
        ids = set[str]()
        for n, item in enumerate(self.items):
            wrong = validate(make_record(item, annotator="reader", outcome="skip"))
            if not wrong and item["id"] in ids:
                wrong = [f"id: expected one of its own, got {item['id']!r} again"]
            if wrong:
                raise ValueError(f"items[{n}]: {wrong[0]}")
            ids.add(item["id"])

    def _refuse_other_items(self) -> None:
        found = self._log()
        if found.problems and not found.records and found.header is None:
            raise ValueError(f"{self.path}: this is no feedback log ({found.problems[0]}). Give another path")
        ids = {item["id"] for item in self.items}
        same = (
            found.header["hash"] == items_hash(self.items)
            if found.header
            else all(r["id"] in ids for r in found.records)
        )
        if ids and not same:
            raise ValueError(
                f"{self.path}: this log was begun with other items (it holds "
                f"{len(found.records)} judgements). Give another path to begin a new log, "
                "the same model and seed to resume this one, or read it with Feedback.from_log"
            )

    def append(self, events: Sequence[log.Event]) -> None:
        """Write events to the log, which begins with its items' hash, and return when the disk has them.

        Raises ValueError for feedback that was merged, or imported from a file that is no log.
        """
        if self._foreign is not None:
            raise ValueError(f"{self.path.name}: these are rows of another tool; label in a log of their own")
        if self._parts:
            raise ValueError(f"{self.path.name}: these are several logs read as one; label in one of them")
        begun = self._file.exists() and self._file.stat().st_size > 0
        header = {"op": "items", "schema": 1, "hash": items_hash(self.items), "n": len(self.items)}
        log.append(self._file, events if begun else [header, *events])

    def order(self) -> list[str]:
        """The ids of the items in the order of asking, which an `ordering` changes as labels arrive."""
        return self.ordering.ids(self) if self.ordering else [item["id"] for item in self.items]

    @property
    def records(self) -> list[Record]:
        """The judgements in the order they were given, without those taken back."""
        return list(self._log().records)

    @property
    def own(self) -> list[Record]:
        """The records of this feedback's annotator."""
        return [r for r in self._log().records if r["annotator"] == self.annotator]

    @property
    def problems(self) -> list[str]:
        """One message for each line of the log that could not be read."""
        return list(self._log().problems)

    def picture(self, record: Record) -> Picture | None:
        """The picture that was asked about, if there is one. Warns of one that cannot be decoded."""
        if "scene" in record:
            return Scene.from_json(record["scene"])
        if (uri := record["image"]) is None:
            return None
        if uri not in self._pictures:
            try:
                self._pictures[uri] = decode_picture(uri)
            except ValueError as error:
                self._pictures[uri] = None
                warnings.warn(
                    f"{self.path.name}, record {shorten(record['id'])}: image: {error}; left out",
                    stacklevel=3,
                )
        return self._pictures[uri]

    def pairs(self, minimum: int = 0) -> list[Pair]:
        """(scene, better caption, worse caption, record) for each label on two captions that differ.

        Where a record has an `image`, that is the scene, uint8 (H, W, 3). Left out are records without a
        picture, and those that compare pictures or sounds. Raises ValueError for fewer than `minimum`.
        """
        usable = [
            (j.scene, j.captions[0], j.captions[1], j.record)
            for j in self.judgements()
            if j.kind == "pair" and j.record["kind"] == "pair"
        ]
        if len(usable) < minimum:
            raise ValueError(
                f"{self.path.name}: {len(usable)} usable pairs, but {minimum} are needed "
                f"({self.summary()}). Label some more, or use a SimulatedAnnotator"
            )
        return usable

    def judgements(self) -> list[Judgement]:
        """Everything that a reward can be learned from, in the order of the log.

        An edit is a pair, the edited caption better than the original. Left out are pairs judged "both bad",
        what was skipped, captions that say the same as a better one, records without a picture, and those
        that judge pictures or sounds.
        """
        found = []
        for record in self._log().records:
            if (what := said(record)) and (scene := self.picture(record)) is not None:
                kind, captions, ranked = what
                rating = record["rating"] if kind == "rating" else 0
                found.append(Judgement(kind, scene, captions, record, rating, ranked))
        return found

    def demonstrations(self) -> list[tuple[Picture, str]]:
        """Picture and caption of each edit of a text: what the reader would have said, to be imitated."""
        return [
            (scene, r["edit"])
            for r in self._log().records
            if r["kind"] == "edit" and isinstance(r.get("edit"), str)
            if (scene := self.picture(r)) is not None
        ]

    def ready(self, minimum: int = 20) -> bool:
        """Whether there are at least `minimum` usable pairs."""
        return len(self.pairs()) >= minimum

    def contradictions(self) -> float:
        """The share of labels whose pair of responses to the same question was also judged the other way."""
        chosen = defaultdict(list)
        for r in self._log().records:
            if r["kind"] != "pair" or r["outcome"] != "label":
                continue
            names = [normalise(x) if isinstance(x, str) else digest(x) for x in r["responses"]]
            if names[0] != names[1]:
                asked = Scene.from_json(r["scene"]).to_json() if "scene" in r else r["image"]
                chosen[digest([r["prompt"], asked, sorted(names)])].append(names[r["choice"]])
        total = sum(map(len, chosen.values()))
        return sum(len(c) for c in chosen.values() if len(set(c)) > 1) / total if total else 0.0

    def summary(self) -> str:
        """One sentence: how many items are judged, and how."""
        records = self._log().records
        n = Counter(r["outcome"] for r in records)
        text = (
            f"{len({r['id'] for r in records})} of {len(self.items)} items judged: labels {n['label']}, "
            f"ties {n['tie']}, both bad {n['both_bad']}, skipped {n['skip']}"
        )
        if self.contradictions():
            text += f"; {self.contradictions():.0%} of the labels contradict another"
        return text + (f"; {len(self.problems)} lines cannot be read" if self.problems else "")

    def __repr__(self) -> str:
        return f"Feedback({self.summary()})"

    def show(self) -> Any:
        """The labeller of these items, for a notebook's output; the same one each time."""
        if self._labeller is None and self.front == "basic":
            from mmbook.feedback.basic import BasicLabeller

            self._labeller = BasicLabeller(self)
        if self._labeller is None:
            from mmbook.feedback.labeller import Labeller

            self._labeller = Labeller(self)
        return self._labeller

    def review(self, found: Sequence[tuple[Record, float]]) -> Labeller:
        """A labeller that shows labels again, each with its probability for a model: relabel it or keep it.

        `found` is what `disagreements` returns. Raises ValueError for logs that were merged or imported, and
        for labels of other items.
        """
        from mmbook.feedback.labeller import Labeller

        if self._parts or self._foreign is not None:
            raise ValueError(f"{self.path.name}: labels are changed in a log of their own; review that one")
        return Labeller(self, [(record["id"], p) for record, p in found])

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        if self.live:
            return self.show()._repr_mimebundle_(**kwargs)
        return {"text/plain": repr(self), "text/html": f"<p>{html.escape(self.summary())}.</p>"}
