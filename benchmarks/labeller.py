"""The labeller's speed in Chromium and what a killed kernel costs; about six minutes.

python benchmarks/labeller.py [latency] [kills]     (default: both; needs Chromium and what the tests need)

Latency is the time from a key, as the browser stamps it, to the end of the frame that paints the next item's
picture, at 1,000 items of which 750 are judged: in JupyterLab with a kernel, and in a page without one. For
the kills a hand labels as fast as the guard against double clicks lets it, and the kernel is killed
(SIGKILL) at random moments; what the page had called saved must be in the log.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import Browser, Page, expect, sync_playwright
from results_file import number, write

from mmbook.feedback import Feedback, make_record
from mmbook.feedback.log import read_log
from mmbook.feedback.page import save_page
from mmbook.world import near_miss_pairs

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "browser"))
from live_notebook import Jupyter, Notebook, wait_for

ITEMS, BEFORE, TIMED, WARM, PAUSE = 1000, 750, 220, 5, 0.3
KILLS, SEED = 5, 0
CELL = """import json
from pathlib import Path
from mmbook.feedback import Feedback
feedback = Feedback(json.loads(Path("items.json").read_text()), "{log}", "ann", live=True)
feedback"""

# Notes for each key the milliseconds until the next picture is decoded and its frame painted, and until the
# page says that all is saved. A message posted in an animation frame arrives when that frame is painted.
WATCH = """() => {
  const root = document.querySelector(".mmb"), saved = root.querySelector(".mmb-saved");
  const picture = root.querySelector(".mmb-picture");
  window.shown = []; window.kept = []; window.promised = 0;
  let pressed = [];
  addEventListener("keydown", async (event) => {
    const before = root.dataset.item, start = event.timeStamp;
    pressed.push(start);
    while (root.dataset.item === before) await new Promise((next) => { queueTask(next); });
    await picture.decode();
    requestAnimationFrame(() => queueTask(() => shown.push(performance.now() - start)));
  }, true);
  function queueTask(task) {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = task;
    port2.postMessage(0);
  }
  new MutationObserver(() => {
    const n = /^(\\d+) saved$/.exec(saved.textContent)?.[1];
    if (!n) return;
    promised = Math.max(promised, Number(n));
    kept.push(...pressed.map((start) => performance.now() - start));
    pressed = [];
  }).observe(saved, { childList: true, characterData: true, subtree: true });
}"""


def items() -> list[dict[str, Any]]:
    """Pairs of captions of drawn scenes."""
    shared = {"kind": "pair", "prompt": "Which is true?", "model": "near-miss", "temperature": None}
    shared |= {"seed": SEED, "round": 0}
    pairs = near_miss_pairs(ITEMS, SEED)
    return [
        {"id": f"{n:04}", **shared, "scene": scene.to_json(), "responses": list(said)}
        for n, (scene, *said) in enumerate(pairs)
    ]


def label(page: Page, times: int) -> None:
    """Press 1 and 2 by turns, no faster than the guard against double clicks allows."""
    page.locator(".mmb").focus()
    for n in range(times):
        time.sleep(PAUSE)
        page.keyboard.press("12"[n % 2])


def timed(page: Page, name: str) -> dict[str, Any]:
    """Numbers of `TIMED` judgements in an open page."""
    expect(page.locator(".mmb-count")).to_have_text(f"{BEFORE} of {ITEMS} judged")
    page.evaluate(WATCH)
    label(page, WARM + TIMED)
    expect(page.locator(".mmb-saved")).to_have_text(f"{BEFORE + WARM + TIMED} saved")
    wait_for(lambda: len(page.evaluate("shown")) == WARM + TIMED, 10)
    shown, kept = (np.array(page.evaluate(what)[WARM:]) for what in ("shown", "kept"))
    print(
        name, len(shown), "shown", np.percentile(shown, [50, 95, 100]), "kept", np.percentile(kept, [50, 95])
    )
    where = {"lab": "JupyterLab", "page": "a page without a kernel"}[name]
    at = f"{where}, {ITEMS} items: milliseconds from a key to"
    return {
        f"{name}_judgements": number(
            len(shown), 0, f"{where}: judgements that were timed", SEED, "judgements"
        ),
        f"{name}_median": number(np.median(shown), 100, f"{at} the next picture, median", SEED, "ms"),
        f"{name}_p95": number(
            np.percentile(shown, 95), 200, f"{at} the next picture, 95th percentile", SEED, "ms"
        ),
        f"{name}_kept_median": number(
            np.median(kept), 200, f"{at} 'saved' on the screen, median", SEED, "ms"
        ),
        f"{name}_kept_p95": number(
            np.percentile(kept, 95), 400, f"{at} 'saved', 95th percentile", SEED, "ms"
        ),
    }


def judged(path: Path, asked: list[dict[str, Any]]) -> Feedback:
    """A log that holds labels of the first items already."""
    feedback = Feedback(asked, path, "ann")
    made = [make_record(item, annotator="ann", outcome="label", choice=0) for item in asked[:BEFORE]]
    feedback.append([{"op": "label", "record": record} for record in made])
    return feedback


def opened(server: Jupyter, browser: Browser, log: str) -> Notebook:
    name = f"{Path(log).stem}.ipynb"
    server.write(name, [CELL.format(log=log)])
    notebook = Notebook(server, browser, name)
    notebook.run_all()
    notebook.page.locator(".mmb").wait_for()
    return notebook


def latency(server: Jupyter, browser: Browser, asked: list[dict[str, Any]]) -> dict[str, Any]:
    """Both hosts, one after the other."""
    feedback = judged(server.work / "timed.jsonl", asked)
    notebook = opened(server, browser, "timed.jsonl")
    values = timed(notebook.page, "lab")
    assert len(read_log(server.work / "timed.jsonl")[0]) == BEFORE + WARM + TIMED
    notebook.close()

    path = save_page(feedback, server.work / "page.html", most=ITEMS)
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    page.goto(path.as_uri())
    page.locator(".mmb").wait_for()
    page.evaluate(
        """n => {
          const state = document.querySelector(".mmb-static script").textContent;
          const { header, records } = JSON.parse(state);
          const annotator = localStorage.getItem("mmbook:reader");
          Object.values(records).sort((a, b) => (a.id < b.id ? -1 : 1)).slice(0, n).forEach((record, i) => {
            const given = { annotator, time: new Date().toISOString(), ms: 900, via: "key", side: 0 };
            const answer = { outcome: "label", choice: 0 };
            const event = { op: "label", record: { schema: 1, ...record, ...given, ...answer } };
            const key = `mmbook:${header.hash}:${annotator}:000000000000:0:${String(i).padStart(6, "0")}`;
            localStorage.setItem(key, JSON.stringify({ at: i + 1, event }));
          });
        }""",
        BEFORE,
    )
    page.reload()
    page.locator(".mmb").wait_for()
    values |= timed(page, "page")
    page.close()
    return values


def kills(server: Jupyter, browser: Browser, asked: list[dict[str, Any]]) -> dict[str, Any]:
    """Kill the kernel while labels are made, run the cell again, and compare the log with the promises."""
    rng, order = random.Random(SEED), [item["id"] for item in asked]
    log = server.work / "killed.jsonl"
    notebook = opened(server, browser, log.name)
    page, promised, missing, unsaved = notebook.page, 0, 0, 0
    for turn in range(KILLS):
        before = len(read_log(log)[0]) if log.exists() else 0
        page.evaluate(WATCH)
        pid, wait = notebook.pid(), rng.uniform(1, 6)
        killer = threading.Timer(wait, os.kill, (pid, signal.SIGKILL))
        killer.start()
        page.locator(".mmb").focus()
        pressed = 0
        while killer.is_alive() or pressed % 3:  # a few keys more, which nobody hears
            label(page, 1)
            pressed += 1
        said = page.evaluate("promised")
        records, problems = read_log(log)
        ids = [record["id"] for record in records]
        promised += said - before
        missing += len(set(order[:said]) - set(ids)) + len(problems)
        unsaved += before + pressed - len(ids)
        print(f"kill {turn} after {wait:.2f} s: {said} called saved, {len(ids)} in the log, {problems}")
        page.locator(".jp-Dialog .jp-mod-accept").click(timeout=20_000)  # "The kernel appears to have died"
        wait_for(lambda pid=pid: notebook.pid() != pid)
        page.locator(".mmb").evaluate("root => root.classList.add('old')")
        notebook.wait_ready()
        notebook.run_all()
        expect(page.locator(".mmb.old")).to_have_count(0, timeout=30_000)
        expect(page.locator(".mmb-count")).to_have_text(f"{len(ids)} of {ITEMS} judged", timeout=30_000)
    notebook.close()
    return {
        "kills": number(KILLS, 0, "kernels killed with SIGKILL while labels were made", SEED, "kills"),
        "kills_saved": number(promised, 100, "labels that the page called saved, in all", SEED, "labels"),
        "kills_missing": number(missing, 0, "of those, labels not in the log", SEED, "labels"),
        "kills_unsaved": number(unsaved, 30, "keys not called saved, and lost", SEED, "labels"),
    }


PARTS = {"latency": latency, "kills": kills}


def main() -> None:
    """Run the parts that are named, and write their numbers; those of other parts stay as they are."""
    values: dict[str, Any] = {}
    asked = items()
    path = os.environ.get("MMBOOK_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        with Jupyter(Path(folder) / "lab", "lab") as server:
            (server.work / "items.json").write_text(json.dumps(asked))
            for name in sys.argv[1:] or PARTS:
                values |= PARTS[name](server, browser, asked)
        browser.close()
    known = Path(__file__).parent / "results" / "labeller.json"
    before = json.loads(known.read_text())["values"] if known.is_file() else {}
    write("labeller", before | values)


if __name__ == "__main__":
    main()
