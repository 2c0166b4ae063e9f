"""Labels from elsewhere: logs, downloads of a page, exported tables, preferences as TRL has them."""

from __future__ import annotations

import csv
import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mmbook.feedback import log
from mmbook.feedback.items import digest
from mmbook.feedback.media import ENCODED, decode_picture, encoded_uri, from_image, picture_uri
from mmbook.feedback.records import Record, form_of, make_record, now, shorten, validate

Row = Mapping[str, Any]
Said = str | list[tuple[str, str]]  # a text, or messages: role and text
_NUMBERS = ("schema", "ms", "side", "round", "choice", "rating", "temperature", "seed")
_NESTED = ("scene", "responses", "order", "shown", "aspects")
_NOT_UTF8 = re.compile("[\udc80-\udcff]")  # bytes that were kept as half surrogate pairs
_URL = re.compile(r"[A-Za-z][\w+.-]*://")


def read_labels(path: str | Path, annotator: str = "imported") -> tuple[list[Record], list[str]]:
    """The records of a file, and one message for each line, row or field that is wrong.

    The file is a log, what was downloaded from a page, an export of `records`, `flat` or `trl`, or rows of
    prompt, chosen and rejected for TRL (see `from_rows`) as .jsonl, .json, .csv or .parquet.
    Raises ValueError where nothing can be read from the file, FileNotFoundError, OSError.
    """
    found = read_foreign(path, annotator)
    if found is None:
        return log.read_log(path)
    if not found.records:
        why = found.problems[0] if found.problems else "it has no rows"
        raise ValueError(f"{path}: no row can be read as feedback. The first: {why}")
    return found.records, found.problems


def from_rows(
    rows: Iterable[Row], annotator: str = "imported", folder: Path | None = None
) -> tuple[list[Record], list[str]]:
    """Records of preferences as TRL's trainers read them, a `datasets.Dataset` or a list, and what is wrong.

    A row has `prompt`, `chosen` and `rejected`, texts or conversations, or a prompt that the two begin with;
    `images` holds at most one picture: of Pillow, uint8 (H, W, 3), encoded bytes, a data URI, or a file in
    `folder`. Nothing is fetched. Several messages become one text, each after its role. The records are pairs
    with choice 0, and marked as `imported`: nobody knows which response was shown first.
    """
    found = _read(((f"row {n}", row) for n, row in enumerate(rows, 1)), annotator, folder)
    return found.records, found.problems


def read_foreign(path: str | Path, annotator: str = "imported") -> log.Log | None:
    """A file that is no log of events as if it were one; None for what `log.replay` reads. Raises OSError."""
    path = Path(path)
    if not path.is_file():
        return None
    with path.open("rb") as file:
        head = file.read(4)
    if head == b"PAR1":
        return _table(path, _parquet(path), annotator)
    if path.suffix == ".csv":
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as text, _long_fields():
            return _table(path, map(_decoded, csv.DictReader(text, restkey="more")), annotator)
    data = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
    if data.lstrip()[:1] == b"[":
        try:
            rows = json.loads(data)
        except (ValueError, RecursionError):
            pass  # perhaps only its first line is broken
        else:
            return _table(path, rows, annotator)
    first = _parse(data.lstrip().partition(b"\n")[0])
    if isinstance(first, dict) and "op" in first:
        return None
    replayed = log.replay(path)
    if replayed.records or replayed.header:
        return None
    lines = ((f"{path.name}, line {n}", x) for n, x in enumerate(data.split(b"\n"), 1) if x.strip())
    found = _read(((where, _parse(line)) for where, line in lines), annotator, path.parent)
    return found if found.records or b'"chosen"' in data else None


def _decoded(row: Row) -> Row | ValueError:
    """The row of a CSV file, or what is wrong with its bytes as an exception."""
    for name, value in row.items():
        if isinstance(value, str) and _NOT_UTF8.search(value):
            return ValueError(f"{shorten(name)}: expected UTF-8 text, got {shorten(value)}")
    return row


def _parse(line: bytes) -> Any:
    """A line of JSON, or what is wrong with it as an exception."""
    try:
        return json.loads(line.decode("utf-8"))
    except RecursionError:
        return ValueError("nested too deeply for a row")
    except ValueError as error:
        return ValueError(f"not JSON in UTF-8: {error}")


def _parquet(path: Path) -> list[Row]:
    import pyarrow
    import pyarrow.parquet

    try:
        return pyarrow.parquet.read_table(path).to_pylist()
    except (pyarrow.ArrowException, ValueError, OSError) as error:
        raise ValueError(f"{path}: expected a parquet file, but it cannot be read ({error})") from error


@contextmanager
def _long_fields() -> Iterator[None]:
    """Let CSV fields be longer than 128 KB."""
    before = csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _table(path: Path, rows: Iterable[Any], annotator: str) -> log.Log:
    return _read(((f"{path.name}, row {n}", row) for n, row in enumerate(rows, 1)), annotator, path.parent)


def _read(rows: Iterable[tuple[str, Any]], annotator: str, folder: Path | None) -> log.Log:
    found, time = log.Log(), now()
    for where, row in rows:
        try:
            record = _record(row, annotator, folder, time)
            problems = validate(record)
        except RecursionError:
            problems = ["nested too deeply for a row"]
        except (ValueError, OSError) as error:
            problems = [str(error)]
        if not problems:
            found.records.append(record)
        found.problems += [f"{where}: {problem}" for problem in problems]
    return found


def _record(row: Any, annotator: str, folder: Path | None, time: str) -> Record:
    """A record from a row. Raises ValueError that names the field."""
    if isinstance(row, ValueError):
        raise row
    if not isinstance(row, Mapping):
        raise ValueError(f"row: expected an object, got {shorten(row)}")
    if "chosen" not in row and "rejected" not in row and "kind" in row:
        return _unflatten(row)
    prompt, chosen, rejected = _preference(row)
    image = _picture(row, folder)
    item = {
        "id": digest([prompt, chosen, rejected, image]),
        "kind": "pair",
        "prompt": prompt,
        "image": image,
        "responses": [chosen, rejected],
        "model": "",
        "temperature": None,
        "seed": None,
        "round": 0,
    }
    record = make_record(item, annotator=annotator, outcome="label", choice=0, time=time)
    return {**record, "imported": True}


def _unflatten(row: Row) -> Record:
    """A record from the row of a table, where nested values are JSON texts and missing ones are null."""
    record: Record = {}
    for name, value in row.items():
        if isinstance(value, str) and value and name in (*_NUMBERS, *_NESTED):
            value = _json(name, value)
        elif value == "" and name not in ("prompt", "model"):
            value = None  # as CSV has it
        if value is not None or name in ("temperature", "seed"):
            record[name] = value
    if "scene" not in record:
        record.setdefault("image", None)
    if not isinstance(record.get("image"), str | None):  # the scene's picture, or one of `datasets`
        picture = record.pop("image")
        record |= {} if "scene" in record else {"image": _picture({"image": picture}, None)}
    if isinstance(record.get("edit"), str) and form_of(record.get("responses")) == "picture":
        record["edit"] = _json("edit", record["edit"])
    return record


def _json(name: str, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        raise ValueError(f"{name}: expected JSON, got {shorten(text)}") from None


def _preference(row: Row) -> tuple[str, str, str]:
    """Prompt, chosen and rejected as texts. The prompt may be what chosen and rejected begin with."""
    chosen, rejected = (_said(name, row.get(name)) for name in ("chosen", "rejected"))
    prompt = None if row.get("prompt") is None else _said("prompt", row["prompt"])
    if prompt is None or (isinstance(prompt, str) and isinstance(chosen, list)):
        n = _alike(chosen, rejected)
        if n:
            prompt, chosen, rejected = chosen[:n], chosen[n:], rejected[n:]
    if prompt is None:
        raise ValueError("prompt: expected one, or chosen and rejected that begin alike, but it is missing")
    return _text(prompt), _text(chosen), _text(rejected)


def _said(name: str, value: Any) -> Said:
    if isinstance(value, str):
        return value
    if not isinstance(value, list) or not value:
        raise ValueError(f"{name}: expected a text or a list of messages, got {shorten(value)}")
    found = []
    for i, message in enumerate(value):
        if not isinstance(message, Mapping) or not isinstance(message.get("role"), str):
            raise ValueError(f"{name}[{i}]: expected a message, role and content, got {shorten(message)}")
        content = message.get("content")
        parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
        if not isinstance(parts, list) or not all(map(_is_part, parts)):
            expected = "a text, or a list of texts and images"
            raise ValueError(f"{name}[{i}].content: expected {expected}, got {shorten(content)}")
        texts = [part["text"] for part in parts if part["type"] == "text"]
        found.append((message["role"], "\n".join(texts)))
    return found


def _is_part(part: Any) -> bool:
    if not isinstance(part, Mapping):
        return False
    return part.get("type") == "image" or (part.get("type") == "text" and isinstance(part.get("text"), str))


def _alike(chosen: Said, rejected: Said) -> int:
    """How many messages, or characters of whole words, two answers have in common at their beginning."""
    n = 0
    for a, b in zip(chosen, rejected, strict=False):
        if a != b:
            break
        n += 1
    if isinstance(chosen, str):
        while n and not chosen[n - 1].isspace():
            n -= 1
    return n if n < min(len(chosen), len(rejected)) else 0


def _text(said: Said) -> str:
    if isinstance(said, str):
        return said
    return said[0][1] if len(said) == 1 else "\n\n".join(f"{role}: {text}" for role, text in said)


def _picture(row: Row, folder: Path | None) -> str | None:
    """The data URI of a row's picture, which is checked; None where it has none."""
    field = "images" if row.get("images") is not None else "image"
    found = row.get(field)
    pictures = found if isinstance(found, list) else [] if found is None else [found]
    if not pictures:
        return None
    if len(pictures) > 1:
        raise ValueError(f"{field}: expected one picture, got {len(pictures)}")
    try:
        return _uri(pictures[0], folder)
    except (ValueError, OSError) as error:
        raise ValueError(f"{field}: {error}") from None


def _uri(picture: Any, folder: Path | None) -> str:
    if isinstance(picture, Mapping):  # as `datasets` keeps it
        picture = picture.get("path") if picture.get("bytes") is None else picture["bytes"]
    if isinstance(picture, Image.Image):
        return picture_uri(from_image(picture), colours=0)
    if isinstance(picture, np.ndarray):
        return picture_uri(picture, colours=0)
    if isinstance(picture, bytes):
        return encoded_uri(picture)
    if not isinstance(picture, str):
        raise ValueError(f"expected a picture, its bytes, a data URI or a file, got {shorten(picture)}")
    if picture.startswith("data:"):
        pixels = decode_picture(picture)
        return picture if form_of([{"picture": picture}]) else picture_uri(pixels, colours=0)
    if _URL.match(picture):
        raise ValueError(
            f"expected a picture that is here, got a URL, which is not fetched: {shorten(picture)}"
        )
    if folder is None:
        raise ValueError(f"expected a picture, got a file's name without its folder: {shorten(picture)}")
    path = (folder / picture).resolve()
    if not path.is_relative_to(folder.resolve()) or not path.is_file() or path.stat().st_size > ENCODED:
        raise ValueError(f"expected a file in {folder.name or folder}/, got {shorten(picture)}")
    return encoded_uri(path.read_bytes())
