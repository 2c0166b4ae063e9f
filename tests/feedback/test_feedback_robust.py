"""Broken logs, hostile texts, killed writers: nothing that was good is lost, and nothing is run."""

import base64
import json
import random
import subprocess
import sys
from datetime import datetime
from html.parser import HTMLParser
from pathlib import Path

import datasets
import jsonschema
import pytest
from hostile import hostile_texts

from mmbook.feedback import Feedback, make_record
from mmbook.feedback.export import argilla, export, label_studio, trl
from mmbook.feedback.importing import from_rows, read_labels
from mmbook.feedback.items import make_items
from mmbook.feedback.log import append, replay
from mmbook.feedback.page import fragment
from mmbook.world import Scene

ROOT = Path(__file__).resolve().parents[2]
MUTATED, BETWEEN = 10_000, 10  # lines that are mutated, and how many of them stand between two good ones
URI = "data:image/png;base64,iVBORw0KGgo="
# A record as it was agreed on, written down a second time, for another library to check.
TEXT, WHOLE, AMOUNT = (
    {"type": "string", "minLength": 1},
    {"type": "integer"},
    {"type": "number", "minimum": 0},
)
GRADE = {"type": "integer", "minimum": 1, "maximum": 5}
INDEX = {"enum": [0, 1]}
STYLE = {"type": "number", "minimum": 0.25, "maximum": 4}
MEDIA = [
    {"type": "string"},
    *(
        {"type": "object", "required": [form], "properties": {form: {"format": form}}, "maxProperties": 1}
        for form in ("picture", "sound")
    ),
]


def answers(least, most):
    return {"anyOf": [{"type": "array", "items": x, "minItems": least, "maxItems": most} for x in MEDIA]}


SCHEMA = {
    "type": "object",
    "required": [
        *("schema", "id", "kind", "annotator", "time", "ms", "via", "side", "prompt"),
        *("responses", "outcome", "model", "temperature", "seed", "round"),
    ],
    "anyOf": [{"required": ["scene"]}, {"required": ["image"]}],
    "properties": {
        "schema": {"const": 1},
        "id": TEXT,
        "annotator": TEXT,
        "time": {"type": "string", "format": "moment"},
        "ms": AMOUNT,
        "via": {"enum": ["click", "key", "call"]},
        "side": INDEX,
        "prompt": {"type": "string"},
        "model": {"type": "string"},
        "temperature": {"anyOf": [AMOUNT, {"type": "null"}]},
        "seed": {"type": ["integer", "null"]},
        "round": WHOLE,
        "scene": {"format": "scene", "type": "object"},
        "image": {"anyOf": [{"type": "null"}, {"type": "string", "format": "picture"}]},
    },
}
NOTHING = {name: {"type": "null"} for name in ("choice", "rating", "aspects", "edit", "order")}
ASPECTS = {"type": ["object", "null"], "additionalProperties": GRADE, "propertyNames": {"minLength": 1}}
# Of each kind: the responses, the outcomes without an answer, and the answer.
KINDS = {
    "pair": (answers(2, 2), ["tie", "both_bad", "skip"], {"choice": INDEX}),
    "rating": (answers(1, 1), ["skip"], {"rating": GRADE, "aspects": ASPECTS}),
    "edit": (answers(1, 1), ["skip"], {"edit": {}}),
    "ranking": (answers(2, 99), ["skip"], {"order": {"type": "array", "minItems": 1, "uniqueItems": True}}),
}
FORMATS = jsonschema.FormatChecker(formats=())


@FORMATS.checks("moment")
def moment(value):
    try:
        return datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        return False


@FORMATS.checks("scene")
def scene(value):
    try:
        Scene.from_json(value)
    except ValueError:
        return False
    return True


def encoded(types, value):
    head, _, data = value.partition(",") if isinstance(value, str) else ("", "", "")
    try:
        return head in types and len(data) % 4 == 0 < len(base64.b64decode(data, validate=True))
    except ValueError:
        return False


FORMATS.checks("picture")(lambda v: encoded([f"data:image/{x};base64" for x in ("png", "jpeg", "webp")], v))
FORMATS.checks("sound")(lambda v: encoded([f"data:audio/{x};base64" for x in ("wav", "mpeg", "ogg")], v))
# 1.0 is a number, not an index or a grade
TYPES = jsonschema.Draft202012Validator.TYPE_CHECKER.redefine(
    "integer", lambda _, v: isinstance(v, int) and not isinstance(v, bool)
)
Validator = jsonschema.validators.extend(jsonschema.Draft202012Validator, type_checker=TYPES)
CHECK = Validator(SCHEMA, format_checker=FORMATS)
CHECKS = {}
for name, (responses, outcomes, answer) in KINDS.items():
    needed = [x for x in answer if x != "aspects"]
    CHECKS[name, True] = {"responses": responses, "outcome": {"const": "label"}, **NOTHING, **answer}, needed
    CHECKS[name, False] = {"responses": responses, "outcome": {"enum": outcomes}, **NOTHING}, []
CHECKS = {
    key: Validator({"properties": properties, "required": needed}, format_checker=FORMATS)
    for key, (properties, needed) in CHECKS.items()
}


def finite(value, deep=0):
    if isinstance(value, dict | list):
        inside = value.values() if isinstance(value, dict) else value
        return deep < 40 and all(finite(v, deep + 1) for v in inside)
    return not isinstance(value, float) or abs(value) < float("inf")


def whole(value):
    return isinstance(value, int) and not isinstance(value, bool)


def valid(record):
    """Whether a record is one, by the schema and what a schema cannot say."""
    if not CHECK.is_valid(record) or not all(map(finite, record.values())):
        return False
    label = record["outcome"] == "label"
    if not isinstance(record["kind"], str) or record["kind"] not in KINDS:
        return False
    if not CHECKS[record["kind"], label].is_valid(record):
        return False
    n = len(record["responses"])
    indices = [record[k] for k in ("side", "schema") if k in record]
    if record["kind"] == "pair" and label:
        indices.append(record["choice"])
    order = record["order"] if record["kind"] == "ranking" and label else []
    if not all(map(whole, [*indices, *order])) or not set(order) <= set(range(n)):
        return False
    shown = record.get("shown")
    if shown is not None and not (
        isinstance(shown, list) and all(map(whole, shown)) and sorted(shown) == list(range(n))
    ):
        return False
    if record["kind"] == "edit" and label:
        edit = record["edit"]
        if isinstance(record["responses"][0], str):
            return isinstance(edit, str) and edit != ""
        controls = {"brightness": STYLE, "contrast": STYLE, "saturation": STYLE}
        style = {"type": "object", "minProperties": 1, "properties": controls, "additionalProperties": False}
        return "picture" in record["responses"][0] and Validator(style).is_valid(edit)
    return True


@pytest.fixture(scope="module")
def every():
    """Records of every kind and form."""

    class Speaker:
        hash, prompt = "0123abcd", "Describe the picture."

        def sample(self, scenes, temperature=1.0, seed=0, greedy=False, samples=1):
            return [f"a cat {i}" for i in range(len(scenes) * samples)]

    told = {"annotator": "ann", "outcome": "label", "time": "2026-01-02T03:04:05.678Z"}
    pair, rating, edit, ranking = (
        make_items(Speaker(), 1, 0, kind=k)[0] for k in ("pair", "rating", "edit", "ranking")
    )
    drawn = {k: v for k, v in pair.items() if k != "scene"} | {
        "image": URI,
        "responses": [{"picture": URI}] * 2,
    }
    style = {**drawn, "kind": "edit", "responses": [{"picture": URI}]}
    records = [
        make_record(pair, **told, choice=1, side=1, ms=740, via="key"),
        make_record(pair, **{**told, "outcome": "tie"}),
        make_record(rating, **told, rating=5, aspects={"true": 4, "fluent": 1}),
        make_record(edit, **told, edit="a big cat"),
        make_record(ranking, **told, order=[2, 0], shown=[3, 1, 0, 2]),
        make_record(ranking, **{**told, "outcome": "skip"}),
        make_record(drawn, **told, choice=0),
        make_record(style, **told, edit={"contrast": 1.5}),
        make_record({**drawn, "image": None, "note": {"of": ["a", 1.5]}}, **told, choice=0),
    ]
    assert all(map(valid, records))
    return records


VALUES = [
    None,
    True,
    False,
    -1,
    0,
    1,
    2,
    0.5,
    1.0,
    10**400,
    1e308,
    "",
    "0",
    "label",
    "skip",
    "pair",
    [],
    [0],
    {},
    "\ud800",
    URI,
]


def mutate(rng, event, others):
    """A line that was damaged in one of the ways in which lines are damaged."""
    event = json.loads(json.dumps(event))
    record = event.get("record", event)
    place = rng.choice([event, record, record, record, record.get("scene", record)])
    way = rng.randrange(13)
    name, other = rng.choice(list(place)), rng.choice(list(place))
    if way == 0:
        place[name] = rng.choice(VALUES)
    elif way == 1:
        del place[name]
    elif way == 2:
        place[name], place[other] = place[other], place[name]
    elif way == 3:
        theirs = rng.choice(others)
        record[rng.choice(list(theirs))] = theirs[rng.choice(list(theirs))]
    elif way == 4:
        place[rng.choice(["extra", name])] = json.loads("[" * 60 + "]" * 60)
    elif way == 5:
        place[name] = rng.choice([float("nan"), float("inf"), -float("inf")])
    line = json.dumps(event, ensure_ascii=rng.random() < 0.5).encode("utf-8", "surrogatepass")
    if way == 6:
        return line.replace(b"{", b'{"%s": %s, ' % (name.encode(), rng.choice([b"0", b'"x"', b"[]"])), 1)
    if way == 7:
        again = b', "%s": %s}' % (name.encode(), rng.choice([b"1", b"null", b'"label"', b"{}"]))
        return line[: line.rindex(b"}")] + again
    if way == 8:
        return line.replace(b"{", b'{"deep": ' + b"[" * 5000 + b"]" * 5000 + b", ", 1)
    if way == 9:
        return line.replace(b"0", rng.choice([b"9" * 5000, b"1e999", b"-0", b"0x0", b"01"]), 1)
    at = rng.randrange(len(line))
    if way == 10:
        return line[:at]
    if way == 11:
        return line[:at] + line[at + rng.randint(1, 20) :]
    if way == 12:
        return line[:at] + bytes(rng.randrange(256) for _ in range(rng.randint(1, 4))) + line[at + 1 :]
    return line


def understood(line, live):
    """Whether a line is good, by rules of our own, and what it does to the live records."""
    try:
        event = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError):
        return False
    if not isinstance(event, dict):
        return False
    op = event.get("op", "label")
    if op == "items":
        return isinstance(event.get("hash"), str) and isinstance(event.get("n"), int)
    if op == "label":
        record = event.get("record") if "op" in event else event
        good = valid(record)
        live += [record] if good else []
        return good
    if op in ("undo", "keep"):
        who = event.get("annotator")
        at = [
            i
            for i, r in enumerate(live)
            if r["id"] == event.get("id") and ("annotator" not in event or r["annotator"] == who)
        ]
        if at and op == "undo":
            del live[at[-1]]
        return bool(at)
    return False


def test_ten_thousand_mutated_lines_cost_nothing_good(every, tmp_path):
    """Between each ten of them stands a good line."""
    rng, lines, live, bad = random.Random(0), [], [], []
    events = [{"op": "label", "record": r} for r in every] + every
    events += [{"op": "items", "schema": 1, "hash": "ab", "n": 9}]
    events += [
        {"op": op, "id": every[0]["id"], "annotator": "ann", "time": every[0]["time"]}
        for op in ("undo", "keep")
    ]
    for n in range(MUTATED):
        damaged = mutate(rng, rng.choice(events), every).replace(b"\n", b" ").replace(b"\r", b" ")
        lines.append(damaged)
        if n % BETWEEN == BETWEEN - 1:
            good = {**rng.choice(every), "id": f"good-{n}"}
            lines.append(json.dumps(rng.choice([good, {"op": "label", "record": good}])).encode())
    for number, line in enumerate(lines, 1):
        if line.strip() and not understood(line, live):
            bad.append(number)
    path = tmp_path / "log.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + b"\r\n".join(lines))
    found = replay(path)
    named = dict.fromkeys(int(p.split("line ")[1].split(":")[0]) for p in found.problems)
    assert list(named) == bad
    assert found.records == live
    kept = {r["id"] for r in found.records}
    assert {f"good-{n}" for n in range(BETWEEN - 1, MUTATED, BETWEEN)} <= kept
    assert 0.6 * MUTATED < len(bad) < 0.95 * MUTATED  # most are broken, many are not
    for problem in found.problems:
        assert problem.isprintable() and len(problem) < 300
        assert " expected " in problem or " not " in problem or "nested too deeply" in problem
    assert read_labels(path) == (found.records, found.problems)


def test_two_thousand_mutated_rows_cost_nothing_good(tmp_path):
    rng, chat = (
        random.Random(1),
        [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Say."}]}],
    )
    said = [{"role": "assistant", "content": "a cat"}]
    rows = [
        {"prompt": "Say.", "chosen": "a cat", "rejected": "a dog"},
        {"prompt": chat, "chosen": said, "rejected": [{**said[0], "content": "a dog"}], "images": []},
        {"chosen": chat + said, "rejected": [*chat, {**said[0], "content": "a dog"}]},
    ]
    lines = [mutate(rng, rng.choice(rows), rows).replace(b"\n", b" ") for _ in range(2000)]
    for n in range(0, 2000, BETWEEN):
        lines[n] = json.dumps({**rows[0], "chosen": f"good {n}"}).encode()
    (tmp_path / "rows.jsonl").write_bytes(b"\n".join(lines))
    records, problems = read_labels(tmp_path / "rows.jsonl")
    assert {f"good {n}" for n in range(0, 2000, BETWEEN)} <= {r["responses"][0] for r in records}
    assert all(map(valid, records)) and len(problems) > 500
    named = {int(p.split("line ")[1].split(":")[0]) for p in problems}
    assert len(named) + len(records) == sum(bool(line.strip()) for line in lines)
    assert from_rows(range(3))[1] == [f"row {n}: row: expected an object, got {n - 1}" for n in (1, 2, 3)]


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """A log of 1,000 hostile texts: as answers, prompts, notes, names and ids."""
    texts, records = hostile_texts(), []
    base = {"kind": "pair", "image": None, "model": "", "temperature": None, "seed": None, "round": 0}
    for i, text in enumerate(texts):
        answer = {"choice": 0} if i % 3 else {"outcome": "tie"}
        item = {
            **base,
            "id": f"{i}",
            "prompt": text,
            "responses": [text, f"another {i}"],
        }
        short = len(text) < 1000
        item |= {"note": {text: [text]} if short else {}}
        item |= {"id": text} if short and i % 5 == 0 else {}
        who = text if short and i % 7 == 0 else "ann"
        records.append(make_record(item, annotator=who, **{"outcome": "label", **answer}))
    path = tmp_path_factory.mktemp("hostile") / "log.jsonl"
    append(path, [{"op": "label", "record": r} for r in records])
    feedback = Feedback.from_log(path)
    assert feedback.records == records and not feedback.problems
    assert path.read_bytes().count(b"\n") == len(records)
    return feedback


def escaped(value):
    """With half surrogate pairs as their escapes, as other tools can read them."""
    if isinstance(value, dict):
        return {k: escaped(v) for k, v in value.items()}
    if isinstance(value, list):
        return [escaped(v) for v in value]
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value


@pytest.mark.parametrize(
    "form, ending",
    [
        ("records", "jsonl"),
        ("records", "json"),
        ("flat", "jsonl"),
        ("flat", "json"),
        ("flat", "csv"),
        ("flat", "parquet"),
    ],
)
def test_hostile_texts_survive_every_export_of_records(hostile, tmp_path, form, ending):
    path = export(hostile, tmp_path / f"out.{ending}", form)
    records, problems = read_labels(path)
    assert problems == [] and len(records) == len(hostile.records)
    for told, was in zip(records, hostile.records, strict=True):
        expected = {**was, "note": json.dumps(was["note"])} if form == "flat" else was
        if form == "flat":  # but in lists, which are JSON texts, half a pair stays one
            expected = {k: escaped(v) if isinstance(v, str) else v for k, v in expected.items()}
        assert told == expected and told["responses"] == was["responses"]


@pytest.mark.parametrize("ending", ["jsonl", "json", "csv", "parquet"])
def test_hostile_texts_survive_the_export_of_preferences(hostile, tmp_path, ending):
    path = export(hostile, tmp_path / f"out.{ending}", "trl")
    records, problems = read_labels(path)
    rows = [[escaped(x) for x in row.values()] for row in trl(hostile)]
    assert problems == [] and [[r["prompt"], *r["responses"]] for r in records] == rows
    assert len(rows) > 600
    if ending == "jsonl":
        table = datasets.load_dataset("json", data_files=str(path), cache_dir=str(tmp_path))["train"]
        assert [list(row.values()) for row in table] == rows


def test_hostile_texts_survive_what_other_tools_read(hostile, tmp_path):
    for form, rows in (("argilla", argilla(hostile)), ("label-studio", label_studio(hostile))):
        for ending in ("jsonl", "json"):
            text = export(hostile, tmp_path / f"out.{ending}", form).read_text(encoding="utf-8")
            told = json.loads(text) if ending == "json" else [json.loads(x) for x in text.split("\n")[:-1]]
            assert told == escaped(rows)


class Tags(HTMLParser):
    """What a browser would run: elements and attributes that are not the page's own."""

    def __init__(self):
        super().__init__()
        self.seen, self.wrong = set(), []

    def handle_starttag(self, tag, attributes):
        self.seen.add(tag)
        for name, value in attributes:
            if name.startswith("on") or (value or "").strip().lower().startswith("javascript:"):
                self.wrong.append((tag, name, value))
            if tag == "script" and name == "type" and value != "application/json":
                self.wrong.append((tag, name, value))
        if tag in ("iframe", "svg", "plaintext", "style", "a") or (tag == "script" and not attributes):
            self.wrong.append((tag, attributes))


def test_hostile_texts_are_escaped_where_they_are_shown_without_the_labeller(hostile, tmp_path):
    name = "<script>window.hacked=1<!-- &.jsonl"
    renamed = Feedback(hostile.items, tmp_path / name, annotator="<script>window.hacked=1</script>")
    for page in (hostile._repr_mimebundle_()["text/html"], fragment(hostile), fragment(renamed)):
        tags = Tags()
        tags.feed(page)
        assert tags.wrong == [] and tags.seen


def test_writers_are_killed_at_any_moment_and_no_acknowledged_label_is_lost(tmp_path):
    """The same program tries it 200 times for benchmarks/results/labeller-crash.json."""
    program = ROOT / "benchmarks" / "labeller_crash.py"
    out = tmp_path / "crash.json"
    subprocess.run([sys.executable, program, "--times", "20", "--out", out], check=True, timeout=120)
    total = json.loads(out.read_text())
    assert total["kills"] == 20 and total["acknowledged"] > 20
    assert total["lost"] == total["refused"] == 0


def test_writing_to_a_log_imports_no_torch():
    code = "import sys, mmbook.feedback.log; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
