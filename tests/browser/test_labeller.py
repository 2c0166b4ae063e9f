"""The labeller in JupyterLab and Notebook 7, driven by hand; its work is read from kernel and disk."""

import json
import os
import re
import signal
import textwrap
from importlib.resources import files

import pytest
from axe_core_python.sync_playwright import Axe
from live_notebook import Jupyter, Notebook, wait_for
from playwright.sync_api import expect

from mmbook.feedback import read_log

CELLS = [
    textwrap.dedent("""
        import json
        import numpy as np
        from mmbook.feedback import collect_human_feedback
        from mmbook.world import STYLES, say
        from mmbook.world.writers import describe

        class Speaker:
            hash, prompt = "0123abcd", "Describe the picture."
            def sample(self, scenes, temperature=1.0, seed=0, greedy=False, samples=1):
                rng = np.random.default_rng(seed)
                return [say(describe(s, str(rng.choice(STYLES)))) for s in scenes for _ in range(samples)]

        feedback = collect_human_feedback(Speaker(), pairs=9, path="labels.jsonl")
        feedback"""),
    "import ipywidgets\nipywidgets.Button(description='plain')",
    "print('all', 'ran')",
]
# Notebook 7 itself says these with or without a labeller in the page.
NOISE = re.compile(r"reading 'schema'|favicon")


@pytest.fixture(params=["lab", "notebook"])
def server(request, chromium, tmp_path):
    with Jupyter(tmp_path, request.param) as server:
        yield server


class Hand:
    """A reader's hand on the labeller of a notebook, and what the reader saw."""

    def __init__(self, notebook):
        self.page, self.notebook = notebook.page, notebook
        self.root = notebook.page.locator(".mmb")
        self.meant = []  # (outcome, text of the caption meant or None, via)

    def count(self, n):
        expect(self.root.locator(".mmb-count")).to_have_text(f"{n} of 9 judged")

    def judge(self, act, key=None):
        """Judge the item on the screen by a click, or by a key if one is given; wait until it is saved."""
        self.page.wait_for_timeout(300)  # past the guard against double clicks
        place = {"first": 0, "second": 1}.get(act)
        text = None if place is None else self.root.locator(".mmb-caption").nth(place).inner_text()
        self.meant.append(("label" if place is not None else act, text, "key" if key else "click"))
        if key:
            self.page.keyboard.press(key)
        else:
            self.root.locator(f"button[data-act={act}]").click()
        expect(self.root.locator(".mmb-saved")).to_have_text(f"{len(self.meant)} saved")

    def undo(self, key=None):
        if key:
            self.page.keyboard.press(key)
        else:
            self.root.locator("button[data-act=undo]").click()
        self.meant.pop()
        expect(self.root.locator(".mmb-saved")).to_have_text(f"{len(self.meant)} saved")

    def focused(self):
        return self.page.evaluate("document.querySelector('.mmb').contains(document.activeElement)")


def told(records):
    return [(r["outcome"], r["responses"][r["choice"]] if "choice" in r else None, r["via"]) for r in records]


def test_labelling_by_hand(server, browser):
    name, log = "book.ipynb", server.work / "labels.jsonl"
    file = server.write(name, CELLS)
    notebook = Notebook(server, browser, name)
    page, hand = notebook.page, Hand(notebook)
    notebook.run_all()
    page.get_by_text("all ran", exact=True).wait_for(timeout=30_000)
    hand.root.wait_for()
    hand.count(0)
    assert not log.exists()

    # Clicks and keys; after a click the keys work without further ado.
    hand.judge("first")
    hand.root.locator("button[data-act=second]").click(delay=0)
    expect(hand.root.locator(".mmb-status")).to_contain_text("Too quick")
    hand.count(1)
    for act, key in (("second", "2"), ("first", "1"), ("tie", "3"), ("both_bad", "4"), ("skip", "s")):
        hand.judge(act, key)
    hand.count(6)
    hand.undo("u")
    hand.undo()
    hand.count(4)
    hand.judge("second")
    assert told(read_log(log)[0]) == hand.meant and read_log(log)[1] == []
    assert [json.loads(line)["op"] for line in log.read_text().splitlines()] == [
        "items",
        *["label"] * 6,
        "undo",
        "undo",
        "label",
    ]
    assert server.ask(name, "print(json.dumps(feedback.records))") == read_log(log)[0]

    # Keys stay inside, Ctrl+S does not; the same keys do leak from a plain widget.
    before = notebook.cells()
    hand.judge("second", "Enter")  # the button in focus
    hand.root.focus()
    for key in ("b", "b", "c", "x", "Shift+m", "Shift+Enter", "Control+Enter"):
        page.keyboard.press(key)
    page.wait_for_timeout(300)
    assert notebook.cells() == before and hand.focused()
    saved = file.stat().st_mtime_ns
    page.keyboard.press("Control+s")
    wait_for(lambda: file.stat().st_mtime_ns > saved, 10)
    assert hand.focused()
    hand.count(len(hand.meant))

    # Clicks that the kernel is too busy to see (here: it is frozen) wait, and all of them arrive.
    kernel = server.ask(name, "import os; print(os.getpid())")
    os.kill(kernel, signal.SIGSTOP)
    for n, key in enumerate(("1", "u", "2"), 1):
        page.wait_for_timeout(300)
        page.keyboard.press(key)
        expect(hand.root.locator(".mmb-saved")).to_have_text(f"{n} waiting to be saved")
    assert told(read_log(log)[0]) == hand.meant
    os.kill(kernel, signal.SIGCONT)
    expect(hand.root.locator(".mmb-saved")).to_have_text(f"{len(hand.meant) + 1} saved")
    assert told(read_log(log)[0])[:-1] == hand.meant
    hand.meant = told(read_log(log)[0])
    hand.count(len(hand.meant))

    # A reload shows the same state and goes on.
    page.keyboard.press("Control+s")
    page.reload()
    notebook.wait_ready()
    hand.count(len(hand.meant))
    hand.root.click(position={"x": 5, "y": 5})
    hand.undo("u")

    # A restarted kernel does not know the page: the page says so, and goes on once the cell is run again.
    notebook.restart()
    hand.root.click(position={"x": 5, "y": 5})
    page.keyboard.press("1")
    expect(hand.root.locator(".mmb-trouble")).to_contain_text(
        "not saved yet. Is the kernel running?", timeout=8000
    )
    hand.root.evaluate("node => node.classList.add('old')")
    notebook.run_all()
    expect(page.locator(".mmb:not(.old)")).to_have_count(1, timeout=20_000)
    expect(page.locator(".mmb.old")).to_have_count(0)
    hand.count(len(hand.meant))
    hand.root.click(position={"x": 5, "y": 5})
    while len(hand.meant) < 9:
        hand.judge("second", "2")
    expect(hand.root.locator(".mmb-prompt")).to_contain_text("All items are judged")
    assert hand.focused() and hand.root.locator("button[data-act=tie]").is_disabled()
    assert told(read_log(log)[0]) == hand.meant

    # The control: the same two keys on a plain widget add two cells.
    before = notebook.cells()
    page.get_by_role("button", name="plain").focus()
    page.keyboard.press("b")
    page.keyboard.press("b")
    wait_for(lambda: notebook.cells() == before + 2, 5)

    assert notebook.outside == []
    assert [e for e in notebook.errors if not NOISE.search(e)] == []
    notebook.close()


PAGE = """
<!doctype html><html lang="en"><title>Labeller</title><style>STYLE</style>
<body><main><h1>Book</h1></main><script>
window.boot = async (source, state) => {
  const listeners = {};
  window.model = {
    get: (name) => state[name],
    set: (name, value) => { state[name] = value; (listeners[`change:${name}`] ?? []).forEach((f) => f()); },
    on: (name, f) => (listeners[name] ??= []).push(f),
    off: (name, f) => { listeners[name] = listeners[name].filter((g) => g !== f); },
    save_changes: () => {},
  };
  const module = await import(URL.createObjectURL(new Blob([source], { type: "text/javascript" })));
  window.leave = module.default.render({ model: window.model, el: document.querySelector("main") });
};
</script></body></html>
"""
HOSTILE = [
    "<img src=x onerror='window.hacked=1'><script>window.hacked=1</script>",
    "\u202eevil \u2028 \x00 猫 " + "long" * 500,
]


@pytest.fixture
def alone(browser):
    """The labeller in a bare page, with a model that nobody answers."""
    folder = files("mmbook.feedback")
    page = browser.new_page(viewport={"width": 1000, "height": 900})
    page.set_content(PAGE.replace("STYLE", (folder / "labeller.css").read_text(encoding="utf-8")))
    items = [
        {"id": str(i), "prompt": "<b>What?</b>", "responses": HOSTILE, "image": "data:,", "alt": "a cat"}
        for i in range(4)
    ]
    page.evaluate(
        "([source, state]) => boot(source, state)",
        [
            (folder / "labeller.js").read_text(encoding="utf-8"),
            {
                "items": items,
                "labels": [],
                "acks": {},
                "saved": 0,
                "outbox": {},
                "trouble": "",
                "annotator": "a",
                "seed": "0",
            },
        ],
    )
    yield page
    page.close()


def test_captions_are_shown_as_text(alone):
    shown = alone.locator(".mmb-caption").evaluate_all("nodes => nodes.map(node => node.textContent)")
    assert sorted(shown) == sorted(HOSTILE)
    assert alone.locator(".mmb-prompt").inner_text().startswith("<b>What?</b>")
    assert (
        alone.evaluate("window.hacked") is None
        and alone.locator(".mmb script, .mmb-caption img").count() == 0
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_labeller_is_accessible_and_fits_a_phone(alone, scheme):
    alone.add_style_tag(content=":root { color-scheme: light dark; background: Canvas; color: CanvasText }")
    alone.emulate_media(color_scheme=scheme)
    for width, words in ((1000, ["Left", "Right"]), (375, ["First", "Second"])):
        alone.set_viewport_size({"width": width, "height": 900})
        assert [text.split(" · ")[1] for text in alone.locator(".mmb-which").all_inner_texts()] == words
        boxes = [button.bounding_box() for button in alone.locator(".mmb button").all()]
        assert all(box["width"] >= 44 and box["height"] >= 44 for box in boxes)
        assert alone.evaluate("document.documentElement.scrollWidth") <= width
        assert (boxes[0]["y"] == boxes[1]["y"]) == (width == 1000)
        assert [v["id"] for v in Axe().run(alone)["violations"]] == []


def test_a_held_key_is_one_judgement_and_leaving_takes_the_listeners_along(alone):
    alone.locator(".mmb").focus()
    alone.wait_for_timeout(300)
    alone.keyboard.down("1")
    for _ in range(3):
        alone.wait_for_timeout(300)
        alone.keyboard.down("1")  # what a held key sends
    assert alone.locator(".mmb-count").inner_text() == "1 of 4 judged"
    events = alone.evaluate("Object.values(model.get('outbox'))")
    assert [[e["n"], e["op"], e["id"], e["outcome"], e["via"]] for e in events[0]] == [
        [1, "label", "0", "label", "key"]
    ]
    alone.evaluate("leave(); model.set('saved', 1)")
    assert alone.locator(".mmb").count() == 0
