"""The built book's quizzes, previews and index in Chromium, who can read it, and how much a page weighs."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote, urlparse

import pytest

PICTURES = (".png", ".svg", ".jpg", ".gif")
# Opens every quiz, chooses each option in turn and counts the reasons that can then be read.
OPEN_QUIZZES = """() => [...document.querySelectorAll(".mm-quiz")].flatMap(quiz => {
    quiz.querySelector("details").open = true;
    return [...quiz.querySelectorAll("input")].map(option => {
        option.click();
        return [...quiz.querySelectorAll(".mm-why")].filter(why => why.checkVisibility()).length;
    });
})"""
# Goes to where the keyboard is, and says where it was last if that looks the same without it.
STOP = """() => {
    const look = (node) => {
        const { outlineStyle, outlineWidth, outline, boxShadow, backgroundColor } = getComputedStyle(node);
        const seen = outlineStyle !== "none" && outlineWidth !== "0px";
        return [seen && outline, boxShadow, backgroundColor].join("|");
    };
    const [before, now] = [window.lastStop, document.activeElement];
    const unseen = before && before !== now && look(before) === window.lastLook ? before.outerHTML : "";
    Object.assign(window, { lastStop: now, lastLook: look(now) });
    return [now === document.body, unseen.slice(0, 160)];
}"""
NUMBER_STOPS = """() => document.querySelectorAll(".bd-article :is(a, button, summary, input)").forEach(
    (node, i) => { node.dataset.stop = i; })"""
# What can be seen, takes part in the round of the keyboard, and was not reached; radio buttons share a stop.
NOT_REACHED = """(reached) => [...document.querySelectorAll("[data-stop]")].filter(node =>
    node.checkVisibility({ visibilityProperty: true }) && !node.disabled && node.tabIndex >= 0
    && node.type !== "radio" && !reached.includes(node.dataset.stop)
).map(node => node.outerHTML.slice(0, 160))"""
IN_PAGE = re.compile(r"data:(?:image|audio)/[\w.+-]+;base64,[A-Za-z0-9+/=\s]+|<svg\b.*?</svg>", re.S)


@pytest.fixture(scope="module")
def pages(built_book: Path) -> list[str]:
    found = sorted(p.relative_to(built_book).as_posix() for p in (built_book / "book").rglob("*.html"))
    assert "book/quickstart.html" in found and "book/appendix/exercises.html" in found
    return found


@pytest.fixture(scope="module")
def chapters(built_book: Path, pages: list[str]) -> list[str]:
    """The pages that have a quiz."""
    found = [p for p in pages if 'class="mm-quiz"' in (built_book / p).read_text(encoding="utf-8")]
    assert len(found) >= 16
    return found


def test_a_page_with_mathematics_weighs_two_megabytes_at_most_and_another_one(browser, built_book, pages):
    context = browser.new_context()
    heavy = []
    for name in pages:
        page, asked = context.new_page(), set()
        page.on("request", lambda r, asked=asked: asked.add(unquote(urlparse(r.url).path)))
        page.goto((built_book / name).as_uri(), wait_until="load")
        page.evaluate("() => window.MathJax && MathJax.startup ? MathJax.startup.promise : null")
        page.wait_for_load_state("networkidle")
        page.close()
        files = [Path(f) for f in asked if Path(f).is_file() and not f.endswith(PICTURES)]
        text = (built_book / name).read_text(encoding="utf-8")
        pictures = sum(len(found) for found in IN_PAGE.findall(text))
        size = sum(f.stat().st_size for f in files) - pictures
        most = 2_000_000 if any("mathjax" in str(f) for f in files) else 1_000_000
        if size > most:
            heavy.append(f"{name}: {size:,} of {most:,} bytes")
    context.close()
    assert heavy == []


@pytest.mark.parametrize(("scheme", "width"), [("light", 1200), ("dark", 375)])
def test_quizzes_of_every_chapter_open_without_fault(browser, built_book, chapters, scheme, width):
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page, faults = context.new_page(), []
    page.on("pageerror", lambda error: faults.append(str(error)))
    for name in chapters:
        page.goto((built_book / name).as_uri(), wait_until="load")
        page.evaluate("() => window.MathJax && MathJax.startup ? MathJax.startup.promise : null")
        shown = page.evaluate(OPEN_QUIZZES)
        assert shown and set(shown) == {1}, name
        wide = page.evaluate("document.documentElement.scrollWidth")
        faults += [f"{name}: {wide} pixels wide"] if wide > width else []
    context.close()
    assert faults == []


def test_axe_finds_no_fault_on_any_page(browser, built_book, pages):
    """Each page with all that folds unfolded, by turns wide and light, and narrow and dark."""
    package = pytest.importorskip("axe_core_python")
    axe = (Path(package.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
    views = [
        browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
        for width, scheme in ((1280, "light"), (375, "dark"))
    ]
    faults = []
    for i, name in enumerate([*pages, "search.html", "genindex.html", "prf-prf.html"]):
        page = views[i % 2].new_page()
        page.goto((built_book / name).as_uri(), wait_until="load")
        page.evaluate("() => window.MathJax && MathJax.startup ? MathJax.startup.promise : null")
        page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
        page.wait_for_timeout(800)  # what unfolds fades in, and is pale until then
        page.evaluate(axe)
        found = page.evaluate("axe.run()")["violations"]
        faults += [f"{name}: {v['id']} {v['nodes'][0]['html'][:200]}" for v in found]
        page.close()
    for view in views:
        view.close()
    assert faults == []


def test_every_preview_of_the_book_can_be_drawn(browser, built_book, pages):
    context = browser.new_context()
    page, drawn = context.new_page(), 0
    for name in pages:
        text = (built_book / name).read_text(encoding="utf-8")
        if 'id="mm-previews"' not in text:
            continue
        page.goto((built_book / name).as_uri(), wait_until="load")
        page.evaluate("() => window.MathJax && MathJax.startup ? MathJax.startup.promise : null")
        page.keyboard.press("Tab")
        faults = page.evaluate("""async () => {
            const faults = [], tip = document.getElementById("mm-tip");
            for (const href of Object.keys(JSON.parse(document.getElementById("mm-previews").textContent))) {
                const link = [...document.querySelectorAll("a.reference.internal")].find(
                    a => a.getAttribute("href") === href && a.checkVisibility());
                if (!link) continue;
                link.focus();
                if (window.MathJax) await MathJax.typesetPromise([]);
                await new Promise(done => setTimeout(done, 0));
                const empty = tip.hidden || !tip.textContent.trim();
                if (empty || tip.querySelector("mjx-merror")) faults.push(href);
            }
            return faults;
        }""")
        assert faults == [], name
        drawn += 1
    context.close()
    assert drawn >= 10


def test_every_exercise_of_the_index_is_where_its_link_leads(built_book):
    text = (built_book / "book/appendix/exercises.html").read_text(encoding="utf-8")
    links = set(re.findall(r'href="\.\./([\w/-]+\.html)#(ex-[\w-]+)"', text))
    assert len(links) >= 100
    for name, label in links:
        assert f'id="{label}"' in (built_book / "book" / name).read_text(encoding="utf-8"), label


def test_on_paper_the_answers_stand_open_and_the_furniture_is_gone(browser, built_book):
    page = browser.new_page()
    page.goto((built_book / "book/quickstart.html").as_uri())
    assert page.locator(".mm-links").is_visible()
    page.emulate_media(media="print")
    for selector in (".mm-links", ".mm-guess >> nth=0", ".prev-next-area", "#mm-tip"):
        assert not page.locator(selector).is_visible(), selector
    page.close()


def test_the_keyboard_reaches_everything_and_shows_where_it_is(browser, built_book):
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto((built_book / "book/quickstart.html").as_uri())
    page.wait_for_load_state("networkidle")
    reached, unseen, done = set(), [], False
    page.evaluate(NUMBER_STOPS)
    while not done:
        page.keyboard.press("Tab")
        reached.add(page.evaluate("() => document.activeElement.dataset.stop ?? ''"))
        done, fault = page.evaluate(STOP)
        unseen += [fault] if fault else []
    left = page.evaluate(NOT_REACHED, sorted(reached))
    page.close()
    assert unseen == [] and left == [] and len(reached) > 50
