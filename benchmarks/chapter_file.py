"""Execute a chapter and write the numbers that its cells check as the results file that its prose reads."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import jupytext
from nbclient import NotebookClient
from results_file import number, write

BOOK = Path(__file__).parents[1] / "book"
Says = dict[str, tuple[float, str, str]]


def measure(chapter: str, says: Says) -> dict[str, dict[str, Any]]:
    """Run book/<chapter>.md in an empty folder and return the numbers that its cells check.

    Checks of other results files are theirs. `says` gives tolerance, meaning and unit of each key. Raises
    SystemExit where the chapter has other keys.
    """
    name = chapter.split("/")[-1]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "record.jsonl"
        os.environ |= {"MMBOOK_RECORD": str(path), "MMBOOK_STATIC": "1", "OMP_NUM_THREADS": "1"}
        notebook, place = jupytext.read(BOOK / f"{chapter}.md"), {"metadata": {"path": folder}}
        NotebookClient(notebook, timeout=900, kernel_name="python3", resources=place).execute()
        del os.environ["MMBOOK_RECORD"]
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    measured = {key.removeprefix(f"{name}."): value for key, value in rows if key.startswith(f"{name}.")}
    if differ := says.keys() ^ measured.keys():
        raise SystemExit(f"the chapter's checks and this table differ in: {', '.join(sorted(differ))}")
    return {key: number(measured[key], *says[key][:2], unit=says[key][2]) for key in says}


def record(chapter: str, says: Says) -> None:
    """Run a chapter and write its numbers as results/<its last name>.json."""
    write(chapter.split("/")[-1], measure(chapter, says))
