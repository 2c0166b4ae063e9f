"""The log keeps what was appended, whatever else happens to the file, and names what it cannot read."""

import json
import os
import subprocess
import sys
import textwrap
from contextlib import nullcontext

import pytest

from mmbook.feedback import log
from mmbook.feedback.log import append, read_log, replay


def labels(records):
    return [{"op": "label", "record": record} for record in records]


def test_replay_gives_the_records_without_those_taken_back(tmp_path, records):
    path = tmp_path / "new folder" / "log.jsonl"
    append(path, [{"op": "items", "hash": "ab", "n": 6}])
    append(path, labels(records[:3]))
    append(path, [{"op": "undo", "id": records[1]["id"], "annotator": "ann"}])
    append(path, labels([records[1], records[4]]))
    assert read_log(path) == ([records[0], records[2], records[1], records[4]], [])
    assert replay(path).header == {"op": "items", "hash": "ab", "n": 6}
    assert len(path.read_text().splitlines()) == 7  # nothing is ever rewritten


def test_undo_takes_back_the_last_label_of_the_same_annotator(tmp_path, records):
    other = {**records[0], "annotator": "bob", "choice": 1}
    append(
        tmp_path / "log",
        [*labels([records[0], other]), {"op": "undo", "id": other["id"], "annotator": "ann"}],
    )
    assert read_log(tmp_path / "log") == ([other], [])


def test_a_torn_last_line_is_named_and_does_not_swallow_the_next_event(tmp_path, records):
    path = tmp_path / "labels.jsonl"
    append(path, labels(records[:2]))
    whole = path.read_bytes()
    cut = [n for n in range(1, len(whole)) if whole[n - 1 : n] != b"\n"]
    for n in cut[:: len(cut) // 50]:
        path.write_bytes(whole[:n])
        torn, aside = whole[n : n + 1] != b"\n", tmp_path / "labels.jsonl.torn"
        aside.unlink(missing_ok=True)
        with pytest.warns(UserWarning, match=r"cut short.*labels\.jsonl\.torn") if torn else nullcontext():
            append(path, labels(records[2:3]))
        if torn:
            assert aside.read_bytes() == whole[:n].rpartition(b"\n")[2] + b"\n"
        assert aside.exists() == torn
        kept, problems = read_log(path)
        assert kept[-1] == records[2]
        complete = whole[:n].count(b"\n") + (whole[n : n + 1] == b"\n")  # cut before the newline is no loss
        assert len(kept) == complete + 1 and len(problems) == (whole[n : n + 1] != b"\n")
        assert all(p.startswith(f"labels.jsonl, line {complete + 1}: not JSON") for p in problems)


def test_several_writers_share_a_log(tmp_path, records):
    """Four processes append at once, each line longer than a page of memory: all whole, each in its order."""
    code = textwrap.dedent("""
        import json, sys
        from pathlib import Path
        from mmbook.feedback.log import append
        record, who = json.loads(sys.argv[2]), sys.argv[3]
        for i in range(25):
            record |= {"annotator": who, "id": f"{who}-{i}", "prompt": who * 9000}
            append(Path(sys.argv[1]), [{"op": "label", "record": record}])
    """)
    path = tmp_path / "labels.jsonl"
    writers = [
        subprocess.Popen([sys.executable, "-c", code, str(path), json.dumps(records[0]), who])
        for who in "abcd"
    ]
    assert [writer.wait(120) for writer in writers] == [0] * 4
    kept, problems = read_log(path)
    assert not problems and len(kept) == 100
    for who in "abcd":
        assert [r["id"] for r in kept if r["annotator"] == who] == [f"{who}-{i}" for i in range(25)]


def test_broken_lines_are_named_and_the_rest_is_kept(tmp_path, records):
    good = [json.dumps(record) for record in records]
    lines = [
        good[0],
        "{",
        good[1],
        "[1]",
        '{"op": "cut"}',
        "",
        '{"op": "undo", "id": "nobody"}',
        '{"op": "label"}',
        json.dumps({**records[2], "choice": 9}),
        "[" * 100000,
        '{"op": "items"}',
        good[3],
    ]
    path = tmp_path / "log.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(lines).encode() + b"\n\xff\xfe\n" + good[4].encode())
    kept, problems = read_log(path)
    assert kept == [records[0], records[1], records[3], records[4]]
    assert [int(p.split("line ")[1].split(":")[0]) for p in problems] == [2, 4, 5, 7, 8, 9, 10, 11, 13]
    assert (
        "choice: expected 0 or 1" in problems[5] and "not UTF-8" in problems[-1] and "nobody" in problems[3]
    )


def test_text_survives_exactly(tmp_path, records):
    hostile = [
        "<script>alert(1)</script>",
        "a\u2028b\u0085c\nd\x00",
        "\u202eabc",
        "一只猫",
        "half \ud83d pair",
        "x" * 10**6,
    ]
    told = [{**records[0], "responses": [text, "b"]} for text in hostile]
    append(tmp_path / "log", labels(told))
    assert read_log(tmp_path / "log") == (told, [])


@pytest.mark.parametrize(
    "content, message",
    [(b"", "is empty"), (b"\n \n", "is empty"), (b"\x89PNG\r\n\x00", "no line can be read")],
)
def test_a_file_without_feedback_is_an_error_that_says_so(tmp_path, content, message):
    (tmp_path / "log").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_log(tmp_path / "log")


def test_a_missing_or_unreadable_file_is_an_error_that_says_what_to_do(tmp_path):
    with pytest.raises(FileNotFoundError, match="check the path, or label first"):
        read_log(tmp_path / "nowhere.jsonl")
    with pytest.raises(OSError, match="cannot be read"):
        read_log(tmp_path)


def test_append_returns_only_after_the_line_is_synced(tmp_path, records, monkeypatch):
    sizes = []
    monkeypatch.setattr(log.os, "fsync", lambda handle: sizes.append(os.fstat(handle).st_size))
    for event in labels(records):
        append(tmp_path / "log", [event])
        assert sizes[-1] == (tmp_path / "log").stat().st_size
    assert len(sizes) == len(records)
