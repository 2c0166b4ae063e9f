"""Feedback: the items that are asked, the log that grows as they are judged, and what the log amounts to."""

from __future__ import annotations

import html
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from mmbook.feedback import log
from mmbook.feedback.items import digest, items_hash
from mmbook.feedback.records import Item, Record
from mmbook.world import Scene, normalise

if TYPE_CHECKING:
    from mmbook.feedback.labeller import Labeller

Pair = tuple[Scene, str, str, Record]


class Judgement(NamedTuple):
    """What one record says: a "pair" or "ranking" (the best caption first), a "tie", or a "rating"."""

    kind: str
    scene: Scene
    captions: tuple[str, ...]
    record: Record
    rating: int = 0


_ITEM = ("id", "kind", "prompt", "model", "temperature", "seed", "round", "scene", "responses")


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
    ) -> None:
        self.items, self.path, self.model = list(items), Path(path), model
        self.annotator, self.seed, self.live = annotator, seed, live
        self._file = self.path.absolute()  # the notebook may change its folder
        self._read: tuple[tuple[int, int], log.Log] | None = None
        self._labeller: Labeller | None = None
        self._parts: tuple[Feedback, ...] = ()
        self._refuse_other_items()

    @classmethod
    def from_log(cls, path: str | Path, model: Any = None) -> Feedback:
        """Read a log, or a file of records that was downloaded from a page; broken lines are in `problems`.

        `model` is the model whose captions were judged; a reward model is built on it.
        Raises ValueError when the file holds no judgement, FileNotFoundError, OSError.
        """
        records, _ = log.read_log(path)
        if not records:
            raise ValueError(f"{path}: the log holds no judgement yet; label first, or give another path")
        items = {r["id"]: {k: r[k] for k in _ITEM} for r in records}
        feedback = cls([], path, records[0]["annotator"], model=model)
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
        names = " + ".join(part.path.name for part in parts)
        merged = cls([], first.path.parent / names, first.annotator, first.seed, model=model or first.model)
        merged._parts, merged.items = parts, [item for part in parts for item in part.items]
        return merged

    def _log(self) -> log.Log:
        if self._parts:
            logs = [part._log() for part in self._parts]
            return log.Log([r for x in logs for r in x.records], [p for x in logs for p in x.problems])
        try:
            stat = self._file.stat()
        except FileNotFoundError:
            return log.Log()
        stamp = (stat.st_size, stat.st_mtime_ns)
        if self._read is None or self._read[0] != stamp:
            self._read = stamp, log.replay(self._file)
        return self._read[1]

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

        Raises ValueError for feedback that was merged.
        """
        if self._parts:
            raise ValueError(f"{self.path.name}: these are several logs read as one; label in one of them")
        begun = self._file.exists() and self._file.stat().st_size > 0
        header = {"op": "items", "schema": 1, "hash": items_hash(self.items), "n": len(self.items)}
        log.append(self._file, events if begun else [header, *events])

    @property
    def records(self) -> list[Record]:
        """The judgements in the order they were given, without those taken back."""
        return list(self._log().records)

    @property
    def problems(self) -> list[str]:
        """One message for each line of the log that could not be read."""
        return list(self._log().problems)

    def pairs(self, minimum: int = 0) -> list[Pair]:
        """(scene, better caption, worse caption, record) for each label on two captions that differ.

        Raises ValueError when there are fewer than `minimum`.
        """
        usable = []
        for r in self._log().records:
            if r["kind"] != "pair":
                continue
            a, b = r["responses"]
            if r["outcome"] == "label" and normalise(a) != normalise(b):
                better, worse = (b, a) if r["choice"] else (a, b)
                usable.append((Scene.from_json(r["scene"]), better, worse, r))
        if len(usable) < minimum:
            raise ValueError(
                f"{self.path.name}: {len(usable)} usable pairs, but {minimum} are needed "
                f"({self.summary()}). Label some more, or use a SimulatedAnnotator"
            )
        return usable

    def judgements(self) -> list[Judgement]:
        """Everything that a reward can be learned from, in the order of the log.

        An edit is a pair, the edited caption better than the original. Left out are pairs judged "both bad",
        skipped pairs, and captions that say the same as a better one.
        """
        found = []
        for r in self._log().records:
            scene, said, kind, rating = Scene.from_json(r["scene"]), list(r["responses"]), r["kind"], 0
            if kind == "ranking":
                said = [said[i] for i in r["order"]]
            elif kind == "edit":
                kind, said = "pair", [r["edit"], *said]
            elif kind == "rating":
                rating = r["rating"]
            elif r["outcome"] == "tie":
                kind = "tie"
            elif r["outcome"] == "label":
                said = [said[r["choice"]], said[1 - r["choice"]]]
            else:
                continue
            different = {normalise(caption): caption for caption in reversed(said)}
            captions = [caption for caption in said if different.pop(normalise(caption), None) is not None]
            if len(captions) > (kind != "rating"):
                found.append(Judgement(kind, scene, tuple(captions), r, rating))
        return found

    def demonstrations(self) -> list[tuple[Scene, str]]:
        """Scene and caption of each edit: what the reader would have said, to be imitated."""
        return [(Scene.from_json(r["scene"]), r["edit"]) for r in self._log().records if r["kind"] == "edit"]

    def ready(self, minimum: int = 20) -> bool:
        """Whether there are at least `minimum` usable pairs."""
        return len(self.pairs()) >= minimum

    def contradictions(self) -> float:
        """The share of labels whose pair of captions of the same scene was also judged the other way."""
        chosen = defaultdict(list)
        for scene, better, worse, _ in self.pairs():
            pair = digest([scene.to_json(), sorted(map(normalise, (better, worse)))])
            chosen[pair].append(normalise(better))
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

    def show(self) -> Labeller:
        """The labeller of these items, for a notebook's output; the same one each time."""
        if self._labeller is None:
            from mmbook.feedback.labeller import Labeller

            self._labeller = Labeller(self)
        return self._labeller

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        if self.live:
            return self.show()._repr_mimebundle_(**kwargs)
        return {"text/plain": repr(self), "text/html": f"<p>{html.escape(self.summary())}.</p>"}
