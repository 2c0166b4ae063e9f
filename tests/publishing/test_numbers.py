"""Numbers in prose: read from committed runs, compared with new ones, refused when they are not there."""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path

import pytest

from mmbook.publishing import NumberError, check_cost, check_number, committed, committed_rows
from mmbook.publishing.numbers import number_text, read_results

ROOT = Path(__file__).resolve().parents[2]

ENTRY = {"value": 0.934, "tolerance": 0.05, "seed": 0, "unit": "share", "says": "terse captions after"}
FILE = {"device": "2 CPU cores", "commit": "abc1234", "values": {"after": ENTRY}}


@pytest.fixture
def folder(tmp_path):
    seconds = {**ENTRY, "value": 27.1234, "unit": "s", "tolerance": 10}
    (tmp_path / "quickstart.json").write_text(
        json.dumps({**FILE, "values": {"after": ENTRY, "seconds": seconds}})
    )
    return tmp_path


def test_a_number_is_read_with_its_origin(folder):
    number = committed("quickstart.after", folder)
    assert (number.value, number.tolerance, number.device, number.seed) == (0.934, 0.05, "2 CPU cores", 0)


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        ("quickstart.after", "93%"),
        ("quickstart.after:.3f", "0.934"),
        ("quickstart.after:.1%", "93.4%"),
        ("quickstart.seconds", "27.12"),
        ("quickstart.seconds:.0f", "27"),
    ],
)
def test_the_role_formats(folder, spec, text):
    assert number_text(spec, folder)[0] == text


def test_a_measurement_inside_the_tolerance_passes_and_outside_says_what_to_do(folder):
    assert check_number("quickstart.after", 0.984, folder) == 0.984
    with pytest.raises(NumberError) as error:
        check_number("quickstart.after", 0.985, folder)
    for part in ("quickstart.after", "0.934", "± 0.05", "0.985", "benchmarks/results/quickstart.json"):
        assert part in str(error.value)
    with pytest.raises(NumberError):
        check_number("quickstart.after", float("nan"), folder)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("quickstart.nothing", "known keys: after, seconds"),
        ("slowstart.after", "known files: quickstart"),
        ("quickstart", "expected <file>.<key>"),
        ("quickstart.after:.2f", "expected <file>.<key>"),
    ],
)
def test_an_unknown_number_lists_what_there_is(folder, name, message):
    with pytest.raises(NumberError, match=re.escape(message)):
        committed(name, folder)


def test_a_format_that_python_does_not_know_is_named(folder):
    with pytest.raises(NumberError, match=r"quickstart.after:.2q"):
        number_text("quickstart.after:.2q", folder)


@pytest.mark.parametrize("field", ["device", "commit", "value", "tolerance", "seed", "unit", "says"])
def test_a_results_file_without_a_field_is_refused(tmp_path, field):
    data = {**FILE, "values": {"after": {k: v for k, v in ENTRY.items() if k != field}}}
    data.pop(field, None)
    path = tmp_path / "quickstart.json"
    path.write_text(json.dumps(data))
    with pytest.raises(NumberError, match=f"quickstart.json.*'{field}'"):
        read_results(path)


def test_without_committed_results_nothing_is_compared(monkeypatch, capsys):
    monkeypatch.setattr("mmbook.publishing.numbers.results_folder", lambda: None)
    assert check_number("quickstart.after", 0.1) == 0.1
    assert "nothing is compared" in capsys.readouterr().out


def test_the_rows_behind_a_figure_are_read_and_their_absence_is_said(tmp_path, monkeypatch, capsys):
    (tmp_path / "runs.json").write_text(json.dumps({**FILE, "rows": [{"seed": 0, "gold": 1.5}]}))
    assert committed_rows("runs", tmp_path) == [{"seed": 0, "gold": 1.5}]
    (tmp_path / "runs.json").write_text(json.dumps(FILE))
    for name in ("runs", "none"):
        with pytest.raises(NumberError, match=f"{name}.json: expected a JSON object with a list 'rows'"):
            committed_rows(name, tmp_path)
    monkeypatch.setattr("mmbook.publishing.numbers.results_folder", lambda: None)
    assert committed_rows("runs") == [] and "this figure stays empty" in capsys.readouterr().out


def noted_cost(path: Path) -> dict[str, float]:
    path.unlink(missing_ok=True)
    check_cost("chapter")
    return dict(json.loads(line) for line in path.read_text().splitlines())


def test_the_cost_of_a_chapter_is_this_process_and_is_compared_with_nothing(tmp_path, monkeypatch):
    resource = pytest.importorskip("resource")
    check_cost("slowstart")  # there is no such file of results, and no complaint
    monkeypatch.setenv("MMBOOK_RECORD", str(tmp_path / "record.jsonl"))
    before = time.process_time()
    cost = noted_cost(tmp_path / "record.jsonl")
    assert cost.keys() == {"chapter.cpu_seconds", "chapter.memory_gb"}
    assert before <= cost["chapter.cpu_seconds"] <= time.process_time()
    if sys.platform == "linux":  # the kernel tells the peak in another place too
        status = re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())
        assert cost["chapter.memory_gb"] == pytest.approx(int(status[1]) / 2**20, rel=0.05)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for system, unit in {"linux": 2**20, "darwin": 2**30}.items():
        monkeypatch.setattr(sys, "platform", system)
        cost = noted_cost(tmp_path / "record.jsonl")
        assert cost["chapter.memory_gb"] == pytest.approx(peak / unit, rel=0.05)
    monkeypatch.setitem(sys.modules, "resource", None)  # as on Windows
    assert noted_cost(tmp_path / "record.jsonl").keys() == {"chapter.cpu_seconds"}


def test_every_committed_results_file_is_complete():
    for path in sorted((ROOT / "benchmarks" / "results").glob("*.json")):
        assert read_results(path), path


def test_every_number_in_the_book_resolves():
    roles = [
        (path, spec)
        for path in sorted((ROOT / "book").rglob("*.md"))
        for spec in re.findall(r"\{number\}`([^`]+)`", path.read_text(encoding="utf-8"))
    ]
    for path, spec in roles:
        try:
            number_text(spec)
        except NumberError as error:
            pytest.fail(f"{path.relative_to(ROOT)}: {error}")
