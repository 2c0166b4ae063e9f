"""One importer reads logs, page downloads, exports and TRL's rows, and names what it cannot read."""

import csv
import io
import json

import datasets
import numpy as np
import pytest
from PIL import Image

from mmbook.feedback import Feedback, SimulatedAnnotator, collect_human_feedback, make_record
from mmbook.feedback.agreement import first_shown
from mmbook.feedback.export import export, to_datasets, trl
from mmbook.feedback.importing import from_rows, read_labels
from mmbook.feedback.log import append
from mmbook.feedback.media import decode_picture, picture_uri
from mmbook.world import Scene, normalise, render

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
URI = picture_uri(PIXELS, colours=0)
ROW = {"prompt": "Say it.", "chosen": "a cat", "rejected": "a dog"}


def encoded(form="PNG"):
    file = io.BytesIO()
    Image.fromarray(PIXELS).save(file, form)
    return file.getvalue()


def says(role, text, *, image=False):
    parts = [{"type": "image", "text": None}] * image
    return {"role": role, "content": [*parts, {"type": "text", "text": text}]}


def told(record):
    return record["prompt"], *record["responses"]


@pytest.fixture
def every(speaker, tmp_path):
    """A log of every kind, every outcome, with pictures and without."""
    records = []
    for kind in ("pair", "rating", "edit", "ranking"):
        reader = SimulatedAnnotator("terse" if kind == "pair" else "utility")
        records += collect_human_feedback(speaker, 8, reader, kind=kind).records
    bare = {k: v for k, v in records[0].items() if k not in ("scene", "choice")}
    texts = {**bare, "responses": ["a cat", "a dog"], "outcome": "label"}
    records += [
        {**texts, "id": "pictured", "image": URI, "choice": 1},
        {**texts, "id": "bare", "image": None, "choice": 0, "seed": 2**70, "note": {"from": ["x"]}},
        {**texts, "id": "drawn", "image": None, "responses": [{"picture": URI}] * 2, "outcome": "both_bad"},
        {**records[8], "id": "graded", "aspects": {"true": 5, "fluent": 2}, "ms": 12.5},
        {**records[24], "id": "partial", "order": [2], "shown": [3, 1, 0, 2]},
        {**texts, "id": "skipped", "image": None, "outcome": "skip"},
    ]
    style = {**texts, "id": "style", "image": None, "kind": "edit", "responses": [{"picture": URI}]}
    records.append({**style, "edit": {"contrast": 1.5, "saturation": 0.25}})
    append(tmp_path / "log.jsonl", [{"op": "label", "record": r} for r in records])
    feedback = Feedback.from_log(tmp_path / "log.jsonl")
    assert feedback.records == records and not feedback.problems
    return feedback


@pytest.mark.parametrize(
    "form, ending",
    [("records", "jsonl"), ("records", "json"), *(("flat", x) for x in ("jsonl", "json", "csv", "parquet"))],
)
def test_exports_come_back_as_they_were(every, tmp_path, form, ending):
    path = export(every, tmp_path / f"out.{ending}", form)
    records, problems = read_labels(path)
    expected = every.records
    if form == "flat":  # a field that this schema does not know is a JSON text
        expected = [{**r, "note": json.dumps(r["note"])} if "note" in r else r for r in expected]
    assert problems == [] and records == expected
    again = Feedback.from_log(path)
    assert len(again.judgements()) == len(every.judgements())
    assert [j.captions for j in again.judgements()] == [j.captions for j in every.judgements()]


def test_datasets_come_back_with_their_pictures(every):
    table = to_datasets(every)
    assert isinstance(table.features["image"], datasets.Image) and len(table) == len(every.records)
    records, problems = from_rows(table)
    expected = [{**r, "note": json.dumps(r["note"])} if "note" in r else r for r in every.records]
    assert problems == [] and records == expected
    rows = to_datasets(every, "trl")
    assert rows.features["images"] == datasets.List(datasets.Image())
    pairs = trl(every)
    records, problems = from_rows(rows, annotator="ann")
    assert problems == [] and [told(r) for r in records] == [tuple(row.values()) for row in pairs]
    assert {(r["annotator"], r["choice"], r["imported"]) for r in records} == {("ann", 0, True)}
    by_text = {told(r)[1:]: r["image"] for r in records}
    assert (decode_picture(by_text["a dog", "a cat"]) == PIXELS).all() and by_text["a cat", "a dog"] is None
    judged = next(j for j in every.judgements() if isinstance(j.scene, Scene) and j.kind == "pair")
    assert (decode_picture(by_text[judged.captions]) == render([judged.scene])[0]).all()
    with pytest.raises(ValueError, match="expected flat or trl"):
        to_datasets(every, "csv")


@pytest.mark.parametrize("ending", ["jsonl", "json", "csv", "parquet"])
def test_preferences_come_back_and_are_what_datasets_reads(every, tmp_path, ending):
    path = export(every, tmp_path / f"trl.{ending}", "trl")
    pairs = [tuple(row.values()) for row in trl(every)]
    form = {"jsonl": "json"}.get(ending, ending)
    table = datasets.load_dataset(form, data_files=str(path), cache_dir=str(tmp_path / "cache"))["train"]
    assert [tuple(row.values()) for row in table] == pairs
    records, problems = read_labels(path)
    assert problems == [] and [told(r) for r in records] == pairs
    feedback = Feedback.from_log(path)
    assert [told(r) for r in feedback.records] == pairs and len(feedback.items) == len(pairs)
    assert feedback.pairs() == []  # nothing is known of the pictures
    assert [tuple(row.values()) for row in trl(feedback)] == pairs
    before = path.read_bytes()
    with pytest.raises(ValueError, match="rows of another tool"):
        feedback.append([{"op": "undo", "id": feedback.records[0]["id"]}])
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "row",
    [
        ROW,
        {k: [says("x", v)] for k, v in ROW.items()},
        {
            "prompt": [{"role": "user", "content": "Say it."}],
            "chosen": [{"role": "assistant", "content": "a cat"}],
            "rejected": [{"role": "assistant", "content": "a dog"}],
        },
        {
            "chosen": [says("user", "Say it.", image=True), says("assistant", "a cat")],
            "rejected": [says("user", "Say it.", image=True), says("assistant", "a dog")],
        },
        {
            "prompt": "Say it.",
            "chosen": [says("user", "Say it."), says("assistant", "a cat")],
            "rejected": [says("user", "Say it."), says("assistant", "a dog")],
        },
        {
            "prompt": "Say it.",
            "chosen": [says("assistant", "a cat")],
            "rejected": [says("assistant", "a dog")],
        },
    ],
)
def test_every_form_of_preference_says_the_same(row):
    records, problems = from_rows([row, {**row, "images": [URI]}, {**row, "images": []}])
    assert problems == [] and [told(r) for r in records] == [("Say it.", "a cat", "a dog")] * 3
    assert [r["image"] for r in records] == [None, URI, None] and len({r["id"] for r in records}) == 2
    assert first_shown(records) == {}  # nobody knows


def test_the_prompt_is_what_both_begin_with():
    chosen = "Human: A pet?\n\nAssistant: a cat sat"
    row = {"chosen": chosen, "rejected": chosen.replace("cat", "car")}
    records, _ = from_rows([row, {"chosen": "a", "rejected": "a"}])
    assert told(records[0]) == ("Human: A pet?\n\nAssistant: a ", "cat sat", "car sat")
    assert len(records) == 1  # the other has no prompt
    talk = [says("system", "Be brief."), says("user", "A pet?")]
    records, _ = from_rows(
        [
            {"chosen": [*talk, says("assistant", x)], "rejected": [*talk, says("assistant", "b")]}
            for x in ("a", "c")
        ]
    )
    assert told(records[0]) == ("system: Be brief.\n\nuser: A pet?", "a", "b")


def test_pictures_in_every_form(tmp_path):
    (tmp_path / "data" / "in").mkdir(parents=True)
    (tmp_path / "data" / "in" / "a.png").write_bytes(encoded())
    (tmp_path / "secret.png").write_bytes(encoded())
    forms = [
        Image.fromarray(PIXELS),
        PIXELS,
        encoded(),
        encoded("WEBP"),
        {"bytes": encoded(), "path": None},
        {"bytes": None, "path": "in/a.png"},
        "in/a.png",
        URI,
        "data:image/png;charset=utf-8;base64," + URI.partition(",")[2],
    ]
    records, problems = from_rows([{**ROW, "images": [x]} for x in forms], folder=tmp_path / "data")
    assert problems == [] and {told(r) for r in records} == {tuple(ROW.values())}
    for i, record in enumerate(records):
        decoded = decode_picture(record["image"]).astype(int)
        assert abs(decoded - PIXELS).max() <= (0 if i != 3 else 255) and decoded.shape == PIXELS.shape
    assert records[0]["image"].startswith("data:image/png") and records[3]["image"].startswith(
        "data:image/webp"
    )
    wrong = [
        (
            "https://example.org/a.png",
            "images: expected a picture that is here, got a URL, which is not fetched",
        ),
        ("../secret.png", "images: expected a file in data/, got '../secret.png'"),
        (str(tmp_path / "secret.png"), "images: expected a file in data/"),
        ("in/b.png", "images: expected a file in data/"),
        ("\0", "images: "),
        (b"<svg/>", "images: picture: expected a PNG, JPEG or WebP file, got 6 bytes"),
        ("data:image/png;base64,AAAA", "images: picture: expected a PNG"),
        (7, "images: expected a picture, its bytes, a data URI or a file, got 7"),
        ({}, "images: expected a picture, its bytes"),
        (PIXELS.astype(float), "images: pixels: expected uint8 (H, W, 3)"),
    ]
    rows = [{**ROW, "images": [x]} for x, _ in wrong] + [{**ROW, "images": [URI, URI]}, {**ROW, "image": "x"}]
    records, problems = from_rows(rows, folder=tmp_path / "data")
    assert records == [] and len(problems) == 12
    for n, ((_, expected), problem) in enumerate(zip(wrong, problems, strict=False), 1):
        assert problem.startswith(f"row {n}: {expected}"), problem
    assert problems[10] == "row 11: images: expected one picture, got 2"
    assert problems[11].startswith("row 12: image: expected a file in data/, got 'x'")
    assert "without its folder" in from_rows([{**ROW, "images": ["in/a.png"]}])[1][0]


def test_every_bad_row_is_named_and_the_rest_kept(tmp_path):
    rows = [
        (ROW, None),
        ({"prompt": "x", "rejected": "b"}, "chosen: expected a text or a list of messages, got None"),
        ({**ROW, "rejected": 7}, "rejected: expected a text or a list of messages, got 7"),
        ({**ROW, "chosen": []}, "chosen: expected a text or a list of messages, got []"),
        ({**ROW, "chosen": ["a"]}, "chosen[0]: expected a message, role and content, got 'a'"),
        (
            {**ROW, "chosen": [{"role": "user", "content": [{"type": "video"}]}]},
            "chosen[0].content: expected",
        ),
        ({**ROW, "chosen": [{"role": "user"}]}, "chosen[0].content: expected a text, or a list of texts and"),
        ({"chosen": "a", "rejected": "b"}, "prompt: expected one, or chosen and rejected that begin alike"),
        ([ROW], "row: expected an object"),
        ({"completion": "a", "label": True}, "chosen: expected a text or a list of messages, got None"),
        ({"kind": "pair", "id": "x"}, "schema: expected the number 1, but it is missing"),
        ({"kind": "pair", "scene": "{"}, "scene: expected JSON, got '{'"),
        ({**ROW, "chosen": "another"}, None),
    ]
    for name in ("rows.jsonl", "rows.json"):
        lines = [json.dumps(row) for row, _ in rows]
        if name == "rows.jsonl":
            text = "\r\n".join([lines[0], "{broken", *lines[1:], "", '{"chosen": "\xff"}', "[" * 5000])
            data = text.encode("latin-1")
        else:
            data = f"[{','.join(lines)}]".encode()
        (tmp_path / name).write_bytes(b"\xef\xbb\xbf" + data)
        records, problems = read_labels(tmp_path / name, annotator="eve")
        assert [told(r)[1] for r in records] == ["a cat", "another"]
        assert {r["annotator"] for r in records} == {"eve"}
        where = "line" if name == "rows.jsonl" else "row"
        for n, (_, expected) in enumerate(rows, 1):
            number = n + (where == "line" and n > 1)
            mine = [p for p in problems if p.startswith(f"{name}, {where} {number}:")]
            assert bool(mine) == (expected is not None)
            assert expected is None or expected in mine[0]
        if where == "line":
            assert problems[0].startswith("rows.jsonl, line 2: not JSON in UTF-8: Expecting")
            assert (
                "line 16: not JSON in UTF-8: 'utf-8' codec" in problems[-2] and "too deeply" in problems[-1]
            )
        assert Feedback.from_log(tmp_path / name).problems == [p.replace("eve", "imported") for p in problems]


def test_a_table_with_long_and_odd_texts(tmp_path):
    long = {"prompt": "", "chosen": "x" * 10**6, "rejected": 'a\r\n"b",\0\u2028c'}
    with (tmp_path / "rows.csv").open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, list(long))
        writer.writeheader()
        writer.writerow(long)
    limit = csv.field_size_limit()
    records, problems = read_labels(tmp_path / "rows.csv")
    assert problems == [] and told(records[0]) == tuple(long.values()) and csv.field_size_limit() == limit
    (tmp_path / "rows.csv").write_bytes(b"prompt,chosen,rejected\np,a\xff,b\np,c,d\n")
    records, problems = read_labels(tmp_path / "rows.csv")
    assert len(records) == 1 and problems == [
        "rows.csv, row 1: 'chosen': expected UTF-8 text, got 'a\\udcff'"
    ]
    (tmp_path / "rows.csv").write_bytes(b"prompt,chosen,rejected\np,a,b,c,d\np,a\n")
    records, problems = read_labels(tmp_path / "rows.csv")
    assert told(records[0]) == ("p", "a", "b")
    assert problems == ["rows.csv, row 2: rejected: expected a text or a list of messages, got None"]
    half = {"prompt": "p", "chosen": "\udc85", "rejected": "b"}
    assert told(from_rows([half])[0][0]) == tuple(half.values())


def test_a_page_download_is_read_like_the_log_itself(speaker, tmp_path):
    feedback = collect_human_feedback(speaker, 4, SimulatedAnnotator("terse"), tmp_path / "log.jsonl")
    extra = make_record(feedback.items[0], annotator="reader", outcome="skip")
    feedback.append(
        [
            {"op": "keep", "id": feedback.items[1]["id"], "annotator": feedback.annotator},
            {"op": "undo", "id": feedback.items[0]["id"], "annotator": feedback.annotator},
            {"op": "label", "record": extra},
        ]
    )
    data = b"\xef\xbb\xbf" + feedback.path.read_bytes().replace(b"\n", b"\r\n")
    (tmp_path / "labels (1).jsonl").write_bytes(data)
    again = Feedback.from_log(tmp_path / "labels (1).jsonl")
    assert again.records == feedback.records and not again.problems and len(again.records) == 4
    assert read_labels(tmp_path / "labels (1).jsonl") == (feedback.records, [])
    assert normalise(again.items[0]["responses"][0])


def test_what_holds_no_feedback_is_an_error(tmp_path):
    for name, data, expected in (
        ("a.jsonl", b"", "the log is empty"),
        ("a.json", b"[]", "no row can be read as feedback. The first: it has no rows"),
        ("b.json", b'[{"chosen": 1}]', r"b.json, row 1: chosen: expected a text"),
        ("c.jsonl", b'{"chosen": 1}\n', r"c.jsonl, line 1: chosen: expected a text"),
        ("d.csv", b"prompt,chosen\n", "it has no rows"),
        ("e.parquet", b"PAR1 and nothing else", "expected a parquet file"),
        ("f.jsonl", b"hello\n", "no line can be read as feedback"),
    ):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ValueError, match=expected):
            read_labels(tmp_path / name)
        with pytest.raises(ValueError, match=name):
            Feedback.from_log(tmp_path / name)
    with pytest.raises(FileNotFoundError, match="check the path"):
        read_labels(tmp_path / "nowhere.json")
    with pytest.raises(OSError, match="cannot be read"):
        read_labels(tmp_path)
