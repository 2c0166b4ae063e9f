"""One judgement is one flat JSON object: what a feedback record holds, and how a wrong one is told."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from mmbook.world import Scene

SCHEMA = 1
OUTCOMES = ("label", "tie", "both_bad", "skip")
ANSWERS = ("choice", "rating", "aspects", "edit", "order")
CONTROLS = ("brightness", "contrast", "saturation")  # of a picture; 1 leaves it as it is
LEAST, MOST = 0.25, 4  # of a control
DEEP = 40  # levels of nesting in a field that this schema does not know
_PICTURE = "a data URI of a PNG, JPEG or WebP picture"
_URI = {
    "picture": re.compile("data:image/(?:png|jpeg|webp);base64,([A-Za-z0-9+/]+={0,2})"),
    "sound": re.compile("data:audio/(?:wav|mpeg|ogg);base64,([A-Za-z0-9+/]+={0,2})"),
}

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
    aspects: dict[str, int] | None = None,
    edit: str | dict[str, float] | None = None,
    order: list[int] | None = None,
    side: int = 0,
    shown: list[int] | None = None,
    ms: int = 0,
    via: str = "call",
    time: str | None = None,
) -> Record:
    """The record of one judgement of `item`.

    `choice` indexes `item["responses"]`, whatever was shown where; `side` is the index of the response that
    was shown first (left, or on top), `shown` that of every response in the order shown. `rating`, 1 to 5,
    with more of them by name in `aspects`, or `edit` judges an item with one response; an edit is the text as
    it should have been, or a picture's `CONTROLS`. `order` lists indices, the best one first; those
    left out are worse. `ms` is the time from showing to judging; `via` is click, key or call.
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
    given = {"choice": choice, "rating": rating, "aspects": aspects, "edit": edit, "order": order}
    given |= {"shown": shown}
    return {**record, **{name: value for name, value in given.items() if value is not None}}


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


def _uri(value: object, kind: str) -> bool:
    found = _URI[kind].fullmatch(value) if isinstance(value, str) else None
    return found is not None and len(found[1]) % 4 == 0


def form_of(responses: object) -> str | None:
    """What all of an item's responses are: "text", "picture" or "sound"; None where they are not."""
    if not isinstance(responses, list) or not responses:
        return None
    if all(isinstance(r, str) for r in responses):
        return "text"
    for form in _URI:
        if all(isinstance(r, dict) and list(r) == [form] and _uri(r[form], form) for r in responses):
            return form
    return None


def _grade(value: object) -> bool:
    return _whole(value) and value in range(1, 6)


def _aspects(value: object) -> bool:
    return isinstance(value, dict) and all(_text(k) and _grade(v) for k, v in value.items())


def _controls(value: object) -> bool:
    if not isinstance(value, dict) or not value or not set(value) <= set(CONTROLS):
        return False
    return all(_amount(x) and LEAST <= x <= MOST for x in value.values())


def _plain(value: object, deep: int = DEEP) -> bool:
    """Whether a field that nobody reads can be written again, by any tool."""
    if isinstance(value, dict | list):
        inside = value.values() if isinstance(value, dict) else value
        return deep > 0 and all(_plain(v, deep - 1) for v in inside)
    return not isinstance(value, float) or math.isfinite(value)


def _listing(value: object, n: int) -> bool:
    """Whether a value lists different indices of n responses."""
    return (
        isinstance(value, list)
        and all(_whole(i) and 0 <= i < n for i in value)
        and len(set(value)) == len(value)
    )


Rule = tuple[Callable[[Any], bool], str]
_ONE: Rule = (lambda v: form_of(v) is not None and len(v) == 1, "one text, picture or sound")
_TWO: Rule = (lambda v: form_of(v) is not None and len(v) == 2, "two texts, two pictures or two sounds")
_SEVERAL: Rule = (
    lambda v: form_of(v) is not None and len(v) > 1,
    "two texts or more, or as many pictures or sounds",
)
_GIVEN: Rule = (lambda v: v in ("label", "skip"), "'label' or 'skip'")
# What differs from a pair in records of another kind.
_OTHER: dict[str, dict[str, Rule]] = {
    "rating": {"responses": _ONE, "outcome": _GIVEN},
    "edit": {"responses": _ONE, "outcome": _GIVEN},
    "ranking": {"responses": _SEVERAL, "outcome": _GIVEN},
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
    "responses": _TWO,
    "outcome": (lambda v: v in OUTCOMES, "one of " + ", ".join(OUTCOMES)),
    "model": (lambda v: isinstance(v, str), "a text (the hash of the model's weights)"),
    "temperature": (lambda v: v is None or _amount(v), "a number, 0 or more, or null"),
    "seed": (lambda v: v is None or _whole(v), "a whole number or null"),
    "round": (_whole, "a whole number"),
}
_KNOWN = {*_RULES, *ANSWERS, "image", "shown"}


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
    wrong += _wrong_picture(record) + _wrong_answer(record, kind)
    for field, value in record.items():
        if field not in _KNOWN and not _plain(value):
            expected = f"finite numbers, and lists at most {DEEP} deep"
            name = field if str(field).isidentifier() else shorten(field)
            wrong.append(f"{name}: expected {expected}, got {shorten(value)}")
    return wrong


def _wrong_picture(record: Record) -> list[str]:
    wrong = []
    if "scene" not in record and "image" not in record:
        wrong.append("scene: expected the scene that was judged, or an image instead, but it is missing")
    if "scene" in record:
        try:
            Scene.from_json(record["scene"])
        except ValueError as error:
            text = str(error) if str(error).startswith("scene") else f"scene: {error}"
            where, _, what = text.partition(": ")
            if "expected" not in what.split():  # of a sticker that lacks a field, or is none
                what = f"expected a sticker's kind, quarter, big, dx and dy, got {shorten(record['scene'])}"
            wrong.append(f"{where}: {what[:200]}")
    image = record.get("image")
    if image is not None and not _uri(image, "picture"):
        wrong.append(f"image: expected {_PICTURE}, or null, got {shorten(image)}")
    return wrong


def _wrong_answer(record: Record, kind: object) -> list[str]:
    """What is wrong with the fields that hold the answer, as far as kind, outcome and responses are known."""
    outcome, form = record.get("outcome"), form_of(record.get("responses"))
    n = len(record["responses"]) if form else 0
    if n != {"pair": 2, "ranking": max(n, 2)}.get(str(kind), 1):
        form = None
    every = f"each index of the {n} responses once"
    if form and (shown := record.get("shown")) is not None and not (_listing(shown, n) and len(shown) == n):
        return [f"shown: expected {every}, in the order shown, got {shorten(shown)}"]
    if outcome == "skip" or (kind == "pair" and outcome in ("tie", "both_bad")):
        given = next((name for name in ANSWERS if record.get(name) is not None), None)
        none = f"expected none, as the outcome is {outcome}, got"
        return [f"{given}: {none} {shorten(record[given])}"] if given else []
    if outcome != "label":
        return []
    rules: dict[str, Rule] = {}
    if kind == "rating":
        rules["rating"] = _grade, "a whole number from 1 to 5"
        if record.get("aspects") is not None:
            rules["aspects"] = _aspects, "names, each with a whole number from 1 to 5"
    elif kind == "edit" and form == "text":
        rules["edit"] = _text, "a text that is not empty"
    elif kind == "edit" and form == "picture":
        rules["edit"] = _controls, f"{', '.join(CONTROLS)}, each a number from {LEAST} to {MOST}"
    elif kind == "edit" and form == "sound":
        return ["responses: expected a text or a picture to edit, got a sound"]
    elif kind == "ranking" and form:
        some = f"different indices of the {n} responses, one or more"
        rules["order"] = (lambda v: _listing(v, n) and bool(v)), some
    elif kind == "pair":
        better = "0 or 1, the index of the better response"
        rules["choice"] = (lambda v: _whole(v) and v in (0, 1)), better
    for name in ANSWERS:
        if rules and name not in rules and record.get(name) is not None:
            return [f"{name}: expected none in a label of this kind, got {shorten(record[name])}"]
    return [
        f"{field}: expected {expected}, "
        + (f"got {shorten(record[field])}" if field in record else "but it is missing")
        for field, (right, expected) in rules.items()
        if not right(record.get(field))
    ]
