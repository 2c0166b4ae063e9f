"""The labeller's kernel side, driven by the messages of a page, and its list for pages without a kernel."""

import base64
import io
import json
import re
import shutil
import subprocess
from importlib.resources import files

import numpy as np
import pytest
from PIL import Image

from mmbook.feedback import Feedback, read_log, shown_first
from mmbook.feedback.labeller import NO_KERNEL, listing, pictures
from mmbook.world import Scene, render

SCRIPT = files("mmbook.feedback") / "labeller.js"


@pytest.fixture
def feedback(items, tmp_path):
    return Feedback(items, tmp_path / "log.jsonl", "ann", seed=7, live=True)


def label(n, item, choice=0, **more):
    return {
        "n": n,
        "op": "label",
        "id": item["id"],
        "outcome": "label",
        "choice": choice,
        "side": 1,
        "ms": 900,
        "via": "key",
        "time": "2026-01-01T00:00:00.000Z",
        **more,
    }


def send(widget, **pages):
    widget.set_state({"outbox": pages})  # what ipywidgets does with a message from the page


def test_a_click_is_acknowledged_when_it_is_on_the_disk(feedback, items, monkeypatch):
    widget = feedback.show()
    order = []
    monkeypatch.setattr("mmbook.feedback.log.os.fsync", lambda _: order.append("disk"))
    widget.observe(lambda change: order.append(("saved", change["new"])), "saved")
    send(widget, page=[label(1, items[0], choice=1)])
    assert order == ["disk", ("saved", 1)]
    assert widget.acks == {"page": 1} and widget.labels == [items[0]["id"]]
    [record], problems = read_log(feedback.path)
    assert problems == [] and feedback.records == [record]
    assert {k: record[k] for k in items[0]} == items[0]
    assert (record["choice"], record["side"], record["annotator"], record["ms"], record["via"]) == (
        1,
        1,
        "ann",
        900,
        "key",
    )


def test_clicks_that_are_sent_again_or_from_two_pages_are_written_once_each(feedback, items):
    widget = feedback.show()
    send(widget, a=[label(1, items[0])])
    send(widget, a=[label(1, items[0]), label(2, items[1])])
    send(widget, a=[label(2, items[1]), label(3, items[2])], b=[label(1, items[3])])
    undo = {"op": "undo", "id": items[3]["id"]}
    send(
        widget, b=[label(1, items[3]), {"n": 2, **undo}], a=[{"n": 4, **undo}]
    )  # both pages take the same one back
    assert [r["id"] for r in feedback.records] == [item["id"] for item in items[:3]] == widget.labels
    assert widget.acks == {"a": 4, "b": 2} and widget.saved == 5 and feedback.problems == []
    assert [json.loads(line)["op"] for line in feedback.path.read_text().splitlines()] == [
        "items",
        "label",
        "label",
        "label",
        "label",
        "undo",
    ]


def test_a_new_labeller_goes_on_where_the_log_ends(feedback, items):
    send(feedback.show(), page=[label(1, items[0]), label(2, items[4])])
    again = Feedback(items, feedback.path, "ann", seed=7, live=True)
    assert again.show().labels == [items[0]["id"], items[4]["id"]] and again.show().acks == {}
    send(again.show(), page=[{"n": 1, "op": "undo", "id": items[4]["id"]}])
    assert [r["id"] for r in feedback.records] == [items[0]["id"]]


def test_what_cannot_be_written_is_not_acknowledged_and_tried_again(feedback, items):
    widget = feedback.show()
    feedback.path.mkdir()
    send(widget, page=[label(1, items[0])])
    assert widget.acks == {} and widget.labels == [] and "log.jsonl cannot be written" in widget.trouble
    feedback.path.rmdir()
    send(widget, page=[label(1, items[0]), label(2, items[1])])
    assert widget.acks == {"page": 2} and len(feedback.records) == 2 and widget.trouble == ""


@pytest.mark.parametrize(
    "change, message",
    [
        ({"id": "nobody"}, "id: expected one of the 6 items"),
        ({"choice": 5}, "choice"),
        ({"outcome": "maybe"}, "outcome"),
        ({"ms": "soon"}, "ms"),
    ],
)
def test_a_click_that_makes_no_sense_is_named_and_not_written(feedback, items, change, message):
    send(feedback.show(), page=[{**label(1, items[0]), **change}, label(2, items[1])])
    assert [r["id"] for r in feedback.records] == [items[1]["id"]]
    assert message in feedback.show().trouble and read_log(feedback.path)[1] == []


def test_pictures_show_the_scenes(items):
    scenes = [Scene.from_json(item["scene"]) for item in items]
    for uri, pixels in zip(pictures(items, 240), render(scenes, 240), strict=True):
        kind, _, data = uri.partition(",")
        assert kind == "data:image/png;base64" and len(data) < 16_000
        drawn = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")).astype(int)
        assert drawn.shape == (240, 240, 3) and np.abs(drawn - pixels).mean() < 1.0


def test_a_notebook_gets_the_widget_and_a_page_without_kernel_the_list(feedback, items):
    data, _ = feedback._repr_mimebundle_()
    assert data["application/vnd.jupyter.widget-view+json"]["model_id"] == feedback.show().model_id
    page = data["text/html"]
    assert NO_KERNEL in page and page.count("<li>") == 6 and len(page) < 100_000
    assert data["text/plain"].startswith("Feedback(0 of 6 items judged")
    feedback.live = False
    assert set(feedback._repr_mimebundle_()) == {"text/plain", "text/html"}


def test_the_list_stays_short_and_shows_text_as_text(items):
    many = [{**item, "responses": ["<script>alert(1)</script>", "a & b"]} for item in items * 20]
    page = listing(many)
    assert "<script" not in page and "&lt;script&gt;" in page and "a &amp; b" in page
    assert page.count("<li>") == 6 and "And 114 more." in page


def test_the_front_end_is_one_file_that_asks_for_nothing():
    code = SCRIPT.read_text(encoding="utf-8")
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|fetch\(|XMLHttp|\beval\b", code
    )
    assert not re.search(r"^\s*import\b|import\(|https?://|model\.send", code, re.MULTILINE)
    assert "http" not in (files("mmbook.feedback") / "labeller.css").read_text(encoding="utf-8")


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node")
def test_python_and_javascript_show_the_same_response_first():
    cases = [
        [seed, name, f"é{i}"] for seed in (0, 7, 2**63 + 1) for name in ("ann", "猫 ö") for i in range(100)
    ]
    program = (
        "const m = await import('data:text/javascript;base64,' + process.argv[1]);"
        "console.log(JSON.stringify(JSON.parse(process.argv[2]).map(c => m.shownFirst(...c))))"
    )
    told = subprocess.run(
        [
            "node",
            "--input-type=module",
            "-e",
            program,
            base64.b64encode(SCRIPT.read_bytes()).decode(),
            json.dumps([[str(seed), *rest] for seed, *rest in cases]),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    sides = [shown_first(*case) for case in cases]
    assert json.loads(told.stdout) == sides and 240 < sum(sides) < 360
