"""Numbers in prose come from committed runs: `benchmarks/results/<file>.json`, read as `<file>.<key>`."""

from __future__ import annotations

import json
import math
import os
import re
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_REAL = (int, float)
_FIELDS: dict[str, Any] = {"value": _REAL, "tolerance": _REAL, "seed": int, "unit": str, "says": str}
_FIELDS |= {"device": str, "commit": str}
_SPEC = re.compile(r"(?P<name>(?P<file>[\w-]+)\.(?P<key>[\w.-]+))(?::(?P<format>.+))?")


class NumberError(ValueError):
    """A number that is missing, malformed, or no longer what a run gives."""


@dataclass(frozen=True)
class Number:
    """One committed result; `tolerance` is absolute, in the value's own `unit`."""

    name: str
    value: float
    tolerance: float
    seed: int
    unit: str
    says: str
    device: str
    commit: str

    def text(self, spec: str = "") -> str:
        """Format the value; without a format a share is a whole percentage and the rest has four digits."""
        return format(self.value, spec or (".0%" if self.unit == "share" else ".4g"))


def results_folder() -> Path | None:
    """Return the folder of committed results: MMBOOK_RESULTS, else the source checkout's, else None."""
    if os.environ.get("MMBOOK_RESULTS"):
        return Path(os.environ["MMBOOK_RESULTS"])
    folder = Path(__file__).resolve().parents[2] / "benchmarks" / "results"
    return folder if folder.is_dir() else None


def read_results(path: Path) -> dict[str, Number]:
    """Read one results file, by key; raises NumberError that names the file and the field."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        shared, values = {k: data.get(k) for k in ("device", "commit")}, data["values"].items()
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise NumberError(f"{path}: expected a JSON object with 'values' ({error!r})") from error
    numbers = {}
    for key, entry in values:
        fields = {**shared, **(entry if isinstance(entry, dict) else {})}
        for name, kind in _FIELDS.items():
            value = fields.get(name)
            if not isinstance(value, kind) or isinstance(value, bool):
                expected = "a number" if kind is not str else "a text"
                raise NumberError(f"{path}, values.{key}: '{name}' must be {expected}, got {value!r}")
        number = Number(name=f"{path.stem}.{key}", **{name: fields[name] for name in _FIELDS})
        if not math.isfinite(number.value) or not number.tolerance >= 0:
            raise NumberError(f"{path}, values.{key}: 'value' must be finite and 'tolerance' not negative")
        numbers[key] = number
    return numbers


def committed(name: str, folder: Path | None = None) -> Number:
    """Return the committed number `<file>.<key>`; raises NumberError that lists what there is."""
    match = _SPEC.fullmatch(name)
    if match is None or match["format"]:
        raise NumberError(f"expected <file>.<key>, for example quickstart.terse_after; got {name!r}")
    folder = folder or results_folder()
    if folder is None:
        raise NumberError(f"{name}: there is no benchmarks/results here; set MMBOOK_RESULTS to such a folder")
    path = folder / f"{match['file']}.json"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in folder.glob("*.json"))) or "none"
        raise NumberError(f"{name}: no results file {match['file']!r}; known files: {known}")
    numbers = read_results(path)
    if match["key"] not in numbers:
        raise NumberError(f"{name}: no such key; known keys: {', '.join(sorted(numbers)) or 'none'}")
    return numbers[match["key"]]


def committed_rows(name: str, folder: Path | None = None) -> list[dict[str, Any]]:
    """The rows behind a committed figure: the list "rows" of benchmarks/results/<name>.json.

    Outside a source checkout, where there are none, it says so and returns an empty list. Raises NumberError.
    """
    folder = folder or results_folder()
    if folder is None:
        print(f"{name}: the committed results are not here, so this figure stays empty; the page has it")
        return []
    path = folder / f"{name}.json"
    try:
        return list(json.loads(path.read_text(encoding="utf-8"))["rows"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise NumberError(f"{path}: expected a JSON object with a list 'rows' ({error!r})") from error


def number_text(spec: str, folder: Path | None = None) -> tuple[str, Number]:
    """Resolve the content of the role, `<file>.<key>` or `<file>.<key>:<format>`, to its text."""
    match = _SPEC.fullmatch(spec.strip())
    number = committed(match["name"] if match else spec.strip(), folder)
    try:
        return number.text((match["format"] if match else "") or ""), number
    except ValueError as error:
        raise NumberError(f"{spec}: {error}; write a Python format such as .2f or .0%") from error


def check_number(name: str, measured: float, folder: Path | None = None, compare: bool = True) -> float:
    """Return `measured` if it agrees with the committed number `name`; raises NumberError otherwise.

    Outside a source checkout, where there is nothing to compare with, it says so and compares nothing; nor
    does it with `compare=False` (a reader's own labels). With MMBOOK_RECORD, a file, it notes the measurement
    there instead: so a benchmark writes the committed results by running the chapter.
    """
    measured = float(measured)
    if os.environ.get("MMBOOK_RECORD"):
        with Path(os.environ["MMBOOK_RECORD"]).open("a", encoding="utf-8") as file:
            file.write(json.dumps([name, measured]) + "\n")
        return measured
    if not compare:
        return measured
    folder = folder or results_folder()
    if folder is None:
        print(f"{name}: measured {measured:.4g}; the committed results are not here, so nothing is compared")
        return measured
    number = committed(name, folder)
    if not abs(measured - number.value) <= number.tolerance:
        raise NumberError(
            f"{name} ({number.says}): committed {number.value:.6g} ± {number.tolerance:.3g} "
            f"(seed {number.seed}, {number.device}), measured {measured:.6g}. If the change is meant, write "
            f"benchmarks/results/{name.split('.')[0]}.json again with its benchmark; if not, find what moved."
        )
    return measured


def check_cost(chapter: str) -> None:
    """Note the CPU seconds and the peak memory of this process as `<chapter>.cpu_seconds` and `.memory_gb`.

    Nothing is compared: machines differ. Where the system does not tell the memory (Windows) it is left out.
    """
    check_number(f"{chapter}.cpu_seconds", time.process_time(), compare=False)
    try:
        import resource
    except ImportError:
        return
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS, kilobytes on Linux
    check_number(f"{chapter}.memory_gb", peak / 2 ** (30 if sys.platform == "darwin" else 20), compare=False)
