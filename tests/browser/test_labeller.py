"""The labeller in JupyterLab and Notebook 7, driven by hand; its work is read from kernel and disk."""

import json
import os
import re
import signal
import textwrap
from importlib.resources import files

import pytest
from labeller_hand import ASPECTS, GUARD, NOISE, Hand, complaints, every_kind, facts
from live_notebook import Jupyter, Notebook, wait_for
from playwright.sync_api import expect

from mmbook.feedback import read_log
from mmbook.feedback.views import Views

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


@pytest.fixture(params=["lab", pytest.param("notebook", marks=pytest.mark.slow)])
def server(request, chromium, tmp_path):
    with Jupyter(tmp_path, request.param) as server:
        yield server


def test_labelling_by_hand(server, browser):
    name, log = "book.ipynb", server.work / "labels.jsonl"
    file = server.write(name, CELLS)
    notebook = Notebook(server, browser, name)
    page, hand = notebook.page, Hand(notebook.page, aspects=())
    notebook.run_all()
    page.get_by_text("all ran", exact=True).wait_for(timeout=30_000)
    hand.root.wait_for()

    def count(n):
        expect(hand.root.locator(".mmb-count")).to_have_text(f"{n} of 9 judged")

    count(0)
    assert not log.exists()

    # Clicks and keys; after a click the keys work without further ado.
    hand.judge("click", 0)
    hand.button("second").click(delay=0)
    expect(hand.root.locator(".mmb-status")).to_contain_text("Too quick")
    count(1)
    for answer in (1, 0, "tie", "both_bad", "skip"):
        hand.judge("key", answer)
    count(6)
    hand.undo("key")
    hand.undo("click")
    count(4)
    hand.judge("click", 1)
    hand.check(read_log(log)[0])
    assert [json.loads(line)["op"] for line in log.read_text().splitlines()] == [
        "items",
        *["label"] * 6,
        "undo",
        "undo",
        "label",
    ]
    assert server.ask(name, "print(json.dumps(feedback.records))") == read_log(log)[0]

    asked = "Asked: “Describe the picture.” Which is better?"
    expect(hand.root.locator(".mmb-prompt")).to_have_text(asked)

    # Keys stay inside, Ctrl+S does not; the same keys do leak from a plain widget.
    before = notebook.cells()
    hand.judge("enter", 1)  # the button in focus
    hand.root.focus()
    for key in ("b", "b", "c", "x", "Shift+m", "Shift+Enter", "Control+Enter"):
        page.keyboard.press(key)
    page.wait_for_timeout(300)
    assert notebook.cells() == before and hand.focused()
    saved = file.stat().st_mtime_ns
    page.keyboard.press("Control+s")
    wait_for(lambda: file.stat().st_mtime_ns > saved, 10)
    assert hand.focused()
    count(len(hand.meant))

    # Clicks that the kernel is too busy to see (here: it is frozen) wait, and all of them arrive.
    kernel = notebook.pid()
    os.kill(kernel, signal.SIGSTOP)
    for n, key in enumerate(("1", "u", "2"), 1):
        page.wait_for_timeout(300)
        page.keyboard.press(key)
        expect(hand.root.locator(".mmb-saved")).to_have_text(f"{n} waiting to be saved")
    assert list(map(facts, read_log(log)[0])) == hand.meant
    os.kill(kernel, signal.SIGCONT)
    expect(hand.root.locator(".mmb-saved")).to_have_text(f"{len(hand.meant) + 1} saved")
    records = list(map(facts, read_log(log)[0]))
    assert records[:-1] == hand.meant
    hand.meant = records
    count(len(hand.meant))

    # A reload shows the same state and goes on.
    page.keyboard.press("Control+s")
    page.reload()
    notebook.wait_ready()
    count(len(hand.meant))
    hand.root.click(position={"x": 5, "y": 5})
    hand.undo("key")

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
    count(len(hand.meant))
    hand.root.click(position={"x": 5, "y": 5})
    while len(hand.meant) < 9:
        hand.judge("key", 1)
    expect(hand.root.locator(".mmb-prompt")).to_contain_text("All items are judged")
    assert hand.focused() and hand.button("tie").is_hidden()
    hand.check(read_log(log)[0])

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


def state(views, **more):
    """The traits of a Labeller that nothing was done with yet."""
    items = views.items
    pictures = views.uris({key for view in items for key in views.keys(view)})
    nothing = {"labels": [], "acks": {}, "saved": 0, "outbox": {}, "trouble": "", "review": [], "opinion": {}}
    order = [item["id"] for item in items]
    texts = {"annotator": "a", "seed": "0", "lang": "en", "aspects": list(ASPECTS)}
    return {"items": items, "pictures": pictures, "order": order, **nothing, **texts, **more}


@pytest.fixture
def alone(browser):
    """A function that shows the labeller in a bare page, with a model that nobody answers."""
    folder = files("mmbook.feedback")
    page = browser.new_page(viewport={"width": 1000, "height": 900})
    page.set_content(PAGE.replace("STYLE", (folder / "labeller.css").read_text(encoding="utf-8")))

    def boot(**more):
        source = (folder / "labeller.js").read_text(encoding="utf-8")
        page.evaluate(
            "([source, state]) => boot(source, state)", [source, state(Views(every_kind()), **more)]
        )
        page.locator(".mmb").focus()
        return page

    yield boot
    page.close()


def sent(page):
    """The clicks of the page, as the kernel would get them."""
    return page.evaluate("Object.values(model.get('outbox')).flat()")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_looking_again_is_accessible_and_says_what_was_said(alone, scheme):
    labels = [
        {"id": "pair-text", "outcome": "label", "choice": 1, "side": 0},
        {"id": "rating-text", "outcome": "label", "rating": 2, "side": 0},
        {"id": "ranking-text", "outcome": "label", "order": [2, 0], "side": 0},
    ]
    review = [label["id"] for label in labels]
    page = alone(labels=labels, review=review, opinion={"pair-text": 0.17}, aspects=[])
    page.add_style_tag(content=":root { color-scheme: light dark; background: Canvas; color: CanvasText }")
    page.emulate_media(color_scheme=scheme)
    hand = Hand(page, aspects=())
    place = 1 ^ int(hand.root.get_attribute("data-first"))  # where the chosen response is shown
    said = page.locator(".mmb-opinion")
    expect(said).to_have_text(
        f"You said: {['first', 'second'][place]}. The reward model gives your choice 17 %."
    )
    assert complaints(page) == []
    page.wait_for_timeout(GUARD)
    page.keyboard.press("k")
    expect(said).to_have_text("You said: 2 of 5.")
    assert complaints(page) == []
    page.wait_for_timeout(GUARD)
    page.keyboard.press("s")  # neither skipping nor undoing is a second look
    page.keyboard.press("u")
    page.keyboard.press("5")
    expect(said).to_have_text("You said: ranked.")
    page.wait_for_timeout(GUARD)
    hand.button("keep").click()
    expect(page.locator(".mmb-prompt")).to_contain_text("looked at again")
    assert complaints(page) == [] and hand.focused()
    clicks = [(e["op"], e["id"], e.get("rating")) for e in sent(page)]
    assert clicks == [
        ("keep", "pair-text", None),
        ("label", "rating-text", 5),
        ("keep", "ranking-text", None),
    ]


def test_the_side_is_wide_enough_to_be_left_and_right(alone):
    page = alone()
    for width, words in ((1000, ["Left", "Right"]), (375, ["First", "Second"])):
        page.set_viewport_size({"width": width, "height": 900})
        assert [text.split(" · ")[1] for text in page.locator(".mmb-which").all_inner_texts()] == words
        boxes = [card.bounding_box() for card in page.locator(".mmb-pair > *").all()]
        assert (boxes[0]["y"] == boxes[1]["y"]) == (width == 1000)


def test_a_held_key_is_one_judgement_and_leaving_takes_the_listeners_along(alone):
    page = alone()
    page.wait_for_timeout(300)
    page.keyboard.down("1")
    for _ in range(3):
        page.wait_for_timeout(300)
        page.keyboard.down("1")  # what a held key sends
    assert page.locator(".mmb-count").inner_text() == "1 of 13 judged"
    assert [[e["n"], e["op"], e["id"], e["outcome"], e["via"]] for e in sent(page)] == [
        [1, "label", "pair-text", "label", "key"]
    ]
    page.evaluate("leave(); model.set('saved', 1)")
    assert page.locator(".mmb").count() == 0


def test_p_plays_one_sound_after_the_other(alone):
    page = alone(order=["ranking-sound"])
    page.evaluate("""() => {
      window.played = [];
      HTMLMediaElement.prototype.play = function () { played.push(this.src); };
    }""")
    for _ in range(4):
        page.keyboard.press("p")
    played, shown = page.evaluate("played"), [said["sound"] for said in Hand(page).seen()]
    assert played == [*shown, shown[0]]


def test_the_labeller_speaks_chinese(alone):
    page = alone(lang="zh", order=["pair-text"], labels=[])
    assert page.locator(".mmb").get_attribute("lang") == "zh-Hans"
    named = page.locator(".mmb button:visible").all_inner_texts()
    assert [name for name in named if "跳过" in name or "撤销" in name] == ["S · 跳过", "U · 撤销"]
    page.locator(".mmb-caption, .mmb-prompt").evaluate_all("nodes => nodes.forEach(node => node.remove())")
    plain = page.locator(".mmb").inner_text().replace("Ctrl+Enter", "")
    assert not re.search(r"[A-Za-z]{3,}", plain), plain
