"""The labeller of buttons, clicked in the kernel; what it did is read from the disk."""

import html
import json

import pytest

from mmbook.feedback import Feedback, collect_human_feedback, read_log, shown_first
from mmbook.feedback.basic import ACTS, BasicLabeller

HOSTILE = [
    "<img src=x onerror='alert(1)'><script>alert(1)</script>",
    "&lt;b&gt; \u202eevil \x00 \" ' </p>\ud800",
]


@pytest.fixture
def feedback(items, tmp_path):
    return Feedback(items, tmp_path / "log.jsonl", "ann", seed=7, live=True)


def click(labeller, *acts):
    for act in acts:
        labeller.buttons[act].click()


def test_each_button_writes_the_record_that_it_says(feedback, items):
    labeller = BasicLabeller(feedback)
    assert not feedback.path.exists()
    click(labeller, *ACTS)
    records, problems = read_log(feedback.path)
    assert [r["id"] for r in records] == [item["id"] for item in items[:5]] and not problems
    assert [r["outcome"] for r in records] == ["label", "label", "tie", "both_bad", "skip"]
    sides = [shown_first(7, "ann", item["id"]) for item in items]
    assert [r["side"] for r in records] == sides[:5]
    assert [records[0]["choice"], records[1]["choice"]] == [sides[0], 1 - sides[1]]
    assert {r["via"] for r in records} == {"click"} and all(0 <= r["ms"] < 10_000 for r in records)


def test_the_first_response_shown_is_the_one_whose_button_is_called_first(feedback, items):
    labeller = BasicLabeller(feedback)
    for _ in items:
        first = labeller.pages[1].value
        click(labeller, "first")
        record = feedback.records[-1]
        assert html.escape(record["responses"][record["choice"]]) in first
    assert labeller.pages[3].value == "6 of 6 judged" and labeller.pages[0].value == ""
    click(labeller, "first", "tie", "skip")
    assert len(feedback.records) == 6  # there is nothing left to judge


def test_undo_asks_again_and_another_labeller_goes_on(feedback, items):
    labeller = BasicLabeller(feedback)
    click(labeller, "undo")
    assert not feedback.path.exists()
    click(labeller, "first", "second", "undo")
    assert [r["id"] for r in feedback.records] == [items[0]["id"]] and labeller.next == items[1]["id"]
    operations = [json.loads(line)["op"] for line in feedback.path.read_text().splitlines()]
    assert operations == ["items", "label", "label", "undo"]
    assert BasicLabeller(feedback).next == items[1]["id"]


def test_captions_are_shown_as_text(items, tmp_path):
    hostile = [{**item, "responses": HOSTILE} for item in items]
    labeller = BasicLabeller(Feedback(hostile, tmp_path / "log"))
    shown = labeller.pages[1].value + labeller.pages[2].value
    assert "<img" not in shown and "<script" not in shown and shown.count("<p ") == 2
    for text in HOSTILE:
        assert html.escape(text) in shown
    click(labeller, "first")
    assert read_log(tmp_path / "log")[0][0]["responses"] == HOSTILE


def test_it_is_chosen_by_argument_or_by_the_environment(speaker, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    feedback = collect_human_feedback(speaker, 3, labeller="basic")
    labeller = feedback.show()
    assert isinstance(labeller, BasicLabeller) and feedback.show() is labeller
    bundle = feedback._repr_mimebundle_()
    assert bundle["application/vnd.jupyter.widget-view+json"]["model_id"] == labeller.model_id
    assert feedback.items[0]["id"] in bundle["text/html"]
    assert not isinstance(collect_human_feedback(speaker, 3).show(), BasicLabeller)
    monkeypatch.setenv("MMBOOK_LABELLER", "basic")
    assert isinstance(collect_human_feedback(speaker, 3).show(), BasicLabeller)
    assert not isinstance(collect_human_feedback(speaker, 3, labeller="widget").show(), BasicLabeller)
    with pytest.raises(
        ValueError, match="'basic' asks about pairs, got kind='rating'; use labeller='widget'"
    ):
        collect_human_feedback(speaker, 3, kind="rating")
    with pytest.raises(ValueError, match="labeller: expected one of widget, basic, got 'best'"):
        collect_human_feedback(speaker, 3, labeller="best")


def test_other_kinds_are_refused(items, tmp_path):
    rating = [{**item, "kind": "rating", "responses": item["responses"][:1]} for item in items]
    with pytest.raises(ValueError, match="'basic' asks about pairs, got rating; use labeller='widget'"):
        BasicLabeller(Feedback(rating, tmp_path / "log"))
