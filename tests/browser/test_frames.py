"""Players, sliders and clicks in a browser: pages opened as files, and live notebooks."""

from __future__ import annotations

import json
import re
import textwrap

import gymnasium
import numpy as np
import pytest
from axe_core_python.sync_playwright import Axe
from live_notebook import Jupyter, Notebook, wait_for
from playwright.sync_api import expect

import mmbook.world.environments  # noqa: F401
from mmbook import figures
from mmbook.feedback import read_log
from mmbook.world.gridworld import gridworld

PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Book</title>
<meta name="viewport" content="width=device-width">
<style>:root { color-scheme: light dark; background: Canvas; color: CanvasText }</style>
<body><main><h1>Book</h1>BODY</main></body></html>"""
GRID = gridworld("cliff")
GAMMAS, SLIPS = [0.5, 0.9, 0.99], [0.0, 0.2]


def draw(gamma: float, slip: float) -> figures.Drawing:
    V = np.full(len(GRID.cells), gamma - slip)
    return figures.value_map(GRID, V, np.full((len(V), 4), 0.25), f"discount {gamma}, slip {slip}")


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """A page with sliders over two values, and a film, as a file."""
    env = gymnasium.make("mmbook/StickerGrid-v0", render_mode="rgb_array", slip=0.0)
    way = iter([0, 1, 1, 1, 1, 1, 1, 2])
    players = [
        figures.explore(draw, gamma=GAMMAS, slip=SLIPS),
        figures.watch(env, lambda obs: np.array([next(way)])),
    ]
    path = tmp_path_factory.mktemp("page") / "page.html"
    path.write_text(PAGE.replace("BODY", "".join(player.html for player in players)), encoding="utf-8")
    return path.as_uri()


def opened(browser, address, **options):
    context = browser.new_context(**options)
    page = context.new_page()
    page.told = []
    page.on("request", lambda r: page.told.append(r.url) if not r.url.startswith("data:") else None)
    page.on("console", lambda m: page.told.append(m.text))
    page.on("pageerror", lambda e: page.told.append(str(e)))
    page.goto(address)
    return page


def pixels(page, n):
    """The n-th picture as its bytes and its alt text; waits until it is decoded."""
    image = page.locator(".mml img").nth(n)
    assert image.evaluate("image => image.decode().then(() => image.naturalWidth)") > 100
    return image.get_attribute("src"), image.get_attribute("alt")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1000, 375])
def test_sliders_move_the_pictures_of_a_page_opened_as_a_file(browser, address, scheme, width):
    page = opened(browser, address, viewport={"width": width, "height": 900}, color_scheme=scheme)
    seen = {}
    for i, gamma in enumerate(GAMMAS):
        page.get_by_label("gamma").fill(str(i))
        for j, slip in enumerate(SLIPS):
            page.get_by_label("slip").fill(str(j))
            src, alt = pixels(page, 0)
            assert alt.startswith(f"discount {gamma}, slip {slip}: row 0 column 0 {gamma - slip:.2f}")
            assert page.locator(".mml").first.locator("output").all_inner_texts() == [
                f"{gamma:g}",
                f"{slip:g}",
            ]
            seen[src] = alt
    assert len(seen) == 6
    page.get_by_label("gamma").fill("0")
    page.get_by_label("slip").focus()
    page.keyboard.press("Home")
    assert pixels(page, 0)[0] == next(iter(seen))  # the first picture comes back
    page.keyboard.press("ArrowRight")
    assert pixels(page, 0)[1].startswith("discount 0.5, slip 0.2")
    assert page.get_by_label("slip").get_attribute("aria-valuetext") == "0.2"
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert all(box.bounding_box()["height"] >= 44 for box in page.locator(".mml input, .mml button").all())
    assert [v["id"] for v in Axe().run(page)["violations"]] == []
    assert page.told == [address]
    page.context.close()


def test_a_film_plays_to_its_end_and_stops_when_asked(browser, address):
    page = opened(browser, address)
    film = page.locator(".mml").nth(1)
    button, step = film.get_by_role("button"), film.get_by_role("slider")
    button.click()
    expect(button).to_have_text("Pause")
    expect(step).to_have_value("3", timeout=5000)
    button.click()
    held = step.input_value()
    page.wait_for_timeout(1000)
    assert step.input_value() == held and button.inner_text() == "Play"
    button.click()
    expect(step).to_have_value("8", timeout=8000)
    expect(button).to_have_text("Play")
    expect(film.locator(".mml-caption")).to_have_text(
        re.compile("reward 1, return 1. The episode has ended.")
    )
    button.click()
    expect(step).to_have_value("0")
    assert page.told == [address]
    page.context.close()


def test_nothing_moves_by_itself_for_those_who_want_it_calm(browser, address):
    page = opened(browser, address, reduced_motion="reduce")
    film = page.locator(".mml").nth(1)
    expect(film.get_by_role("button")).to_have_text("Next")
    film.get_by_role("button").click()
    page.wait_for_timeout(1000)
    assert film.get_by_role("slider").input_value() == "1"
    page.context.close()


def test_without_javascript_the_first_picture_stands_there(browser, address):
    page = opened(browser, address, java_script_enabled=False)
    assert page.locator(".mml img").first.bounding_box()["width"] > 300
    assert page.locator(".mml-caption").nth(1).inner_text() == "The first state."
    assert [controls.is_visible() for controls in page.locator(".mml-controls").all()] == [False, False]
    page.context.close()


CELLS = [
    textwrap.dedent("""
        import json
        import numpy as np
        from mmbook import figures
        from mmbook.world.classifier import StickerClassifierBatch
        from mmbook.world.gridworld import gridworld

        calls = []
        def draw(gamma, slip):
            calls.append([gamma, slip])
            return figures.bars({"return": gamma - slip}, f"discount {gamma}, slip {slip}")

        figures.explore(draw, gamma=[0.5, 0.9, 0.99], slip=[0.0, 0.2])"""),
    "figures.frames([gridworld('cliff').draw(s) for s in range(4)])",
    textwrap.dedent("""
        told = []
        clicks = figures.click_rewards(
            StickerClassifierBatch(1), lambda obs: obs.sum((1, 2, 3)) % 8,
            lambda obs, a, r: told.append([len(clicks.records), clicks.envs.kinds[int(a[0])], float(r[0])]),
            path="clicks.jsonl")
        clicks"""),
    "print('all', 'ran')",
]
NOISE = re.compile(r"reading 'schema'|favicon")  # Notebook 7 says these by itself


@pytest.mark.parametrize("app", ["lab", pytest.param("notebook", marks=pytest.mark.slow)])
def test_in_a_notebook_sliders_recompute_films_move_and_clicks_are_kept(browser, tmp_path, app):
    with Jupyter(tmp_path, app) as server:
        server.write("book.ipynb", CELLS)
        notebook = Notebook(server, browser, "book.ipynb")
        page = notebook.page
        notebook.run_all()
        page.get_by_text("all ran", exact=True).wait_for(timeout=60_000)

        # Sliders: each move calls the function once, and the drawing that comes back is shown.
        outputs = page.locator(".jp-Cell")
        drawing = outputs.nth(0).locator(".mml img")
        expect(drawing).to_have_attribute("alt", "Bars of discount 0.5, slip 0.0: return 0.5")
        outputs.nth(0).locator(".noUi-base").nth(0).click()  # in its middle
        expect(drawing).to_have_attribute("alt", "Bars of discount 0.9, slip 0.0: return 0.9", timeout=15_000)
        if app == "lab":
            outputs.nth(0).locator(".noUi-handle").nth(1).focus()
            page.keyboard.press("ArrowRight")
        else:  # Notebook 7 keeps the arrow keys from the sliders of ipywidgets
            track = outputs.nth(0).locator(".noUi-base").nth(1)
            track.click(position={"x": track.bounding_box()["width"] - 2, "y": 2})
        expect(drawing).to_have_attribute("alt", "Bars of discount 0.9, slip 0.2: return 0.7", timeout=15_000)
        assert server.ask("book.ipynb", "print(json.dumps(calls))") == [[0.5, 0.0], [0.9, 0.0], [0.9, 0.2]]

        # A film in an output, moved by keys that are the notebook's elsewhere.
        film, cells = outputs.nth(1), notebook.cells()
        film.get_by_role("slider").click(position={"x": 5, "y": 20})
        before = film.locator("img").get_attribute("src")
        for key in ("ArrowRight", "ArrowDown", "ArrowUp", "x", "b"):
            page.keyboard.press(key)
            page.wait_for_timeout(100)
        expect(film.locator("output")).to_have_text("1")
        assert film.locator("img").get_attribute("src") != before and notebook.cells() == cells

        # Clicks: by mouse and key, each on the disk before the learner sees it.
        clicker, log = outputs.nth(2).locator(".mml-clicks"), server.work / "clicks.jsonl"
        said, meant = [], [("Right", "click", 5), ("Wrong", "click", 1), ("2", "key", 1), ("1", "key", 5)]
        for n, (what, via, _) in enumerate(meant, 1):
            said.append(re.search(r"says: (\w+)\.", clicker.locator(".mml-question").inner_text())[1])
            page.wait_for_timeout(300)  # past the guard against double clicks
            if via == "click":
                clicker.get_by_role("button", name=what).dblclick()  # the second half counts for nothing
            else:
                page.keyboard.press(what)
            expect(clicker.locator(".mml-status")).to_contain_text(f"{n} clicks saved", timeout=15_000)
        records, problems = read_log(log)
        assert problems == [] and [r["responses"] for r in records] == [[kind] for kind in said]
        assert [(r["via"], r["rating"]) for r in records] == [(via, rating) for _, via, rating in meant]
        assert all(r["ms"] >= 250 for r in records) and notebook.cells() == cells
        told = server.ask("book.ipynb", "print(json.dumps(told))")
        assert told == [[n, said[n - 1], float(meant[n - 1][2] == 5)] for n in range(1, 5)]

        # A log that cannot be written is said, and its click comes after all.
        server.ask("book.ipynb", "clicks.path, kept = clicks.path.parent, clicks.path; print(0)")
        page.wait_for_timeout(300)
        page.keyboard.press("1")
        expect(clicker.locator(".mml-trouble")).to_contain_text("The click is kept, but: IsADirectoryError")
        server.ask("book.ipynb", "clicks.path = kept; print(0)")
        page.wait_for_timeout(300)
        page.keyboard.press("2")
        expect(clicker.locator(".mml-status")).to_contain_text("6 clicks saved")
        expect(clicker.locator(".mml-trouble")).to_have_text("")
        assert [r["rating"] for r in read_log(log)[0][4:]] == [5, 1]

        # The saved notebook carries something to see without a kernel.
        page.keyboard.press("Control+s")
        saved = lambda: json.loads((server.work / "book.ipynb").read_text())["cells"]  # noqa: E731
        wait_for(lambda: saved()[2]["outputs"])
        pages = ["".join(cell["outputs"][0]["data"]["text/html"]) for cell in saved()[:3]]
        assert all("data:image/png" in text for text in pages) and "Right or wrong?" in pages[2]
        assert notebook.outside == [] and [e for e in notebook.errors if not NOISE.search(e)] == []
        notebook.close()
