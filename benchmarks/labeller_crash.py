"""Writers of one log are killed (SIGKILL) at random moments: what they had acknowledged must be in the log.

python benchmarks/labeller_crash.py
python benchmarks/labeller_crash.py --times 20 --seed 1 --out crash.json   # elsewhere, as the test does

Two processes append labels to one log as fast as they can, and write a number to a pipe after each append
has returned. Half of the labels are short, half a million characters, so that kills fall into writes too.
This tries the death of a process, not of the machine: that the disk has the bytes is fsync's promise.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

from results_file import number, write

from mmbook.feedback.log import append, replay
from mmbook.feedback.records import make_record

LONGEST = 0.06  # seconds until a writer is killed
LARGE, EVERY = 1_000_000, 2  # characters of every second label or so


def label(who: str, n: int, size: int) -> dict[str, Any]:
    """The event of a label whose id says who wrote it, and which one it was."""
    item = {"id": f"{who}-{n}", "kind": "pair", "prompt": "Which?", "model": "", "round": 0, "image": None}
    item |= {"responses": ["x" * size, "b"], "temperature": None, "seed": None}
    return {"op": "label", "record": make_record(item, annotator=who, outcome="label", choice=0)}


def start(path: Path, who: str, seed: int) -> tuple[int, int]:
    """Fork a writer; returns its process id and the pipe on which it acknowledges."""
    reading, writing = os.pipe()
    if pid := os.fork():
        os.close(writing)
        return pid, reading
    try:
        warnings.simplefilter("ignore")
        rng, n = random.Random(seed), 0
        while True:
            append(path, [label(who, n, LARGE if rng.randrange(EVERY) == 0 else 40)])
            os.write(writing, b"%d\n" % n)
            n += 1
    finally:
        os._exit(1)


def kill(pid: int, pipe: int, who: str) -> list[str]:
    """Kill a writer; returns the ids of the labels that it had acknowledged."""
    os.kill(pid, signal.SIGKILL)
    with os.fdopen(pipe, "rb") as file:
        acknowledged = [f"{who}-{int(n)}" for n in file.read().split()]
    _, status = os.waitpid(pid, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL, f"{who} ended by itself: status {status}"
    return acknowledged


def crash(folder: Path, times: int, seed: int = 0) -> dict[str, int]:
    """Kill `times` writers, two on each log; returns how many labels were acknowledged, lost and so on."""
    rng = random.Random(seed)
    total = dict.fromkeys(("kills", "acknowledged", "lost", "more", "torn", "refused"), 0)
    for first in range(0, times, 2):
        path = folder / f"log-{first}.jsonl"
        names = [f"w{i}" for i in range(first, min(first + 2, times))]
        writers = [(*start(path, who, rng.randrange(2**31)), who) for who in names]
        promised = set[str]()
        for writer in writers:
            time.sleep(rng.uniform(0, LONGEST))
            promised |= set(kill(*writer))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            append(path, [label("next", first, 40)])  # the reader comes back and labels on
        found = replay(path)
        kept = {r["id"] for r in found.records}
        torn, lines = path.with_name(path.name + ".torn"), path.read_bytes().split(b"\n")
        copies = torn.read_bytes() if torn.exists() else b""
        for problem in found.problems:  # the copy may stand there twice: who wrote it was killed in turn
            if lines[int(problem.split("line ")[1].split(":")[0]) - 1] not in copies:
                raise AssertionError(f"{problem}; expected a copy of the line in {torn.name}")
        total["kills"] += len(names)
        total["acknowledged"] += len(promised)
        total["lost"] += len(promised - kept)
        total["more"] += len(kept - promised) - 1  # on the disk, but killed before it could say so
        total["torn"] += len(found.problems)
        total["refused"] += found.records[-1]["id"] != f"next-{first}"
        path.unlink()
    return total


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="write the counts to this file, not into results/")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        total = crash(Path(name), options.times, options.seed)
    print(total)
    if options.out:
        options.out.write_text(json.dumps(total))
    else:
        counted = {
            "kills": ("writers killed at random moments", 0),
            "acknowledged": ("labels that they had acknowledged", 1e6),
            "lost": ("acknowledged labels that are not in the log", 0),
            "more": ("labels in the log whose writer was killed before it could say so", 1e6),
            "torn": ("lines that a kill cut short, each set aside in a copy and named", 1e6),
            "refused": ("logs on which the next label could not be written or read", 0),
        }
        how = {"seed": options.seed, "unit": "count"}
        write(
            "labeller-crash", {k: number(total[k], wide, says, **how) for k, (says, wide) in counted.items()}
        )
