"""Labels for other tools: TRL and Hugging Face datasets, parquet, CSV, Argilla, Label Studio."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mmbook.feedback.dataset import Feedback, said
from mmbook.feedback.records import Record, form_of
from mmbook.world import SIDE, Scene, render

if TYPE_CHECKING:
    from datasets import Dataset

Row = dict[str, Any]
# Label Studio's configuration for the tasks that `label_studio` writes.
STUDIO = """<View>
  <Text name="prompt" value="$prompt"/>
  <Pairwise name="better" toName="first,second"/>
  <Text name="first" value="$first"/>
  <Text name="second" value="$second"/>
  <Choices name="other" toName="prompt"><Choice value="tie"/><Choice value="both_bad"/></Choices>
</View>
"""


def flat(feedback: Feedback) -> list[Row]:
    """Every live record as one row of numbers and texts; scene, responses and other lists are JSON texts."""
    nested = dict | list
    return [
        {k: json.dumps(v) if isinstance(v, nested) else v for k, v in r.items()} for r in feedback.records
    ]


def trl(feedback: Feedback, images: bool = False) -> list[Row]:
    """Pairs with a preference as TRL's trainers read them: prompt, chosen, rejected.

    With `images` they are conversations, each with its picture, uint8 (H, W, 3), in "images", a list that is
    empty where nothing was shown. An edit counts as chosen over its original. Ties, and pairs judged both bad
    or skipped, have no such form and are left out; so are ratings, rankings, and answers that are no texts.
    """
    rows = []
    for record in feedback.records:
        kind, captions, _ = said(record) or ("", (), 0)
        if kind != "pair":
            continue
        row: Row = {"prompt": record["prompt"]}
        row["chosen"], row["rejected"] = captions
        if images:
            picture = feedback.picture(record)
            shown = [] if picture is None else [_pixels(picture)]
            ask = [{"type": "image"}] * len(shown) + [{"type": "text", "text": row["prompt"]}]
            row = {
                "images": shown,
                "prompt": [{"role": "user", "content": ask}],
                **{
                    key: [{"role": "assistant", "content": [{"type": "text", "text": row[key]}]}]
                    for key in ("chosen", "rejected")
                },
            }
        rows.append(row)
    return rows


def _pixels(picture: Scene | np.ndarray, size: int = SIDE) -> np.ndarray:
    return render([picture], size)[0] if isinstance(picture, Scene) else picture


def to_datasets(feedback: Feedback, form: str = "flat", size: int = SIDE) -> Dataset:
    """Labels as a `datasets.Dataset`: "flat", with the picture asked about in "image", or "trl".

    "trl" has the conversations and pictures that TRL's trainers read; "flat" has scenes `size` pixels wide.
    Needs `datasets`. Raises ValueError for another form, or where there is nothing to write.
    """
    import datasets
    from PIL import Image

    if form not in ("flat", "trl"):
        raise ValueError(f"form: expected flat or trl, got {form!r}")
    rows = flat(feedback) if form == "flat" else trl(feedback, images=True)
    if not rows:
        raise ValueError(f"{feedback.path.name}: no judgement to write as {form} ({feedback.summary()})")
    if form == "trl":
        for row in rows:
            row["images"] = [Image.fromarray(pixels) for pixels in row["images"]]
        columns = _columns(rows)
        pictures: Any = datasets.List(datasets.Image())
    else:
        shown = [feedback.picture(record) for record in feedback.records]
        columns = _columns(rows) | {
            "image": [None if p is None else Image.fromarray(_pixels(p, size)) for p in shown]
        }
        pictures = datasets.Image()
    name = "images" if form == "trl" else "image"
    texts = datasets.Dataset.from_dict({k: v for k, v in columns.items() if k != name})
    return datasets.Dataset.from_dict(columns, datasets.Features({**texts.features, name: pictures}))


def argilla(feedback: Feedback) -> list[Row]:
    """Records as Argilla 2 writes them: fields, metadata, and responses to its questions, by annotator.

    The question "better" is answered first, second, tie or both_bad, "rating" 1 to 5, "aspect-<name>" 1 to 5,
    "edit" with a text, or JSON for a style; pictures and sounds are data URIs. Rankings are left out.
    """
    found: dict[str, Row] = {}
    for r in feedback.records:
        if r["outcome"] == "skip" or r["kind"] == "ranking":
            continue
        names = ("first", "second") if r["kind"] == "pair" else ("response",)
        answers = [x if isinstance(x, str) else next(iter(x.values())) for x in r["responses"]]
        row = found.setdefault(
            r["id"],
            {
                "id": r["id"],
                "fields": {"prompt": r["prompt"], **dict(zip(names, answers, strict=True))},
                "metadata": {"model": r["model"], "round": r["round"]},
                "suggestions": {},
                "responses": {},
            },
        )
        name = "better" if r["kind"] == "pair" else r["kind"]
        value = _choice(r) if r["kind"] == "pair" else r[name]
        values = {name: json.dumps(value) if isinstance(value, dict) else value}
        values |= {f"aspect-{aspect}": grade for aspect, grade in (r.get("aspects") or {}).items()}
        for question, answer in values.items():
            row["responses"].setdefault(question, []).append({"value": answer, "user_id": r["annotator"]})
    return list(found.values())


def label_studio(feedback: Feedback) -> list[Row]:
    """Pairs of texts as annotated tasks of Label Studio, for its configuration `STUDIO`; lead_time in s."""
    tasks: dict[str, Row] = {}
    for r in feedback.records:
        if r["kind"] != "pair" or r["outcome"] == "skip" or form_of(r["responses"]) != "text":
            continue
        first, second = r["responses"]
        data = {"id": r["id"], "prompt": r["prompt"], "first": first, "second": second}
        task = tasks.setdefault(r["id"], {"data": data, "annotations": []})
        if r["outcome"] == "label":
            result = {"from_name": "better", "to_name": "first,second", "type": "pairwise"}
            value: Row = {"selected": ("left", "right")[r["choice"]]}
        else:
            result = {"from_name": "other", "to_name": "prompt", "type": "choices"}
            value = {"choices": [r["outcome"]]}
        task["annotations"].append(
            {
                "completed_by": {"email": r["annotator"]},
                "created_at": r["time"],
                "lead_time": r["ms"] / 1000,
                "result": [{**result, "value": value}],
            }
        )
    return list(tasks.values())


def _choice(record: Record) -> str:
    return ("first", "second")[record["choice"]] if record["outcome"] == "label" else record["outcome"]


def _columns(rows: list[Row]) -> dict[str, list[Any]]:
    """Rows as columns of one type each: where types differ, or a whole number is too large, JSON texts."""
    found = {}
    for name in dict.fromkeys(key for row in rows for key in row):
        values = [row.get(name) for row in rows]
        kinds = {type(value) for value in values} - {type(None)}
        large = any(isinstance(value, int) and abs(value) >= 2**63 for value in values)
        if large or len(kinds) > 1:
            values = [v if v is None or isinstance(v, str) else json.dumps(v) for v in values]
        found[name] = [_utf8(value) for value in values]
    return found


def _utf8(value: Any) -> Any:
    """A value with half surrogate pairs, which UTF-8 does not have, as their JSON escapes."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(value, list):
        return [_utf8(x) for x in value]
    return {k: _utf8(x) for k, x in value.items()} if isinstance(value, dict) else value


FORMS: dict[str, Callable[[Feedback], list[Row]]] = {
    "records": lambda feedback: feedback.records,
    "flat": flat,
    "trl": trl,
    "argilla": argilla,
    "label-studio": label_studio,
}


def export(feedback: Feedback, path: str | Path, form: str = "records") -> Path:
    """Write labels in one of `FORMS` as .jsonl, .json, .csv or .parquet; the ending of `path` decides.

    CSV and parquet hold "flat" or "trl". Parquet needs `pyarrow`, which comes with `datasets`. Half a
    surrogate pair, which other tools refuse, is kept in "records" and is its escape as text in other forms.
    Raises ValueError for another form or ending, or where there is nothing to write.
    """
    path = Path(path)
    if form not in FORMS:
        raise ValueError(f"form: expected one of {', '.join(FORMS)}, got {form!r}")
    tables = (".csv", ".parquet")
    if path.suffix not in (".jsonl", ".json", *tables):
        raise ValueError(f"path: expected an ending .jsonl, .json, .csv or .parquet, got {path.name!r}")
    if path.suffix in tables and form not in ("flat", "trl"):
        raise ValueError(f"form: a table, {path.suffix}, holds flat or trl, got {form!r}")
    rows = FORMS[form](feedback)
    if not rows:
        raise ValueError(f"{feedback.path.name}: no judgement to write as {form} ({feedback.summary()})")
    if path.suffix == ".parquet":
        import pyarrow
        import pyarrow.parquet

        pyarrow.parquet.write_table(pyarrow.table(_columns(rows)), path)
    elif path.suffix == ".csv":
        with path.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
            writer = csv.DictWriter(file, list(_columns(rows)))
            writer.writeheader()
            writer.writerows(rows)
    else:
        kept = rows if form == "records" else [_utf8(row) for row in rows]
        lines = [json.dumps(row, ensure_ascii=False) for row in kept]
        text = "\n".join(lines) if path.suffix == ".jsonl" else "[\n" + ",\n".join(lines) + "\n]"
        path.write_bytes((text + "\n").encode("utf-8", "backslashreplace"))
    return path
