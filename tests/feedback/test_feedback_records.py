"""What a record holds: a good one passes; a wrong field is named, with what was expected and what came."""

import copy
import json
import random

import pytest

from mmbook.feedback import make_record, validate

PICTURE, SOUND = "data:image/png;base64,iVBORw==", "data:audio/ogg;base64,T2dnUw=="
NESTED: list = []
for _ in range(40):
    NESTED = [NESTED]
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
    ("responses", ["one", {"picture": PICTURE}], "two texts, two pictures or two sounds"),
    ("responses", [{"picture": PICTURE}, {"sound": SOUND}], "two texts, two pictures or two sounds"),
    ("responses", [{"picture": SOUND}] * 2, "two texts, two pictures or two sounds"),
    ("responses", [{"picture": "https://example.org/a.png"}] * 2, "two texts, two pictures or two sounds"),
    ("responses", [{"sound": SOUND, "alt": "bang"}] * 2, "two texts, two pictures or two sounds"),
    ("image", "a.png", "a data URI of a PNG, JPEG or WebP picture, or null"),
    ("image", "data:image/svg+xml;base64,AAAA", "a data URI of a PNG, JPEG or WebP picture, or null"),
    ("image", PICTURE + "<", "a data URI of a PNG, JPEG or WebP picture, or null"),
    ("image", PICTURE + "A", "a data URI of a PNG, JPEG or WebP picture, or null"),
    ("shown", [0], "each index of the 2 responses once"),
    ("shown", [1, 1], "each index of the 2 responses once"),
    ("note", [float("nan")], "finite numbers"),
    ("note", NESTED, "at most 40 deep"),
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


def of_kind(record, kind, responses, **answer):
    item = {k: record[k] for k in ("id", "prompt", "model", "temperature", "seed", "round", "scene")}
    item |= {"kind": kind, "responses": responses}
    return make_record(item, annotator="reader", **{"outcome": "label", **answer})


PICTURES, SOUNDS = [{"picture": PICTURE}] * 3, [{"sound": SOUND}] * 3


@pytest.mark.parametrize(
    "kind, responses, answer",
    [
        ("pair", PICTURES[:2], {"choice": 1, "shown": [1, 0], "side": 1}),
        ("pair", SOUNDS[:2], {"outcome": "both_bad"}),
        ("rating", SOUNDS[:1], {"rating": 1, "aspects": {"clear": 5, "true": 1}}),
        ("rating", ["cat"], {"outcome": "skip"}),
        ("edit", ["cat"], {"edit": "a cat"}),
        ("edit", PICTURES[:1], {"edit": {"brightness": 0.25, "contrast": 1, "saturation": 4}}),
        ("edit", PICTURES[:1], {"outcome": "skip"}),
        ("edit", SOUNDS[:1], {"outcome": "skip"}),
        ("ranking", ["a", "b", "c"], {"order": [2], "shown": [2, 0, 1]}),
        ("ranking", PICTURES, {"order": [2, 0, 1]}),
        ("ranking", SOUNDS, {"outcome": "skip", "shown": [0, 1, 2]}),
    ],
)
def test_every_form_of_answer_is_a_record(records, kind, responses, answer):
    record = of_kind(records[0], kind, responses, **answer)
    assert validate(record) == [] == validate(json.loads(json.dumps(record)))
    without = {k: v for k, v in record.items() if k != "scene"}
    assert (
        validate({**without, "image": None})
        == []
        == validate({**without, "image": PICTURE, "note": {"a": [1]}})
    )
    assert [m.split(":")[0] for m in validate(without)] == ["scene"]


@pytest.mark.parametrize(
    "kind, responses, answer, expected",
    [
        (
            "rating",
            ["a"],
            {"rating": 3, "aspects": {"": 3}},
            "aspects: expected names, each with a whole number",
        ),
        ("rating", ["a"], {"rating": 3, "aspects": {"true": 6}}, "aspects: expected names, each with"),
        ("rating", ["a"], {"rating": 3, "aspects": {"true": True}}, "aspects: expected names, each with"),
        ("rating", ["a"], {"aspects": {"true": 5}}, "rating: expected a whole number from 1 to 5, but it is"),
        ("rating", ["a"], {"outcome": "skip", "rating": 3}, "rating: expected none, as the outcome is skip"),
        ("rating", ["a"], {"outcome": "skip", "aspects": {"true": 3}}, "aspects: expected none, as the"),
        ("edit", ["a"], {"edit": {"contrast": 1}}, "edit: expected a text that is not empty"),
        (
            "edit",
            PICTURES[:1],
            {"edit": "a"},
            "edit: expected brightness, contrast, saturation, each a number",
        ),
        ("edit", PICTURES[:1], {"edit": {}}, "edit: expected brightness, contrast, saturation"),
        ("edit", PICTURES[:1], {"edit": {"contrast": 4.5}}, "each a number from 0.25 to 4, got"),
        ("edit", PICTURES[:1], {"edit": {"contrast": float("nan")}}, "each a number from 0.25 to 4, got"),
        ("edit", PICTURES[:1], {"edit": {"hue": 1}}, "edit: expected brightness, contrast, saturation"),
        ("edit", SOUNDS[:1], {"edit": "a"}, "responses: expected a text or a picture to edit, got a sound"),
        ("ranking", ["a", "b", "c"], {"order": [0, True]}, "order: expected different indices of the 3"),
        ("ranking", ["a", "b"], {"outcome": "skip", "order": [0]}, "order: expected none, as the outcome is"),
        ("ranking", ["a", "b"], {"order": [0], "shown": [0, 2]}, "shown: expected each index of the 2"),
        ("ranking", ["a", "b"], {"outcome": "both_bad"}, "outcome: expected 'label' or 'skip'"),
    ],
)
def test_a_wrong_answer_of_each_form_is_named(records, kind, responses, answer, expected):
    wrong = validate(of_kind(records[0], kind, responses, **answer))
    assert len(wrong) == 1 and expected in wrong[0]


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
        record = make_record(items[0], annotator="ann", outcome=outcome, shown=[1, 0])
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
