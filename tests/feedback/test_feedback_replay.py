"""Reading on where a log has grown gives what reading all of it gives."""

import random

import pytest

from mmbook.feedback import make_record
from mmbook.feedback.log import append, replay


def facts(log):
    return log.records, log.problems, log.header, log.lines, log.size


@pytest.mark.filterwarnings("ignore:.*cut short")
def test_reading_on_equals_reading_anew(items, tmp_path):
    rng, path, known = random.Random(0), tmp_path / "log.jsonl", None
    append(path, [{"op": "items", "hash": "x", "n": 6}])
    for turn in range(200):
        item = rng.choice(items)
        record = make_record(item, annotator="ann", outcome="tie")
        event = rng.choice(
            [{"op": "label", "record": record}, {"op": "undo", "id": item["id"]}, {"op": "odd"}]
        )
        append(path, [event] * rng.randrange(3))
        if turn % 17 == 5:
            with path.open("ab") as file:
                file.write(rng.choice([b'{"op": "la', b"\n\n", b"\xff\xfe\n", b'{"op": "undo", "id": "0"}']))
        if turn == 100:
            path.write_bytes(path.read_bytes()[: -rng.randrange(10, 2000)])  # somebody cut the file
        if rng.random() < 0.6:
            known = replay(path, known)
            assert facts(known) == facts(replay(path))
    assert known.records and known.problems


def test_only_what_is_new_is_read(items, tmp_path, monkeypatch):
    path = tmp_path / "log.jsonl"
    append(path, [{"op": "label", "record": make_record(i, annotator="a", outcome="tie")} for i in items])
    known = replay(path)
    seen = []
    monkeypatch.setattr("mmbook.feedback.log.validate", lambda record: seen.append(record) or [])
    append(path, [{"op": "label", "record": make_record(items[0], annotator="b", outcome="tie")}])
    assert len(replay(path, known).records) == 7 and [r["annotator"] for r in seen] == ["b"]
