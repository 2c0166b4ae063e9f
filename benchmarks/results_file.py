"""Write a results file: benchmarks/results/<name>.json, with the numbers that the book's prose reads."""

from __future__ import annotations

import json
import platform
import subprocess
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "results"


def number(value: float, tolerance: float, says: str, seed: int = 0, unit: str = "share") -> dict[str, Any]:
    """One number with the absolute tolerance within which a new run has to agree."""
    return {"value": round(float(value), 6), "tolerance": tolerance, "seed": seed, "unit": unit, "says": says}


def write(name: str, values: dict[str, dict[str, Any]], **more: Any) -> None:
    """Write the numbers and whatever else a figure needs, stamped with device and commit."""
    git = ["git", "-C", str(FOLDER), "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(git, capture_output=True, text=True).stdout.strip() or "unknown"
    device = f"CPU, one thread, {platform.machine()}"
    FOLDER.mkdir(exist_ok=True)
    text = json.dumps(
        {"device": device, "commit": commit, "values": values, **more}, indent=1, ensure_ascii=False
    )
    (FOLDER / f"{name}.json").write_text(text + "\n", encoding="utf-8")
