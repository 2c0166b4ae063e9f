"""Preferences for pictures from the hub: a slice is streamed once, and from then on is a log on the disk."""

from __future__ import annotations

import io
import json
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from mmbook.feedback import log
from mmbook.feedback.dataset import Feedback
from mmbook.feedback.importing import from_rows
from mmbook.feedback.media import from_image
from mmbook.feedback.records import Record
from mmbook.world.fetch import data_folder


@dataclass(frozen=True)
class PreferenceSet:
    """What a set's card says: who judged, its licence, when it appeared, and where its texts are."""

    judge: str
    licence: str
    time: str  # of all its records: nobody timed the judgements
    text: str = ""  # the column of JSON with question, chosen and rejected; else each is a column


SETS = {
    "openbmb/RLHF-V-Dataset": PreferenceSet("human", "CC BY-NC 4.0", "2024-01-06T00:00:00Z", text="text"),
    "openbmb/RLAIF-V-Dataset": PreferenceSet("AI", "CC BY-NC 4.0", "2024-05-20T00:00:00Z"),
}


def hub_feedback(
    name: str = "openbmb/RLHF-V-Dataset",
    rows: int = 500,
    model: Any = None,
    split: str = "train",
    folder: str | Path | None = None,
    source: str | Path | None = None,
    longest: int = 512,
) -> Feedback:
    """The first `rows` rows of one of `SETS` as feedback on `model`, kept in `folder` for the next call.

    RLHF-V (arXiv 2312.00849) holds answers that people corrected, RLAIF-V (arXiv 2405.17220) ones that models
    ranked; both are for non-commercial use. `source` is a folder with the set's files in the place of
    the hub. Pictures with a side above `longest` pixels are shrunk, the others keep their bytes. A record's
    `annotator` and `source` tell where it comes from, its `prompt` the question that was asked; a `VLM`
    asks a question of its own instead. Raises ImportError without the package datasets, ValueError for
    another set or rows that cannot be used, OSError when the hub gives nothing.
    """
    if name not in SETS:
        raise ValueError(
            f"name: expected one of {', '.join(SETS)}, got {name!r}; give the rows of another set, "
            "as prompt, chosen, rejected and images, to from_rows"
        )
    if rows < 1:
        raise ValueError(f"rows: expected 1 or more, got {rows}")
    kept = Path(folder or data_folder() / "feedback")
    path = kept / f"{name.replace('/', '--')}-{split}-{rows}-{longest}.jsonl"
    if not path.exists():
        part = path.with_name(f"{path.name}.{os.getpid()}.part")  # no other process's
        part.unlink(missing_ok=True)
        log.append(part, _records(name, rows, split, str(source or name), longest))
        part.replace(path)
    return Feedback.from_log(path, model)


def _records(name: str, rows: int, split: str, source: str, longest: int) -> list[Record]:
    try:
        import datasets
    except ImportError as error:
        raise ImportError(
            "sets of the hub are read with the package datasets: pip install datasets"
        ) from error
    about, records, problems = SETS[name], list[Record](), list[str]()
    try:
        stream = datasets.load_dataset(source, split=split, streaming=True)
        found = list(stream.cast_column("image", datasets.Image(decode=False)).take(rows))
    except Exception as error:  # of the hub's clients, which raise whatever they please
        from mmbook.models.load import hub_advice  # and torch with it

        said = (str(error) or type(error).__name__).splitlines()[0]
        raise OSError(
            f"{source}: expected a preference set on the hub and a network to fetch it from "
            f"({said}). {hub_advice(error)}"
            f"For a set: `hf download --repo-type dataset {name} --local-dir FOLDER`, then once "
            f"`hub_feedback({name!r}, {rows}, source=FOLDER)` keeps what is needed."
        ) from error
    for n, row in enumerate(found):
        made, wrong = from_rows([_row(row, about, longest)], annotator=f"{name} ({about.judge})")
        whence = {"dataset": name, "split": split, "row": n, "licence": about.licence}
        records += [{**record, "time": about.time, "source": whence} for record in made]
        problems += [f"row {n}: {what.partition(': ')[2]}" for what in wrong]
    if not records:
        why = problems[0] if problems else "it has no rows"
        raise ValueError(f"{source}: none of {len(found)} rows can be used. The first: {why}")
    if problems:
        warnings.warn(f"{source}: {len(problems)} faults, rows left out; first {problems[0]}", stacklevel=3)
    return records


def _row(row: dict[str, Any], about: PreferenceSet, longest: int) -> Any:
    """A row as the importer takes it, or what is wrong with it as an exception."""
    try:
        texts = json.loads(row[about.text]) if about.text else row
        told = {"prompt": texts["question"], "chosen": texts["chosen"], "rejected": texts["rejected"]}
        return told | {"image": _shrunk(row["image"], longest)}
    except (ValueError, KeyError, TypeError, OSError) as error:
        return ValueError(f"expected an image, and question, chosen and rejected ({error!r})")


def _shrunk(image: dict[str, Any], longest: int) -> dict[str, Any]:
    with Image.open(io.BytesIO(image["bytes"])) as picture:
        if max(picture.size) <= longest:
            return image
        small, file = Image.fromarray(from_image(picture)), io.BytesIO()
    small.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    small.save(file, "JPEG", quality=90)
    return {"bytes": file.getvalue()}
