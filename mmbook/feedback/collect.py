"""Ask for feedback: from a person through the labeller, or from any function that can choose."""

from __future__ import annotations

import getpass
import math
import operator
import os
import re
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from mmbook.feedback.dataset import Feedback
from mmbook.feedback.items import Captioner, items_hash, make_items, shown_first, shown_order, whole_seed
from mmbook.feedback.records import Item, Record, make_record, validate
from mmbook.world import Scene

Annotator = Callable[[Scene, list[str]], Any]
LABELLERS = ("widget", "basic")
LANGUAGES = ("en", "zh")
ASKED = {"rating": "rate", "edit": "edit", "ranking": "rank"}  # the annotator's method for each kind


def collect_human_feedback(
    model: Captioner,
    pairs: int = 50,
    annotator: Annotator | None = None,
    path: str | Path | None = None,
    seed: Any = 0,
    candidates: str = "model",
    temperature: float = 1.0,
    round: int = 0,
    kind: str = "pair",
    ordering: Any = "random",
    scorer: Any = None,
    labeller: str | None = None,
    aspects: Sequence[str] = (),
    lang: str | None = None,
) -> Feedback:
    """Show `pairs` pairs of captions and collect which is better.

    Without `annotator` it returns at once: in a notebook the result shows the labeller and fills as you
    click, and the log is `labels/<name>-<hash of items>.jsonl`, resumed (the name is MMBOOK_ANNOTATOR or the
    user's). An `annotator` is any `(scene, captions)` that returns the index of the better caption, "tie",
    "both_bad" or "skip"; its log is a new temporary file unless `path` is given. `candidates` is "model" (two
    samples at `temperature`) or "near-miss" (equal style and length, one wrong claim). With another `kind`,
    as many items are put to the annotator's `rate`, `edit` (one caption each) or `rank` (four), which may
    return None to skip.

    `ordering` decides which pair is asked next: "random", or, made anew as labels arrive, "uncertainty" or
    "disagreement" of what `scorer` gives them or else of `taste_ensemble`; or an `Ordering`, or a function of
    feedback that returns ids. `labeller` is "widget" or "basic" (buttons alone), by default MMBOOK_LABELLER;
    it asks for a rating of each of `aspects` too, and speaks `lang`, "en" or "zh", by default MMBOOK_LANG.
    Raises ValueError, TypeError.
    """
    if isinstance(pairs, bool) or not isinstance(pairs, int) or pairs <= 0:
        raise ValueError(f"pairs: expected a whole number, 1 or more, got {pairs!r}")
    if isinstance(round, bool) or not isinstance(round, int) or round < 0:
        raise ValueError(f"round: expected a whole number, 0 or more, got {round!r}")
    if not isinstance(temperature, int | float) or not 0 < temperature < math.inf:
        raise ValueError(f"temperature: expected a positive number, got {temperature!r}")
    if annotator is not None and not callable(annotator):
        raise TypeError(f"annotator: expected a function of (scene, captions), got {annotator!r}")
    labeller = labeller or os.environ.get("MMBOOK_LABELLER") or "widget"
    if labeller not in LABELLERS:
        raise ValueError(f"labeller: expected one of {', '.join(LABELLERS)}, got {labeller!r}")
    if labeller == "basic" and annotator is None and kind != "pair":
        raise ValueError(f"labeller: 'basic' asks about pairs, got kind={kind!r}; use labeller='widget'")
    named = isinstance(aspects, list | tuple) and all(isinstance(a, str) and a for a in aspects)
    if not named or len(set(aspects)) < len(aspects):
        raise ValueError(f"aspects: expected a list of different names, got {aspects!r}")
    if aspects and kind != "rating":
        raise ValueError(f"aspects: expected none for kind={kind!r}, got {aspects!r}; ratings have aspects")
    if lang not in (None, *LANGUAGES):
        raise ValueError(f"lang: expected one of {', '.join(LANGUAGES)}, got {lang!r}")
    if kind in ASKED and annotator is not None and not hasattr(annotator, ASKED[kind]):
        raise TypeError(f"annotator: expected one with .{ASKED[kind]}() for kind={kind!r}, got {annotator!r}")
    seed = whole_seed(seed)
    items = make_items(model, pairs, seed, candidates, temperature, round, kind)
    name = _clean(os.environ.get("MMBOOK_ANNOTATOR") or _user()) if annotator is None else _name_of(annotator)
    if path is None:
        path = f"labels/{name}-{items_hash(items)}.jsonl" if annotator is None else _temporary_log()
    feedback = Feedback(items, path, name, seed, live=annotator is None, model=model)
    feedback.aspects, feedback.lang = tuple(aspects), lang or feedback.lang
    feedback.front, feedback.ordering = labeller, _ordering(ordering, scorer, kind, seed)
    if annotator is not None:
        _ask(annotator, feedback)
    return feedback


def _ordering(ordering: Any, scorer: Any, kind: str, seed: int) -> Any:
    """What orders the items, None where they stay as they were drawn."""
    if isinstance(ordering, str) and ordering == "random":
        return None
    if kind != "pair":
        raise ValueError(f"ordering: expected 'random' for kind={kind!r}, got {ordering!r}")
    if hasattr(ordering, "ids"):
        return ordering
    from mmbook.feedback.ordering import Ordering  # which imports torch

    return Ordering(ordering, scorer=scorer, seed=seed)


def _ask(annotator: Annotator, feedback: Feedback) -> None:
    """Let a function judge what is not judged yet; what it judged before it failed is kept.

    As many at a time as stay in the order in which they are.
    """
    items = {item["id"]: item for item in feedback.items}
    while True:
        done = {r["id"] for r in feedback.own}
        ids = [id for id in feedback.order() if id not in done]
        if not ids:
            return
        every = getattr(feedback.ordering, "every", 1)
        n = len(ids) if feedback.ordering is None else every - len(done) % every
        records: list[Record] = []
        try:
            for id in ids[:n]:
                records.append(_judge(annotator, items[id], feedback))
        finally:
            feedback.append([{"op": "label", "record": r} for r in records])


def _judge(annotator: Annotator, item: Item, feedback: Feedback) -> Record:
    asked, scene = (feedback.seed, feedback.annotator, item["id"]), Scene.from_json(item["scene"])
    kind, said, name = item["kind"], item["responses"], feedback.annotator
    given: dict[str, Any]
    start = time.perf_counter()
    if kind == "pair":
        side = shown_first(*asked)
        outcome, choice = _read(annotator(scene, [said[side], said[1 - side]]))
        given = {"side": side, "choice": None if choice is None else choice ^ side}
    elif kind == "ranking":
        shown = shown_order(*asked, len(said))
        answer = annotator.rank(scene, [said[i] for i in shown])  # type: ignore[attr-defined]
        outcome = "skip" if answer is None else "label"
        order = None if answer is None else [shown[i] if i in range(len(said)) else i for i in answer]
        given = {"shown": shown, "order": order}
    else:
        answer = getattr(annotator, ASKED[kind])(scene, said[0])
        outcome, given = "skip" if answer is None else "label", {kind: answer}
    ms = int(1000 * (time.perf_counter() - start))
    record = make_record(item, annotator=name, outcome=outcome, ms=ms, **given)
    if wrong := validate(record):
        raise ValueError(f"annotator: {'; '.join(wrong)}")
    return record


def _read(answer: Any) -> tuple[str, int | None]:
    """An annotator's answer as (outcome, index of the caption shown first or second)."""
    expected = "annotator: expected the better caption's index (0 or 1), 'tie', 'both_bad' or 'skip', got"
    if isinstance(answer, str):
        if answer not in ("tie", "both_bad", "skip"):
            raise ValueError(f"{expected} {answer!r}")
        return answer, None
    try:
        index = operator.index(answer)
    except TypeError:
        raise TypeError(f"{expected} {answer!r}") from None
    if isinstance(answer, bool):
        raise TypeError(f"{expected} {answer!r}; write int(...) if it is meant as an index")
    if index not in (0, 1):
        raise ValueError(f"{expected} {answer!r}")
    return "label", index


def _clean(name: str) -> str:
    return re.sub(r"[^\w.-]+", "-", name).strip("-.")[:40] or "reader"


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # no such user, as in some containers
        return "reader"


def _name_of(annotator: Annotator) -> str:
    name = getattr(annotator, "name", None) or getattr(annotator, "__name__", type(annotator).__name__)
    return _clean(str(name))


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="mmbook-feedback-")  # lives as long as the process


def _temporary_log() -> Path:
    handle, path = tempfile.mkstemp(".jsonl", "labels-", _folder().name)
    os.close(handle)
    return Path(path)
