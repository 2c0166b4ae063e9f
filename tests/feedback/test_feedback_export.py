"""What other tools read is what was labelled."""

import csv
import json
from xml.etree import ElementTree

import datasets
import pytest

from mmbook.feedback import Feedback, SimulatedAnnotator, collect_human_feedback, make_record
from mmbook.feedback.export import STUDIO, argilla, export, flat, label_studio, trl
from mmbook.feedback.log import append, replay

HOSTILE = '=1+1, "quoted"\n<script>alert(1)</script>\u202e\ud83d'


@pytest.fixture
def feedback(tmp_path, items):
    """Choices by two people, a tie, both bad, a skip, and a caption that tries to escape."""
    items[4]["responses"][0] = HOSTILE
    outcomes = [("label", 0), ("label", 1), ("tie", None), ("both_bad", None), ("label", 1), ("skip", None)]
    records = [
        make_record(item, annotator="ann", outcome=o, choice=c, side=1, ms=1500)
        for item, (o, c) in zip(items, outcomes, strict=True)
    ]
    records.append(make_record(items[0], annotator="bob", outcome="label", choice=1))
    append(tmp_path / "log.jsonl", [{"op": "label", "record": r} for r in records])
    return Feedback.from_log(tmp_path / "log.jsonl")


def test_trl_gets_chosen_and_rejected(feedback, items):
    rows = trl(feedback)
    assert [(r["chosen"], r["rejected"]) for r in rows] == [
        tuple(items[0]["responses"]),
        tuple(items[1]["responses"][::-1]),
        (items[4]["responses"][1], HOSTILE),
        tuple(items[0]["responses"][::-1]),
    ]
    assert {r["prompt"] for r in rows} == {items[0]["prompt"]}
    with_pictures = trl(feedback, images=True)
    assert with_pictures[0]["images"][0].shape == (48, 48, 3)
    assert with_pictures[0]["prompt"][0]["content"][0] == {"type": "image"}
    assert with_pictures[1]["chosen"][0]["content"][0]["text"] == rows[1]["chosen"]


def test_an_edit_is_chosen_over_its_original(speaker):
    edits = collect_human_feedback(speaker, 8, SimulatedAnnotator("terse"), kind="edit")
    changed = [r for r in edits.records if r["edit"] != r["responses"][0]]
    assert [(r["chosen"], r["rejected"]) for r in trl(edits)] == [
        (r["edit"], r["responses"][0]) for r in changed
    ]


def test_argilla_gets_one_record_an_item_with_everybodys_answer(feedback, items):
    rows = {r["id"]: r for r in argilla(feedback)}
    assert rows[items[0]["id"]]["responses"]["better"] == [
        {"value": "first", "user_id": "ann"},
        {"value": "second", "user_id": "bob"},
    ]
    assert rows[items[2]["id"]]["responses"]["better"][0]["value"] == "tie"
    assert rows[items[4]["id"]]["fields"]["first"] == HOSTILE and items[5]["id"] not in rows


def test_label_studio_gets_tasks_that_fit_its_configuration(feedback, items):
    tasks = {t["data"]["id"]: t for t in label_studio(feedback)}
    first = tasks[items[0]["id"]]["annotations"]
    assert [a["result"][0]["value"]["selected"] for a in first] == ["left", "right"]
    assert first[0]["lead_time"] == 1.5 and len(tasks) == 5
    view = ElementTree.fromstring(STUDIO)
    controls = {node.get("name"): (node.tag.lower(), node.get("toName")) for node in view}
    choices = {node.get("value") for node in view.iter("Choice")}
    for task in tasks.values():
        for result in (a["result"][0] for a in task["annotations"]):
            assert controls[result["from_name"]] == (result["type"], result["to_name"])
            assert set(result["value"].get("choices", [])) <= choices
        assert all(f"${key}" in STUDIO for key in task["data"] if key != "id")


def test_aspects_styles_pictures_and_what_was_skipped(tmp_path, speaker, items):
    uri, told = "data:image/png;base64,AAAA", {"annotator": "ann", "outcome": "label"}
    bare = {k: v for k, v in items[0].items() if k != "scene"} | {"image": None}
    one = bare | {"kind": "rating", "responses": ["a cat"], "id": "1"}
    drawn = [{"picture": uri}, {"picture": uri + "BBBB"}]
    records = [
        make_record(one, **told, rating=4, aspects={"true": 5, "rating": 2}),
        make_record(one, annotator="bob", outcome="skip"),
        make_record(one | {"kind": "edit", "responses": drawn[:1], "id": "2"}, **told, edit={"contrast": 2}),
        make_record(bare | {"responses": drawn, "id": "3"}, **told, choice=1),
        make_record(bare | {"id": "4"}, **told, choice=1),
    ]
    append(tmp_path / "log", [{"op": "label", "record": r} for r in records])
    feedback = Feedback.from_log(tmp_path / "log")
    graded, styled, shown, _ = argilla(feedback)
    assert {k: [x["value"] for x in v] for k, v in graded["responses"].items()} == {
        "rating": [4],
        "aspect-true": [5],
        "aspect-rating": [2],
    }
    assert json.loads(styled["responses"]["edit"][0]["value"]) == {"contrast": 2}
    assert shown["fields"] == {"prompt": bare["prompt"], "first": uri, "second": uri + "BBBB"}
    assert [t["data"]["id"] for t in label_studio(feedback)] == ["4"]
    (row,) = trl(feedback, images=True)
    assert row["images"] == [] and row["prompt"][0]["content"] == [{"type": "text", "text": bare["prompt"]}]
    table = datasets.Dataset.from_parquet(str(export(feedback, tmp_path / "flat.parquet", "flat")))
    assert json.loads(table[0]["aspects"]) == {"true": 5, "rating": 2} and table[1]["rating"] is None


def test_records_come_back_as_they_were(feedback, tmp_path):
    path = export(feedback, tmp_path / "out.jsonl")
    again = replay(path)
    assert not again.problems and again.records == feedback.records
    text = json.dumps(argilla(feedback)).replace("\\ud83d", "\\\\ud83d")  # no half pair for other tools
    assert json.loads(export(feedback, tmp_path / "out.json", "argilla").read_text()) == json.loads(text)


def test_tables_hold_every_value(feedback, tmp_path):
    with export(feedback, tmp_path / "out.csv", "flat").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [json.loads(r["responses"]) for r in rows] == [r["responses"] for r in feedback.records]
    assert [r["choice"] for r in rows][:3] == ["0", "1", ""]
    assert export(feedback, tmp_path / "trl.csv", "trl").read_text(encoding="utf-8").count("script") == 2
    table = datasets.Dataset.from_parquet(str(export(feedback, tmp_path / "out.parquet", "flat")))
    assert table["id"] == [r["id"] for r in flat(feedback)] and table["choice"][2] is None
    assert datasets.Dataset.from_list(trl(feedback)[:2])["chosen"] == [r["chosen"] for r in trl(feedback)[:2]]


def test_refusals(feedback, tmp_path, items):
    with pytest.raises(ValueError, match="records, flat, trl, argilla, label-studio"):
        export(feedback, tmp_path / "x.json", "excel")
    with pytest.raises(ValueError, match=r"\.jsonl, \.json, \.csv or \.parquet, got 'x\.txt'"):
        export(feedback, tmp_path / "x.txt")
    with pytest.raises(ValueError, match="a table"):
        export(feedback, tmp_path / "x.csv", "argilla")
    skipped = make_record(items[0], annotator="ann", outcome="skip")
    append(tmp_path / "skipped", [{"op": "label", "record": skipped}])
    with pytest.raises(ValueError, match="no judgement to write as trl"):
        export(Feedback.from_log(tmp_path / "skipped"), tmp_path / "x.jsonl", "trl")
