"""The labeller in Notebook 6 with ipywidgets 7: Colab's versions, in an environment of their own."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import textwrap
import venv
from pathlib import Path

import pytest
from labeller_hand import GUARD, PLAN, Hand, write_items
from live_notebook import ClassicNotebook, Jupyter, wait_for
from playwright.sync_api import expect

from mmbook.feedback import read_log

PINS = Path(__file__).with_name("classic-constraints.txt")
CELLS = [
    textwrap.dedent("""
        import json
        from pathlib import Path
        import anywidget, ipywidgets, notebook
        from mmbook.feedback import Feedback

        assert notebook.__version__.startswith("6.") and ipywidgets.__version__.startswith("7.")
        feedback = Feedback(json.loads(Path("items.json").read_text()), "labels.jsonl", "ann", live=True)
        feedback.aspects = ("true", "clear")
        feedback"""),
    "print('all', 'ran')",
]


@pytest.fixture(scope="session")
def classic(pytestconfig):
    """The interpreter of an environment with the pinned versions, kept for the next run."""
    wanted = hashlib.sha256(PINS.read_bytes() + sys.version.encode()).hexdigest()[:12]
    folder = Path(pytestconfig.cache.mkdir("mmbook-classic"))
    place, done = folder / wanted, folder / f"{wanted}.done"
    python = place / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not done.exists():
        shutil.rmtree(place, ignore_errors=True)
        venv.create(place, with_pip=True)
        pip = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--only-binary=:all:"]
        said = subprocess.run([*pip, "-r", PINS], capture_output=True, text=True)
        if said.returncode:
            pytest.skip(f"pip cannot install {PINS.name}: {said.stderr.strip()[-300:]}")
        done.touch()
    return python


@pytest.mark.slow
def test_every_kind_in_notebook_6(classic, browser, tmp_path):
    with Jupyter(tmp_path, "classic", classic) as server:
        write_items(server.work)
        file = server.write("book.ipynb", CELLS)
        log = server.work / "labels.jsonl"
        notebook = ClassicNotebook(server, browser, "book.ipynb")
        page, hand = notebook.page, Hand(notebook.page)
        notebook.run_all()
        page.get_by_text("all ran", exact=True).wait_for(timeout=60_000)
        hand.root.focus()

        # Every kind by click and key, undo from anywhere; nothing reaches the notebook.
        before = notebook.cells()
        hand.work()
        hand.undo("key")
        hand.undo("click")
        hand.work(PLAN[-2:-1])
        page.wait_for_timeout(GUARD)
        for key in ("b", "b", "c", "x", "Shift+m", "Shift+Enter", "Control+Enter", "h"):
            page.keyboard.press(key)
        page.wait_for_timeout(300)
        assert notebook.cells() == before and hand.focused() and page.locator(".modal.in").count() == 0
        records, problems = read_log(log)
        assert problems == []
        hand.check(records)
        assert server.ask("book.ipynb", "print(json.dumps(feedback.records))") == records

        # A reload shows what the kernel has. This notebook's Ctrl+S waits until no widget has the focus.
        page.locator("#notebook .cell .input_prompt").last.click()
        page.keyboard.press("Control+s")
        wait_for(lambda: "widget-view" in file.read_text(), 10)
        page.reload()
        notebook.wait_ready()
        expect(hand.root.locator(".mmb-count")).to_have_text("12 of 13 judged")

        # A new kernel has it from the log once the cell is run again; until then the page says what to do.
        notebook.restart()
        hand.root.focus()
        page.wait_for_timeout(GUARD)
        page.keyboard.press("s")
        expect(hand.root.locator(".mmb-trouble")).to_contain_text("Is the kernel running?", timeout=8000)
        hand.root.evaluate("root => root.classList.add('old')")
        notebook.run_all()
        expect(page.locator(".mmb:not(.old)")).to_have_count(1, timeout=20_000)
        expect(page.locator(".mmb.old")).to_have_count(0)
        hand.root.focus()
        hand.work(PLAN[-1:])
        hand.check(read_log(log)[0])
        assert [json.loads(line)["op"] for line in log.read_text().splitlines()].count("undo") == 2
        assert notebook.outside == [] and notebook.errors == []
        notebook.close()
