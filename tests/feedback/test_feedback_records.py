"""What a record holds: a good one passes; a wrong field is named, with what was expected and what came."""

import copy
import json
import random

import pytest

from mmbook.feedback import make_record, validate

WRONG = [
    ("schema", 2, "the number 1"),
    ("schema", True, "the number 1"),
    ("id", "", "not empty"),
    ("kind", "essay", "'pair', 'rating'"),
    ("kind", ["pair"], "'pair', 'rating'"),
    ("annotator", 7, "a text"),
    ("time", "yesterday", "ISO 8601"),
    ("time", "2026-01-01T00:00:00", "with its zone"),
    ("ms", -1, "milliseconds"),
    ("ms", float("nan"), "milliseconds"),
    ("ms", True, "milliseconds"),
    ("via", "mind", "'click'"),
    ("side", 2, "0 or 1"),
    ("prompt", None, "a text"),
    ("responses", ["one"], "two texts"),
    ("responses", ["one", 2], "two texts"),
    ("responses", "ab", "two texts"),
    ("outcome", "maybe", "both_bad"),
    ("model", 1, "hash"),
    ("temperature", "hot", "a number"),
    ("seed", 0.5, "whole number"),
    ("round", None, "whole number"),
    ("choice", 2, "0 or 1"),
    ("choice", None, "0 or 1"),
    ("choice", "0", "0 or 1"),
    ("scene", {"stickers": []}, "one to three"),
    ("scene", "a cat", "artwork"),
]


def test_a_record_has_nothing_wrong_and_survives_json(records):
    for record in records:
        assert validate(record) == [] == validate(json.loads(json.dumps(record)))


@pytest.mark.parametrize("field, value, expected", WRONG, ids=[f"{f}-{v!r}"[:30] for f, v, _ in WRONG])
def test_a_wrong_field_is_named_with_what_was_expected(records, field, value, expected):
    wrong = validate({**records[0], field: value})
    assert len(wrong) == 1 and wrong[0].startswith(field) and expected in wrong[0] and "got" in wrong[0]


def test_a_rating_judges_one_response_from_one_to_five(records):
    item = {k: records[0][k] for k in ("id", "prompt", "model", "temperature", "seed", "round", "scene")}
    item |= {"kind": "rating", "responses": ["cat"]}
    record = make_record(item, annotator="reader", outcome="label", rating=5, via="click")
    assert validate(record) == [] and "choice" not in record
    for field, value, expected in (
        ("rating", 6, "from 1 to 5"),
        ("rating", True, "from 1 to 5"),
        ("responses", ["cat", "dog"], "one text"),
        ("outcome", "tie", "'label'"),
    ):
        wrong = validate({**record, field: value})
        assert len(wrong) == 1 and wrong[0].startswith(field) and expected in wrong[0]
    assert validate({**records[0], "kind": "rating"}) != []


def test_a_missing_field_is_named(records):
    for field in set(records[0]) - {"choice"}:
        wrong = validate({k: v for k, v in records[0].items() if k != field})
        assert any(message.startswith(field) and "missing" in message for message in wrong), field


def test_a_scene_that_cannot_exist_is_named(records):
    record = copy.deepcopy(records[0])
    record["scene"]["stickers"][0]["kind"] = "unicorn"
    assert ["unicorn" in m and m.startswith("scene.stickers[0]") for m in validate(record)] == [True]


def test_only_a_label_has_a_choice(items):
    for outcome in ("tie", "both_bad", "skip"):
        record = make_record(items[0], annotator="ann", outcome=outcome)
        assert validate(record) == [] and "choice" not in record
        assert "expected none" in validate({**record, "choice": 0})[0]


def test_records_with_anything_anywhere_never_crash(records):
    """Every field, and every field of the scene, is replaced by values of every JSON kind."""
    rng = random.Random(0)
    values = [
        None,
        True,
        -1,
        10**400,
        1e308,
        float("inf"),
        "",
        "\x00\ud800",
        [],
        [[]],
        {},
        {"op": {}},
        "label",
    ]
    for _ in range(3000):
        record = copy.deepcopy(rng.choice(records))
        place = rng.choice([record, record["scene"], record["scene"]["stickers"][0]])
        place[rng.choice(list(place))] = rng.choice(values)
        assert all(isinstance(message, str) for message in validate(record))
