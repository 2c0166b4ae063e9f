"""The labeller's kernel side, driven by the messages of a page, and its list for pages without a kernel."""

import base64
import io
import json
import re
import shutil
from functools import partial
from importlib.resources import files

import numpy as np
import pytest
from PIL import Image

from mmbook.feedback import Feedback, collect_human_feedback, read_log
from mmbook.feedback.items import make_items
from mmbook.feedback.labeller import AHEAD
from mmbook.feedback.views import LARGE
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


def ids(widget):
    return [label["id"] for label in widget.labels]


def test_a_click_is_acknowledged_when_it_is_on_the_disk(feedback, items, monkeypatch):
    widget = feedback.show()
    order = []
    monkeypatch.setattr("mmbook.feedback.log.os.fsync", lambda _: order.append("disk"))
    widget.observe(lambda change: order.append(("saved", change["new"])), "saved")
    send(widget, page=[label(1, items[0], choice=1)])
    assert order == ["disk", ("saved", 1)]
    assert widget.acks == {"page": 1}
    assert widget.labels == [{"id": items[0]["id"], "outcome": "label", "choice": 1, "side": 1}]
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
    assert [r["id"] for r in feedback.records] == [item["id"] for item in items[:3]] == ids(widget)
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
    assert ids(again.show()) == [items[0]["id"], items[4]["id"]] and again.show().acks == {}
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


def test_pictures_show_the_scenes(feedback, items):
    widget = feedback.show()
    scenes = [Scene.from_json(item["scene"]) for item in items]
    for view, pixels in zip(widget.items, render(scenes, LARGE), strict=True):
        kind, _, data = widget.pictures[view["image"]].partition(",")
        assert kind == "data:image/png;base64" and len(data) < 24_000
        drawn = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")).astype(int)
        assert drawn.shape == (LARGE, LARGE, 3) and np.abs(drawn - pixels).mean() < 1.0


def test_items_travel_as_text_and_pictures_some_twenty_ahead(speaker, tmp_path):
    items = make_items(speaker, 100, seed=1)
    widget = Feedback(items, tmp_path / "log.jsonl", live=True).show()
    assert len(json.dumps(widget.items)) < 100 * 1000 and "base64" not in json.dumps(widget.items)
    keys = [view["image"] for view in widget.items]
    assert set(widget.pictures) == set(keys[:AHEAD])
    sent = []
    widget.observe(lambda change: sent.append(set(change["new"]) - set(change["old"])), "pictures")
    for n, item in enumerate(items[:70], 1):
        send(widget, page=[label(n, item)])
        assert {*keys[n : n + AHEAD // 2]} <= set(widget.pictures) and len(widget.pictures) <= AHEAD
    assert sum(map(len, sent)) <= 80 and len(sent) <= 8  # each picture once, many at a time


def test_every_kind_of_answer_is_written(speaker, tmp_path):
    answers = {
        "rating": {"rating": 4, "aspects": {"true": 5, "fluent": 2}},
        "edit": {"edit": "a cat."},
        "ranking": {"order": [2, 0], "shown": [1, 2, 3, 0]},
    }
    for kind, answer in answers.items():
        items = make_items(speaker, 2, seed=1, kind=kind)
        feedback = Feedback(items, tmp_path / f"{kind}.jsonl", live=True)
        click = label(1, items[0], side=0, **answer)
        del click["choice"]
        send(feedback.show(), page=[click, {**click, "n": 2, "id": items[1]["id"]}])
        assert feedback.show().trouble == "" and feedback.problems == []
        assert [{k: r[k] for k in answer} for r in feedback.records] == [answer, answer]
        shown = {k: v for k, v in answer.items() if k != "shown"}
        assert [{k: told.get(k) for k in shown} for told in feedback.show().labels] == [shown, shown]
        skip = {k: v for k, v in click.items() if k not in answer}
        send(feedback.show(), page=[{**skip, "n": 3, "outcome": "skip"}])
        assert [r["outcome"] for r in feedback.records] == ["label", "skip"]


def test_a_second_label_takes_the_first_one_back_and_keeping_is_noted(feedback, items):
    widget = feedback.show()
    send(widget, page=[label(1, items[0]), label(2, items[1]), label(3, items[0], choice=1)])
    assert [(r["id"], r["choice"]) for r in feedback.records] == [(items[1]["id"], 0), (items[0]["id"], 1)]
    send(
        widget,
        page=[{"n": 4, "op": "keep", "id": items[1]["id"]}, {"n": 5, "op": "keep", "id": items[5]["id"]}],
    )
    assert len(feedback.records) == 2 and feedback.problems == []
    assert [json.loads(line)["op"] for line in feedback.path.read_text().splitlines()] == [
        "items",
        "label",
        "label",
        "undo",
        "label",
        "keep",
    ]


def test_captions_of_a_painter_are_shown_as_pictures(tmp_path):
    class Painter:
        hash, prompt = "0", "paint:"

        def pictures(self, texts):
            return np.stack([np.full((48, 48, 3), len(text), np.uint8) for text in texts])

        def sample(self, scenes, temperature=1.0, seed=0, greedy=False, samples=1):
            return [f"p1 {'p2 ' * i}" for _ in scenes for i in range(samples)]

    edit = Feedback(
        make_items(Painter(), 1, 0, kind="edit"), tmp_path / "edit.jsonl", live=True, model=Painter()
    )
    style = {"brightness": 1.5, "contrast": 1, "saturation": 0.5}
    click = {k: v for k, v in label(1, edit.items[0], edit=style).items() if k != "choice"}
    send(edit.show(), page=[click])
    assert edit.show().trouble == "" and edit.records[0]["edit"] == style
    assert edit.show().items[0]["image"] == "" and edit.show().items[0]["prompt"].startswith("a")

    feedback = Feedback(make_items(Painter(), 2, seed=0), tmp_path / "log.jsonl", live=True, model=Painter())
    widget = feedback.show()
    for view, item in zip(widget.items, feedback.items, strict=True):
        assert view["image"] == "" and "sticker" not in view["prompt"] and view["prompt"].startswith("a")
        for response, text in zip(view["responses"], item["responses"], strict=True):
            data = widget.pictures[response["picture"]].partition(",")[2]
            drawn = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"))
            assert drawn.shape == (48, 48, 3) and (drawn == len(text)).all()


def test_a_notebook_gets_the_widget_and_a_page_without_kernel_the_list(feedback, items):
    data, _ = feedback._repr_mimebundle_()
    assert data["application/vnd.jupyter.widget-view+json"]["model_id"] == feedback.show().model_id
    page = data["text/html"]
    assert page.count("<li>") == 6 and len(page) < 100_000
    assert data["text/plain"].startswith("Feedback(0 of 6 items judged")
    feedback.live = False
    assert set(feedback._repr_mimebundle_()) == {"text/plain", "text/html"}


def test_the_front_end_is_one_file_that_asks_for_nothing():
    code = SCRIPT.read_text(encoding="utf-8")
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|fetch\(|XMLHttp|\beval\b", code
    )
    assert not re.search(r"^\s*import\b|import\(|https?://|model\.send", code, re.MULTILINE)
    loader = (files("mmbook.feedback") / "loader.js").read_text(encoding="utf-8")
    assert not re.search(r"innerHTML|outerHTML|document\.write|fetch\(|XMLHttp|\beval\b|https?://", loader)
    assert "http" not in (files("mmbook.feedback") / "labeller.css").read_text(encoding="utf-8")


def test_what_a_model_doubts_is_looked_at_again(feedback, items):
    send(feedback.show(), page=[label(n, item) for n, item in enumerate(items, 1)])
    widget = feedback.review([(feedback.records[4], 0.02), (feedback.records[1], 0.3)])
    assert widget.review == [items[4]["id"], items[1]["id"]]
    assert widget.opinion == {items[4]["id"]: 0.02, items[1]["id"]: 0.3}
    assert {widget.items[i]["image"] for i in (4, 1)} <= set(widget.pictures)
    send(widget, page=[label(1, items[4], choice=1), {"n": 2, "op": "keep", "id": items[1]["id"]}])
    assert [(r["id"], r["choice"]) for r in feedback.records][-1] == (items[4]["id"], 1)
    assert len(feedback.records) == 6 and feedback.problems == []


def test_aspects_and_language_reach_the_page(speaker, tmp_path, monkeypatch):
    ask = partial(collect_human_feedback, speaker, 3, path=tmp_path / "log.jsonl", kind="rating")
    widget = ask(aspects=("true", "fluent"), lang="zh").show()
    assert (widget.aspects, widget.lang) == (["true", "fluent"], "zh")
    monkeypatch.setenv("MMBOOK_LANG", "zh")
    assert ask().show().lang == "zh" and ask(lang="en").show().lang == "en"
    for wrong in (
        {"aspects": "true"},
        {"aspects": 5},
        {"aspects": ["a", "a"]},
        {"aspects": [""]},
        {"lang": "fr"},
        {"kind": "pair", "aspects": ["true"]},
    ):
        with pytest.raises(ValueError, match=r"aspects: expected|lang: expected one of en, zh"):
            ask(**wrong)


def test_an_ordering_that_fails_costs_no_label(feedback, items):
    class Broken:
        def ids(self, feedback):
            if feedback.records:
                raise RuntimeError("no such model")
            return [item["id"] for item in items]

    feedback.ordering = Broken()
    send(feedback.show(), page=[label(1, items[0])])
    assert feedback.show().acks == {"page": 1} and "stays as it was: no such model" in feedback.show().trouble
    send(feedback.show(), page=[label(1, items[0]), label(2, items[1])])
    assert len(feedback.records) == 2 and feedback.problems == []


def test_what_no_record_could_hold_is_not_asked(items, tmp_path):
    odd = {
        "responses: expected two": {"responses": ["one"]},
        "kind: expected 'pair'": {"kind": "foo"},
        "id: expected a text": {"id": ""},
        "id: expected one of its own": {"id": items[0]["id"]},
        "prompt: expected a text": {"prompt": 3},
    }
    for message, change in odd.items():
        with pytest.raises(ValueError, match=rf"items\[1\]: {message}"):
            Feedback([items[0], {**items[1], **change}], tmp_path / "log.jsonl")
    bare = {k: v for k, v in items[0].items() if k != "scene"}
    with pytest.raises(
        ValueError, match=r"items\[0\]: scene: expected the scene that was judged, or an image"
    ):
        Feedback([bare], tmp_path / "log.jsonl")


def test_only_a_log_of_its_own_is_reviewed(feedback, items, tmp_path):
    send(feedback.show(), page=[label(1, items[0])])
    found = [(feedback.records[0], 0.1)]
    with pytest.raises(ValueError, match="review that one"):
        Feedback.merge([feedback, feedback]).review(found)
    with pytest.raises(ValueError, match="review: expected labels of the 6 items"):
        feedback.review([({"id": "zz"}, 0.1)])
    assert feedback.review(found * 2).review == [items[0]["id"]]
    assert len(Feedback.merge([feedback, feedback]).items) == 6


def test_what_is_reviewed_or_taken_back_keeps_its_picture(speaker, tmp_path):
    items = make_items(speaker, 60, seed=1)
    feedback = Feedback(items, tmp_path / "log.jsonl", live=True)
    send(feedback.show(), page=[label(n, item) for n, item in enumerate(items[:50], 1)])
    widget = feedback.review([(r, 0.1) for r in feedback.records[:25]])
    send(widget, page=[label(1, items[0], choice=1)])
    assert {view["image"] for view in widget.items[:25]} <= set(widget.pictures)
    send(feedback.show(), page=[{"n": 99, "op": "undo", "id": items[3]["id"]}])
    assert feedback.show().items[3]["image"] in feedback.show().pictures


def test_a_copy_of_a_log_counts_once_and_a_reading_broken_off_counts_nothing_twice(
    feedback, items, monkeypatch
):
    send(feedback.show(), page=[label(n, item) for n, item in enumerate(items[:3], 1)])
    copy = feedback.path.with_name("copy.jsonl")
    shutil.copy(feedback.path, copy)
    parts = [Feedback.from_log(path) for path in (feedback.path, copy)]
    assert len(Feedback.merge(parts).records) == 3
    send(feedback.show(), page=[label(4, items[3])])
    other, seen = Feedback(items, feedback.path), []

    def interrupted(record):
        seen.append(record)
        if len(seen) == 2:
            raise KeyboardInterrupt
        return []

    assert len(other.records) == 4
    send(feedback.show(), page=[label(5, items[4]), label(6, items[5])])
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("mmbook.feedback.log.validate", interrupted)
        len(other.records)
    assert len(other.records) == 6


def test_a_click_without_form_is_named_and_holds_nothing_up(feedback, items):
    good = label(2, items[1])
    odd = [{"op": "label"}, "text", None, {**label("1", items[0])}, {**label(1, items[0]), "id": ["x"]}]
    send(feedback.show(), page=[*odd, good], other="no list")
    assert [r["id"] for r in feedback.records] == [items[1]["id"]] and feedback.show().acks == {"page": 2}
    assert "click: expected an object with its number n" in feedback.show().trouble
    send(feedback.show(), page=[{"n": 3, "op": "undo", "id": items[1]["id"], "time": {"a": 1}}])
    assert feedback.records == [] and feedback.problems == []
    assert isinstance(json.loads(feedback.path.read_text().splitlines()[-1])["time"], str)
