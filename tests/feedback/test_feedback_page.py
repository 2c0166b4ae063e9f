"""The page that labels without a kernel: readable by itself, every picture once, text only ever as text."""

import json
from html.parser import HTMLParser

import pytest

from mmbook.feedback import Feedback, make_record
from mmbook.feedback.items import items_hash, make_items
from mmbook.feedback.page import fragment, save_page


class Reader(HTMLParser):
    """The text, the tags and the state of a fragment, as a browser would parse them."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.texts, self.state = [], [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes.append(dict(attrs))

    def handle_data(self, data):
        if self.tags and self.tags[-1] == "script":
            self.state += data
        else:
            self.texts.append(data)


@pytest.fixture
def feedback(items, tmp_path):
    return Feedback(items, tmp_path / "log.jsonl", "ann", seed=2**60, live=True)


def test_the_list_says_everything_and_shows_each_picture_once(feedback, items):
    page = Reader(fragment(feedback))
    for item in items:
        assert all(response in page.texts for response in item["responses"])
    keys = [a["data-key"] for a in page.attributes if "data-key" in a]
    assert len(keys) == len(set(keys)) == 6 and all(a.get("alt") for a in page.attributes if "data-key" in a)
    state = json.loads(page.state)
    assert [view["image"] for view in state["items"]] == keys
    assert state["header"]["hash"] == items_hash(items) and state["seed"] == str(2**60)
    assert "base64" not in page.state and "ann" not in state  # nobody's name, no picture twice
    for item in items:
        made = {**make_record(item, annotator="x", outcome="skip"), "time": ""}
        known = {**state["records"][item["id"]], "schema": 1, "annotator": "x", "time": ""}
        assert {**known, "ms": 0, "via": "call", "side": 0, "outcome": "skip"} == made


def test_a_long_list_ends_with_how_many_more(speaker, tmp_path):
    page = fragment(Feedback(make_items(speaker, 70, seed=0), tmp_path / "log.jsonl"))
    assert page.count("<li>") == 60 and "And 10 more." in page


HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(1)> \u202e & \x00 \ud800 <!-- ]]>"


def test_text_is_only_ever_text(items, tmp_path):
    items = [{**item, "responses": [HOSTILE, "b"], "prompt": HOSTILE} for item in items]
    feedback = Feedback(items, tmp_path / "log.jsonl")
    page = Reader(fragment(feedback))
    assert page.tags.count("script") == 1 and page.tags.count("img") == 6
    assert json.loads(page.state)["items"][0]["responses"][0] == HOSTILE
    assert sum(text == HOSTILE for text in page.texts) == 12 or HOSTILE in "".join(page.texts)
    path = save_page(feedback, tmp_path / "page.html", title=HOSTILE)
    whole = Reader(path.read_text(encoding="utf-8"))
    assert whole.tags.count("script") == 3 and whole.tags.count("img") == 6


def test_what_belongs_to_a_record_stands_in_the_page_once(tmp_path):
    uri = "data:image/png;base64,AAAA"
    base = {
        "kind": "pair",
        "prompt": "",
        "model": "m",
        "temperature": None,
        "seed": None,
        "round": 0,
        "image": uri,
    }
    items = [
        {"id": str(i), **base, "responses": [{"picture": uri}, {"picture": uri + "BBBB"}]} for i in range(2)
    ]
    page = fragment(Feedback(items, tmp_path / "log.jsonl"))
    assert page.count('AAAA"') == 1 and page.count("AAAABBBB") == 1
    assert page.count("data-inline") == 2
