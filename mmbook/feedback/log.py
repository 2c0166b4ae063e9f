"""The event log: one JSON object a line, only ever appended to; the records are the replay of its events."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

try:
    import fcntl
except ImportError:  # Windows: there a line is still written in one piece, but writers do not wait
    fcntl = None  # type: ignore[assignment]

from mmbook.feedback.records import Record, shorten, validate

Event = dict[str, Any]
END = 256  # bytes of a known log that must still be there for reading to go on behind them


@dataclass
class Log:
    """What a log says: the live records, a message for each broken line, and the header if there is one.

    `lines`, `size` and `end`, its last bytes, tell where reading can go on when the log has grown.
    """

    records: list[Record] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    header: Event | None = None
    lines: int = 0
    size: int = 0
    end: bytes = b""


@contextmanager
def _alone(file: BinaryIO) -> Iterator[None]:
    """Wait until no other process writes to the file, and keep the others waiting."""
    if fcntl is not None:
        fcntl.flock(file, fcntl.LOCK_EX)
    try:
        yield
    finally:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_UN)


def append(path: Path, events: Iterable[Event]) -> None:
    """Write events to the end of the log and return when the disk has them.

    Several processes may append to one log: their events follow one another whole. A last line that a crash
    cut short keeps a line of its own, so it cannot swallow the next event; a copy is set aside in
    <name>.torn, and a warning says so. Raises OSError.
    """
    lines = "".join(json.dumps(event, ensure_ascii=False) + "\n" for event in events)
    data = lines.encode("utf-8", "backslashreplace")  # half a surrogate pair becomes its JSON escape
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file, _alone(file):
        if file.seek(0, os.SEEK_END):
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                file.seek(0)
                _set_aside(path, file.read().rpartition(b"\n")[2])
                data = b"\n" + data
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _set_aside(path: Path, line: bytes) -> None:
    """Copy a last line that was cut short to a file beside the log. What lacks only its end is whole."""
    try:
        json.loads(line)
    except ValueError:
        aside = path.with_name(path.name + ".torn")
        with aside.open("ab") as file:
            file.write(line + b"\n")
            file.flush()
            os.fsync(file.fileno())
        warnings.warn(
            f"{path.name}: its last line was cut short, {len(line)} bytes; a copy is in {aside.name}",
            stacklevel=3,
        )


def replay(path: str | Path, known: Log | None = None) -> Log:
    """Read a log of events, or a file of bare records, and keep everything that can be read.

    What is `known` of the log is taken over, and changed, if the file only grew since. Raises
    FileNotFoundError where there is no file, OSError where it cannot be read.
    """
    path = Path(path)
    try:
        data, log = _read(path, known or Log())
    except FileNotFoundError:
        raise FileNotFoundError(
            f"{path}: there is no such feedback log; check the path, or label first with "
            "collect_human_feedback"
        ) from None
    except OSError as error:
        raise OSError(f"{path}: cannot be read ({error.strerror}); expected a file of JSON lines") from error
    lines = data.split(b"\n")
    for number, line in enumerate(lines, log.lines + 1):
        if line.strip():
            try:
                problems = _take(line, log)
            except RecursionError:
                problems = ["nested too deeply for a record"]
            log.problems += [f"{path.name}, line {number}: {problem}" for problem in problems]
    log.lines, log.size, log.end = log.lines + len(lines) - 1, log.size + len(data), (log.end + data)[-END:]
    return log


def _read(path: Path, known: Log) -> tuple[bytes, Log]:
    """The bytes that are not known yet, and the log that they continue; a new one unless the file grew."""
    with path.open("rb") as file:
        if known.end.endswith(b"\n"):
            file.seek(known.size - len(known.end))
            data = file.read()
            if data.startswith(known.end):
                return data[len(known.end) :], known
            file.seek(0)
        data = file.read()
    mark = b"\xef\xbb\xbf" if data.startswith(b"\xef\xbb\xbf") else b""
    return data.removeprefix(mark), Log(size=len(mark))


def read_log(path: str | Path) -> tuple[list[Record], list[str]]:
    """The records of a log and one message for each broken line.

    Raises ValueError where nothing can be read from the file, FileNotFoundError, OSError.
    """
    log = replay(path)
    if not log.records and log.header is None:
        if log.problems:
            raise ValueError(f"{path}: no line can be read as feedback. The first: {log.problems[0]}")
        raise ValueError(
            f"{path}: the log is empty; expected one JSON object a line. Label first, or give another path"
        )
    return log.records, log.problems


def _take(line: bytes, log: Log) -> list[str]:
    """Apply one line to the log and return what is wrong with it."""
    try:
        event = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        return [f"not UTF-8 text: {error.reason} at byte {error.start}"]
    except ValueError as error:
        return [f"not JSON: {error}"]
    if not isinstance(event, dict):
        return [f"expected a JSON object, got {shorten(event)}"]
    op = event.get("op", "label")
    if op == "items":
        if not (isinstance(event.get("hash"), str) and isinstance(event.get("n"), int)):
            return [f"header: expected 'hash' and 'n', got {shorten(event)}"]
        log.header = event
    elif op == "label":
        record = event.get("record") if "op" in event else event
        if wrong := validate(record):
            return wrong
        assert isinstance(record, dict)
        log.records.append(record)
    elif op in ("undo", "keep"):
        at = [
            i
            for i, r in enumerate(log.records)
            if r["id"] == event.get("id") and r["annotator"] == event.get("annotator", r["annotator"])
        ]
        if not at:
            return [f"{op}: expected the id of a label further up, got {shorten(event.get('id'))}"]
        if op == "undo":
            del log.records[at[-1]]
    else:
        return [f"op: expected 'items', 'label', 'undo' or 'keep', got {shorten(op)}"]
    return []
