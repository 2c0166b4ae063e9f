"""How fast scenes are drawn, captions checked and the package imported: CPU seconds, best of five.

python benchmarks/speed.py
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable

from results_file import number, write

from mmbook.world import careless_captions, render, sample_scenes, score


def best(run: Callable[[], object], times: int = 5) -> float:
    """The least CPU seconds of several runs."""
    seconds = []
    for _ in range(times):
        start = time.process_time()
        run()
        seconds.append(time.process_time() - start)
    return min(seconds)


def import_seconds() -> float:
    """CPU seconds of `import mmbook` in a fresh interpreter; fails if that imports torch."""
    code = (
        "import sys, time; s = time.process_time(); import mmbook; "
        "assert 'torch' not in sys.modules; print(time.process_time() - s)"
    )
    return min(
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
        for _ in range(5)
    )


if __name__ == "__main__":
    n = 10_000
    scenes = sample_scenes(n, 0)
    captions = careless_captions(scenes, 0)
    rates = {
        "scenes": (lambda: render(sample_scenes(n, 0)), "scenes sampled and rendered at 48 pixels"),
        "captions": (lambda: careless_captions(scenes, 0), "training captions written"),
        "checks": (lambda: score(captions, scenes), "captions checked"),
    }
    values = {
        f"{name}_per_second": number(n / best(run), 1e6, says + " per CPU second", unit="per second")
        for name, (run, says) in rates.items()
    }
    values["import_seconds"] = number(import_seconds(), 0.5, "CPU seconds of import mmbook", unit="seconds")
    print({name: entry["value"] for name, entry in values.items()})
    write("speed", values)
