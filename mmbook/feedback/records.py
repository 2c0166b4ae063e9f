"""One judgement is one flat JSON object: what a feedback record holds, and how a wrong one is told."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from mmbook.world import Scene

SCHEMA = 1
OUTCOMES = ("label", "tie", "both_bad", "skip")

Item = dict[str, Any]
Record = dict[str, Any]


def now() -> str:
    """The time as ISO 8601 in UTC, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def make_record(
    item: Item,
    *,
    annotator: str,
    outcome: str,
    choice: int | None = None,
    rating: int | None = None,
    edit: str | None = None,
    order: list[int] | None = None,
    side: int = 0,
    ms: int = 0,
    via: str = "call",
    time: str | None = None,
) -> Record:
    """The record of one judgement of `item`.

    `choice` indexes `item["responses"]`, whatever was shown where; `side` is the index of the response that
    was shown first (left, or on top); `rating`, 1 to 5, or `edit`, the text as it should have been, judges an
    item with one response; `order` lists the indices of two or more responses, the best one first; `ms` is
    the time from showing to judging; `via` is click, key or call.
    """
    record = {
        "schema": SCHEMA,
        **item,
        "annotator": annotator,
        "time": time or now(),
        "ms": ms,
        "via": via,
        "side": side,
        "outcome": outcome,
    }
    answer = {"choice": choice, "rating": rating, "edit": edit, "order": order}
    return {**record, **{name: value for name, value in answer.items() if value is not None}}


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _amount(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf


def _text(value: object) -> bool:
    return isinstance(value, str) and value != ""


def _time(value: object) -> bool:
    try:
        return isinstance(value, str) and datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        return False


Rule = tuple[Callable[[Any], bool], str]
_ONE: Rule = (lambda v: isinstance(v, list) and [type(r) for r in v] == [str], "one text")
_SEVERAL: Rule = (
    lambda v: isinstance(v, list) and {type(r) for r in v[1:]} == {str} == {type(v[0])},
    "two texts or more",
)
_LABEL: Rule = (lambda v: v == "label", "'label'")
# What differs from a pair in records of another kind.
_OTHER: dict[str, dict[str, Rule]] = {
    "rating": {
        "responses": _ONE,
        "outcome": _LABEL,
        "rating": (lambda v: _whole(v) and 1 <= v <= 5, "a whole number from 1 to 5"),
    },
    "edit": {"responses": _ONE, "outcome": _LABEL, "edit": (_text, "a text that is not empty")},
    "ranking": {
        "responses": _SEVERAL,
        "outcome": _LABEL,
        "order": (lambda v: isinstance(v, list) and all(map(_whole, v)), "a list of whole numbers"),
    },
}
_RULES: dict[str, Rule] = {
    "schema": (lambda v: _whole(v) and v == SCHEMA, f"the number {SCHEMA}"),
    "id": (_text, "a text that is not empty"),
    "kind": (lambda v: v in ("pair", *_OTHER), "'pair', " + ", ".join(map(repr, _OTHER))),
    "annotator": (_text, "a text that is not empty"),
    "time": (_time, "an ISO 8601 time with its zone"),
    "ms": (_amount, "milliseconds, 0 or more"),
    "via": (lambda v: v in ("click", "key", "call"), "'click', 'key' or 'call'"),
    "side": (lambda v: _whole(v) and v in (0, 1), "0 or 1"),
    "prompt": (lambda v: isinstance(v, str), "a text"),
    "responses": (lambda v: isinstance(v, list) and [type(r) for r in v] == [str, str], "two texts"),
    "outcome": (lambda v: v in OUTCOMES, "one of " + ", ".join(OUTCOMES)),
    "model": (lambda v: isinstance(v, str), "a text (the hash of the model's weights)"),
    "temperature": (lambda v: v is None or _amount(v), "a number, 0 or more, or null"),
    "seed": (lambda v: v is None or _whole(v), "a whole number or null"),
    "round": (_whole, "a whole number"),
}


def shorten(value: object, length: int = 60) -> str:
    """The value as an error message shows it, cut to `length` characters."""
    text = repr(value[: length + 1] if isinstance(value, str) else value)
    return text if len(text) <= length else text[: length - 3] + "..."


def validate(record: object) -> list[str]:
    """What is wrong with a record, one message for each field (the field, what was expected, what came)."""
    if not isinstance(record, dict):
        return [f"record: expected a JSON object, got {shorten(record)}"]
    wrong = []
    kind = record.get("kind")
    other = _OTHER.get(kind, {}) if isinstance(kind, str) else {}
    for field, (right, expected) in {**_RULES, **other}.items():
        if field not in record:
            wrong.append(f"{field}: expected {expected}, but it is missing")
        elif not right(record[field]):
            wrong.append(f"{field}: expected {expected}, got {shorten(record[field])}")
    if "scene" not in record:
        wrong.append("scene: expected the scene that was judged, but it is missing")
    else:
        try:
            Scene.from_json(record["scene"])
        except ValueError as error:
            wrong.append(str(error) if str(error).startswith("scene") else f"scene: {error}")
    choice = record.get("choice")
    if kind == "ranking" and not wrong and sorted(record["order"]) != list(range(len(record["responses"]))):
        every = f"each index of the {len(record['responses'])} responses once"
        wrong.append(f"order: expected {every}, got {shorten(record['order'])}")
    if other:
        return wrong
    if record.get("outcome") == "label" and not (_whole(choice) and choice in (0, 1)):
        wrong.append(f"choice: expected 0 or 1, the index of the better response, got {shorten(choice)}")
    if record.get("outcome") in OUTCOMES[1:] and choice is not None:
        wrong.append(f"choice: expected none, as the outcome is {record['outcome']}, got {shorten(choice)}")
    return wrong
