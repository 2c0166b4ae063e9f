"""How good labels are: who agrees with whom, with themselves, with gold items; side, and time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mmbook.equations import cohen_kappa, fleiss_kappa, krippendorff_alpha
from mmbook.feedback.items import digest
from mmbook.feedback.records import Record
from mmbook.world import normalise

TIE, BOTH_BAD = 2, 3
FAR = 3.5  # robust standard deviations of log time beyond which an answer was unusually quick or slow
MAD = 1.4826  # what makes the median absolute deviation a standard deviation, for a normal distribution


@dataclass(frozen=True)
class Answers:
    """What each person said of each question: x (M, N), m (M, N) is 1 where there is an answer.

    The answer to a pair is 0 or 1 for the response that was preferred, whatever side it was on and whichever
    came first in the item, 2 for a tie, 3 for both bad; that of a rating is 1 to 5.
    """

    people: tuple[str, ...]
    questions: tuple[str, ...]
    x: Tensor
    m: Tensor

    def _shared(self) -> Tensor:
        return self.m.sum(0) > 1

    @property
    def overlap(self) -> int:
        """How many questions two or more people answered."""
        return int(self._shared().sum())

    def alpha(self, level: str = "nominal") -> float:
        """Krippendorff's alpha of everyone. Raises ValueError where no question has two answers."""
        return krippendorff_alpha(self.x, self.m, level).item()

    def kappa(self) -> dict[tuple[str, str], float]:
        """Cohen's kappa of each two people who answered a question in common."""
        found = {}
        for i, first in enumerate(self.people):
            for j in range(i + 1, len(self.people)):
                both = (self.m[i] * self.m[j]).bool()
                if both.any():
                    found[first, self.people[j]] = cohen_kappa(self.x[i][both], self.x[j][both]).item()
        return found

    def fleiss(self) -> float:
        """Fleiss's kappa of the questions that everybody answered. Raises ValueError for none."""
        everyone = self.m.bool().all(0)
        classes = int(self.x.max()) + 1 if self.x.numel() else 1
        return fleiss_kappa(torch.nn.functional.one_hot(self.x[:, everyone], classes).sum(0)).item()

    def interval(
        self,
        statistic: Callable[[Answers], float],
        draws: int = 1000,
        seed: int = 0,
        sure: float = 0.95,
    ) -> tuple[float, float]:
        """A bootstrap interval of a statistic: questions are drawn again, with replacement.

        Draws for which the statistic is undefined are left out. Raises ValueError for no question, or where
        it is undefined for most draws. Source: Efron and Tibshirani 1993.
        """
        if not self.questions:
            raise ValueError("answers: expected a question or more, got none")
        rng, found = np.random.default_rng(seed), []
        for _ in range(draws):
            at = torch.from_numpy(rng.integers(len(self.questions), size=len(self.questions)))
            drawn = Answers(self.people, tuple(self.questions[i] for i in at), self.x[:, at], self.m[:, at])
            try:
                found.append(statistic(drawn))
            except ValueError:
                continue
        known = [value for value in found if value == value]
        if 2 * len(known) < draws:
            raise ValueError(
                f"statistic: undefined for {draws - len(known)} of {draws} draws: too few answers"
            )
        low, high = np.quantile(known, [(1 - sure) / 2, (1 + sure) / 2])
        return float(low), float(high)


def question(record: Record) -> str:
    """A name of what was asked, the same for the same responses in another order or under another id."""
    picture = record["scene"] if "scene" in record else record["image"]
    return digest([record["kind"], record["prompt"], picture, sorted(_said(record))])


def _said(record: Record) -> list[str]:
    """A name of each response; texts that say the same have the same one."""
    return [normalise(r) if isinstance(r, str) else digest(r) for r in record["responses"]]


def answer(record: Record) -> int | None:
    """A record as a number, as in `Answers`; None for what was skipped, edited or ranked."""
    if record["kind"] not in ("pair", "rating") or record["outcome"] == "skip":
        return None
    if record["kind"] == "rating":
        return int(record["rating"])
    if record["outcome"] != "label":
        return TIE if record["outcome"] == "tie" else BOTH_BAD
    said = _said(record)
    chosen, other = said[record["choice"]], said[1 - record["choice"]]
    return TIE if chosen == other else int(chosen > other)


def answers(records: Sequence[Record], kind: str = "pair") -> Answers:
    """The table of first answers to questions of one kind, pair or rating, people and questions sorted.

    Raises ValueError for another kind, or no answer.
    """
    if kind not in ("pair", "rating"):
        raise ValueError(f"kind: expected pair or rating, got {kind!r}")
    given: dict[tuple[str, str], int] = {}
    for record in records:
        if record["kind"] == kind and (value := answer(record)) is not None:
            given.setdefault((record["annotator"], question(record)), value)
    if not given:
        raise ValueError(f"records: expected an answer of kind {kind!r}, got none in {len(records)} records")
    people, questions = (tuple(sorted(set(names))) for names in zip(*given, strict=True))
    x = torch.zeros(len(people), len(questions), dtype=torch.long)
    m = torch.zeros_like(x)
    row, column = ({name: i for i, name in enumerate(names)} for names in (people, questions))
    for (who, what), value in given.items():
        x[row[who], column[what]], m[row[who], column[what]] = value, 1
    return Answers(people, questions, x, m)


def self_agreement(records: Sequence[Record]) -> dict[str, tuple[int, int]]:
    """For each person, how many questions that were asked again got the first answer again, of how many."""
    told: dict[tuple[str, str], list[int]] = defaultdict(list)
    for record in records:
        if (value := answer(record)) is not None:
            told[record["annotator"], question(record)].append(value)
    return _counts((who, value == values[0]) for (who, _), values in told.items() for value in values[1:])


def gold(records: Sequence[Record], right: Mapping[str, int]) -> dict[str, tuple[int, int]]:
    """For each person, how many gold items, id to the index of the right response, were got right.

    An answer other than a choice counts as wrong. Raises ValueError for a right answer that is not 0 or 1.
    """
    if wrong := {k: v for k, v in right.items() if v not in (0, 1)}:
        raise ValueError(f"right: expected 0 or 1 for each item, got {wrong}")
    asked = [r for r in records if r["id"] in right and r["outcome"] != "skip"]
    return _counts((r["annotator"], r.get("choice") == right[r["id"]]) for r in asked)


def first_shown(records: Sequence[Record]) -> dict[str, tuple[int, int]]:
    """For each person, how many choices fell on the response that was shown first, of how many.

    The order is drawn for each item, so a share far from a half is the reader's bias, not the captions'. Of
    rows that were imported from another tool the order is not known, and they are left out.
    """
    chosen = [r for r in records if r["kind"] == "pair" and r["outcome"] == "label" and not r.get("imported")]
    return _counts((r["annotator"], r["choice"] == r["side"]) for r in chosen)


def unusual_times(records: Sequence[Record], far: float = FAR) -> list[tuple[Record, float]]:
    """Records that took a person unusually short or long, and by how many robust standard deviations.

    Of the logarithm of milliseconds, each person against their own median; records without a time, and people
    whose times hardly differ, are left out. Source: Iglewicz and Hoaglin 1993.
    """
    found = []
    for who in sorted({r["annotator"] for r in records}):
        timed = [r for r in records if r["annotator"] == who and r["ms"] > 0]
        logs = np.log([r["ms"] for r in timed])
        middle = np.median(logs) if len(logs) else 0.0
        if len(logs) and (spread := MAD * np.median(np.abs(logs - middle))) > 0:
            z = (logs - middle) / spread
            found += [(r, float(v)) for r, v in zip(timed, z, strict=True) if abs(v) > far]
    return found


def _counts(marks: Iterable[tuple[str, bool]]) -> dict[str, tuple[int, int]]:
    """(person, right or wrong) as person: (how many right, of how many)."""
    kept: dict[str, list[bool]] = defaultdict(list)
    for who, right in marks:
        kept[who].append(right)
    return {who: (sum(found), len(found)) for who, found in sorted(kept.items())}
