"""Labels for other tools: TRL and Hugging Face datasets, parquet, CSV, Argilla, Label Studio."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mmbook.feedback.dataset import Feedback
from mmbook.feedback.records import Record
from mmbook.world import render

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
    """Every live record as one row of numbers and texts; scene, responses and order are JSON texts."""
    nested = ("scene", "responses", "order")
    return [{k: json.dumps(v) if k in nested else v for k, v in r.items()} for r in feedback.records]


def trl(feedback: Feedback, images: bool = False) -> list[Row]:
    """Pairs with a preference as TRL's trainers read them: prompt, chosen, rejected.

    With `images` they are conversations, each with its picture, uint8 (48, 48, 3), in "images". An edit
    counts as chosen over its original. Ties, and pairs judged both bad or skipped, have no such form and are
    left out; so are ratings and rankings.
    """
    rows = []
    for judged in feedback.judgements():
        if judged.kind != "pair":
            continue
        row: Row = {"prompt": judged.record["prompt"]}
        row["chosen"], row["rejected"] = judged.captions
        if images:
            ask = [{"type": "image"}, {"type": "text", "text": row["prompt"]}]
            row = {
                "images": [render([judged.scene])[0]],
                "prompt": [{"role": "user", "content": ask}],
                **{
                    key: [{"role": "assistant", "content": [{"type": "text", "text": row[key]}]}]
                    for key in ("chosen", "rejected")
                },
            }
        rows.append(row)
    return rows


def argilla(feedback: Feedback) -> list[Row]:
    """Records as Argilla 2 writes them: fields, metadata, and responses to its questions, by annotator.

    The question "better" is answered first, second, tie or both_bad, "rating" 1 to 5, "edit" with a text.
    """
    found: dict[str, Row] = {}
    for r in feedback.records:
        if r["outcome"] == "skip" or r["kind"] == "ranking":
            continue
        names = ("first", "second") if r["kind"] == "pair" else ("response",)
        row = found.setdefault(
            r["id"],
            {
                "id": r["id"],
                "fields": {"prompt": r["prompt"], **dict(zip(names, r["responses"], strict=True))},
                "metadata": {"model": r["model"], "round": r["round"]},
                "suggestions": {},
                "responses": {},
            },
        )
        name = "better" if r["kind"] == "pair" else r["kind"]
        value = _choice(r) if r["kind"] == "pair" else r[name]
        row["responses"].setdefault(name, []).append({"value": value, "user_id": r["annotator"]})
    return list(found.values())


def label_studio(feedback: Feedback) -> list[Row]:
    """Pairs as annotated tasks of Label Studio, for the configuration `STUDIO`; lead_time in seconds."""
    tasks: dict[str, Row] = {}
    for r in feedback.records:
        if r["kind"] != "pair" or r["outcome"] == "skip":
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


FORMS: dict[str, Callable[[Feedback], list[Row]]] = {
    "records": lambda feedback: feedback.records,
    "flat": flat,
    "trl": trl,
    "argilla": argilla,
    "label-studio": label_studio,
}


def export(feedback: Feedback, path: str | Path, form: str = "records") -> Path:
    """Write labels in one of `FORMS` as .jsonl, .json, .csv or .parquet; the ending of `path` decides.

    CSV and parquet hold "flat" or "trl". Parquet needs `pyarrow`, which comes with `datasets`. Raises
    ValueError for another form or ending, or where there is nothing to write.
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
    columns = list(dict.fromkeys(key for row in rows for key in row))
    if path.suffix == ".parquet":
        import pyarrow
        import pyarrow.parquet

        pyarrow.parquet.write_table(pyarrow.table({k: [r.get(k) for r in rows] for k in columns}), path)
    elif path.suffix == ".csv":
        with path.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(rows)
    else:
        lines = [json.dumps(row, ensure_ascii=False) for row in rows]
        text = "\n".join(lines) if path.suffix == ".jsonl" else "[\n" + ",\n".join(lines) + "\n]"
        path.write_bytes((text + "\n").encode("utf-8", "backslashreplace"))
    return path
