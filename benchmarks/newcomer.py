"""From a clone to a model that one's own clicks have moved, as a newcomer does it, with each step's time.

    python benchmarks/newcomer.py [--clicks 30]

A hand in Chromium clones the project, makes the environment, opens the quickstart in JupyterLab, runs cell
after cell, prefers the longer caption of each pair, runs on, and reads what the model says then. It clicks as
fast as the labeller lets it; a person is given four seconds more for each click in the total.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import expect, sync_playwright
from results_file import number, write

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tests" / "browser"), str(ROOT / "tests")]
import live_notebook  # noqa: E402
from conftest import chromium_path  # noqa: E402

PER_CLICK = 4.0  # seconds that a person is given for a click, reading included
MEASURE = """import json
words = lambda captions: sum(len(c.split()) for c in captions) / len(captions)
some = sample_scenes(200, seed=77)
print(json.dumps({"simulated": simulated, "labels": len(feedback.pairs()), "accuracy": reward_model.accuracy,
    "before": words(model.sample(some, seed=5)), "after": words(tuned.sample(some, seed=5))}))"""


class Clone(live_notebook.Jupyter):
    """JupyterLab of a clone's own environment, as `make lab` starts it, on the chapters themselves."""

    def __init__(self, clone: Path, settings: Path) -> None:
        super().__init__(settings, "lab", clone / ".venv" / "bin" / "python")
        self.work = clone / "book"


def run_until(notebook: live_notebook.Notebook, done: Any, seconds: float) -> None:
    """Press shift and enter, cell by cell, each when the one before has finished, until `done()` says so."""
    page = notebook.page
    end = time.monotonic() + seconds
    while not done():
        if time.monotonic() > end:
            raise TimeoutError("the cells did not get there in time")
        page.keyboard.press("Shift+Enter")
        time.sleep(0.5)
        live_notebook.wait_for(
            lambda: notebook.server.kernel(notebook.name).get("execution_state") == "idle", seconds
        )


def judge(page: Any, clicks: int) -> None:
    """Prefer the longer of two captions, with its key."""
    root = page.locator(".mmb")
    expect(root.locator(".mmb-body .mmb-caption")).to_have_count(2, timeout=30_000)
    root.scroll_into_view_if_needed()
    root.focus()
    for n in range(clicks):
        lengths = [len(text) for text in root.locator(".mmb-body .mmb-caption").all_inner_texts()]
        page.keyboard.press("1" if lengths[0] >= lengths[1] else "2")
        expect(root.locator(".mmb-count")).to_have_text(f"{n + 1} of 50 judged")
        time.sleep(0.3)  # the guard against double clicks
    expect(root.locator(".mmb-saved")).to_have_text(f"{clicks} saved")


def variable(server: live_notebook.Jupyter, name: str) -> bool:
    """Whether the notebook has this variable yet."""
    return server.ask("quickstart.ipynb", f"print('true' if '{name}' in globals() else 'false')")


def main() -> None:
    """Do it once and write results/newcomer.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clicks", type=int, default=30)
    clicks = parser.parse_args().clicks
    clock, steps = [time.perf_counter()], {}

    def step(name: str) -> None:
        clock.append(time.perf_counter())
        steps[name] = clock[-1] - clock[-2]
        print(f"{name}: {steps[name]:.0f} s", flush=True)

    with tempfile.TemporaryDirectory() as place, sync_playwright() as playwright:
        clone = Path(place) / "clone"
        subprocess.run(["git", "clone", "-q", ROOT, clone], check=True)
        step("clone")
        subprocess.run(["make", ".venv/installed.stamp"], cwd=clone, check=True, env={**os.environ})
        step("install")
        live_notebook.ROOT = clone
        chromium = playwright.chromium.launch(executable_path=chromium_path(), args=["--no-sandbox"])
        with Clone(clone, Path(place) / "settings") as server:
            notebook = live_notebook.Notebook(server, chromium, "quickstart.ipynb")
            page = notebook.page
            page.locator(f"{notebook.CELLS}.jp-CodeCell").first.click()
            step("open")
            run_until(notebook, lambda: page.locator(".mmb").count() > 0, 300)
            step("first captions")
            judge(page, clicks)
            step("labels")
            page.locator(f"{notebook.CELLS}.jp-CodeCell", has_text="NOBODY HAS LABELLED").click()
            run_until(notebook, lambda: variable(server, "after"), 900)
            step("reward model and policy")
            seen = server.ask("quickstart.ipynb", MEASURE)
            errors = [e for e in notebook.errors if "schema" not in e and "favicon" not in e]
            notebook.close()
        chromium.close()
    print(seen, errors)
    total = sum(steps.values()) + clicks * PER_CLICK
    values = {
        f"{name.replace(' ', '_')}_seconds": number(seconds, max(60, seconds), name, unit="s")
        for name, seconds in steps.items()
    }
    values |= {
        "minutes": number(
            total / 60, 5, f"all steps, and {PER_CLICK:.0f} s more for a click", unit="minutes"
        ),
        "clicks": number(clicks, 0, "judgements, the longer caption preferred", unit="judgements"),
        "accuracy": number(seen["accuracy"], 0.15, "held-out pairs ranked right"),
        "words_before": number(seen["before"], 1, "words of a caption before", unit="words"),
        "words_after": number(seen["after"], 3, "words of a caption after", unit="words"),
        "errors": number(len(errors), 0, "errors on the browser's console", unit="errors"),
    }
    if seen["simulated"]:
        raise SystemExit("the notebook went on with simulated labels, not with the hand's")
    write("newcomer", values)


if __name__ == "__main__":
    main()
