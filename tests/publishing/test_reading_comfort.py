"""Quizzes, guesses, previews and the PDF of a small built book, in Chromium and from file://."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
from docutils.core import publish_doctree
from sample_book import CHAPTER, write_book

from mmbook.publishing import pdf
from mmbook.publishing.access import mend
from mmbook.publishing.page_ends import promise
from mmbook.publishing.weight import lighten, purge

ROOT = Path(__file__).resolve().parents[2]
MATHJAX = """    html_static_path: [static]
    html_css_files: [book.css]
    mathjax_path: vendor/mathjax/tex-mml-chtml.js
"""
EXTRA = r"""
```{admonition} Before you run on
:class: tip
How many?
```

```{code-cell} ipython3
print("three")
```

```{code-cell} ipython3
:caption: One bar is longer, by $R$ of the `other`.

from mmbook import figures
figures.bars({"one": 1.0, "two": 2.0}, "score")
```

```{quiz}
What is $1 + 1$ for a {term}`policy`?

- One, as in {cite}`one2020`.
  That was the start.
+ Two.
  By *counting* twice.
- Three.
  Once too often.
```
"""


def run_command(root: Path, command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("BOOK_", "GITHUB_"))}
    return subprocess.run(
        [sys.executable, "-m", "mmbook", command],
        cwd=root,
        env={**clean, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the sample's pages."""
    root = write_book(tmp_path_factory.mktemp("comfort"), CHAPTER + EXTRA)
    (root / "static").symlink_to(ROOT / "book" / "static")
    config = root / "_config.yml"
    config.write_text(config.read_text().replace("    project: sample\n", "    project: sample\n" + MATHJAX))
    (root / "mmbook").mkdir()
    done = run_command(root, "build")
    assert done.returncode == 0, done.stdout + done.stderr
    return root / "_build" / "html"


@pytest.fixture(scope="module")
def axe() -> str:
    package = pytest.importorskip("axe_core_python")
    return (Path(package.__file__).parent / "axe.min.js").read_text(encoding="utf-8")


@pytest.fixture(params=[("light", 1200), ("dark", 375)], ids=["light", "dark-phone"])
def page(browser, site, request) -> Iterator:
    """The chapter, wide and light or narrow and dark; nothing outside its folder may be asked for."""
    scheme, width = request.param
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page = context.new_page()
    asked: list[str] = []
    page.on("request", lambda r: asked.append(r.url))
    page.on("pageerror", lambda error: asked.append(f"error: {error}"))
    page.goto(f"{site.as_uri()}/book/chapter.html")
    page.evaluate("() => MathJax.startup.promise")
    yield page
    assert [url for url in asked if not url.startswith(site.as_uri())] == []
    context.close()


def shown(page, selector: str) -> list[str]:
    return [e.inner_text() for e in page.query_selector_all(selector) if e.is_visible()]


def test_a_quiz_says_why_and_only_of_the_option_that_was_chosen(page):
    assert shown(page, ".mm-why, .mm-none") == []
    page.locator(".mm-check > summary").click()
    assert shown(page, ".mm-why") == [] and shown(page, ".mm-none")
    page.get_by_label("One, as in").check()
    assert [text[:7] for text in shown(page, ".mm-why")] == ["(a) No."] and not shown(page, ".mm-none")
    page.get_by_label("Two.").check()
    assert shown(page, ".mm-why") == ["(b) Right. By counting twice."]


def test_a_quiz_is_answered_with_the_keyboard_alone(page):
    page.locator(".mm-quiz input").first.focus()
    page.keyboard.press("Space")
    page.keyboard.press("ArrowDown")
    assert page.get_by_label("Two.").is_checked() and shown(page, ".mm-why") == []  # not given away
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert shown(page, ".mm-why") == ["(b) Right. By counting twice."]


def test_a_quiz_needs_no_script(browser, site):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{site.as_uri()}/book/chapter.html")
    page.locator(".mm-quiz input").last.check()
    page.locator(".mm-check > summary").click()
    assert shown(page, ".mm-why") == ["(c) No. Once too often."]
    context.close()


def test_a_guess_stands_beside_the_next_result(page):
    assert shown(page, ".mm-guessed") == []
    page.get_by_label("Your guess").fill("three <b>")
    assert shown(page, ".mm-guessed") == ["Your guess: three <b>"]
    after = page.locator(".mm-guessed").evaluate("e => e.nextElementSibling.innerText")
    assert after.strip() == "three"
    page.get_by_label("Your guess").fill("")
    assert shown(page, ".mm-guessed") == []


PREVIEWS = [
    ("first.html#equation-eq-first", "𝑎"),
    ("#equation-eq-here", "𝑥"),
    ("words.html#term-policy", "What acts."),
]


@pytest.mark.parametrize(("address", "says"), PREVIEWS)
def test_the_keyboard_opens_a_preview_and_escape_closes_it(page, address, says):
    link = page.locator(f'a.reference.internal[href="{address}"]').first
    page.keyboard.press("Tab")  # from here on the browser knows that the keyboard is in use
    link.focus()
    tip = page.get_by_role("tooltip")
    drawn = "!document.getElementById('mm-tip').innerText.includes(String.raw`\\[`)"
    page.wait_for_function(drawn)
    assert says in tip.inner_text() and link.get_attribute("aria-describedby") == "mm-tip"
    box, width = tip.bounding_box(), page.viewport_size["width"]
    assert box["x"] >= 0 and box["x"] + box["width"] <= width
    page.keyboard.press("Escape")
    assert not tip.is_visible() and link.get_attribute("aria-describedby") is None
    assert link.evaluate("e => e === document.activeElement")


def test_the_pointer_opens_the_preview_of_a_work_and_may_move_onto_it(page):
    link = page.locator('a.reference.internal[href^="words.html#id"]').first
    link.scroll_into_view_if_needed()
    own = link.get_attribute("title")
    link.hover()
    tip = page.get_by_role("tooltip")
    tip.wait_for()
    assert re.sub(r"\s+", " ", tip.inner_text()).startswith("Ann One. A title.")
    assert link.get_attribute("title") is None  # two tooltips would lie over each other
    tip.hover()
    page.wait_for_timeout(400)
    assert tip.is_visible()
    page.mouse.move(5, 790)
    tip.wait_for(state="hidden")
    assert link.get_attribute("title") == own


def test_a_touch_follows_the_link(browser, site):
    context = browser.new_context(viewport={"width": 375, "height": 800}, has_touch=True, is_mobile=True)
    page = context.new_page()
    page.goto(f"{site.as_uri()}/book/chapter.html")
    page.locator('a.reference.internal[href="#equation-eq-here"]').first.tap()
    assert page.url.endswith("#equation-eq-here") and not page.locator("#mm-tip").is_visible()
    page.locator('a.reference.internal[href="words.html#term-policy"]').first.tap()
    page.wait_for_url("**/words.html#term-policy")
    context.close()


@pytest.mark.parametrize("wish", ["reduce", "no-preference"])
def test_previews_move_only_for_those_who_do_not_mind(browser, site, wish):
    context = browser.new_context(reduced_motion=wish)
    page = context.new_page()
    page.goto(f"{site.as_uri()}/book/chapter.html")
    page.keyboard.press("Tab")
    page.locator('a.reference.internal[href="words.html#term-policy"]').first.focus()
    name = page.get_by_role("tooltip").evaluate("e => getComputedStyle(e).animationName")
    assert name == ("none" if wish == "reduce" else "mm-appear")
    context.close()


def test_axe_finds_nothing_in_a_page_with_an_open_quiz_and_an_open_preview(page, axe):
    page.get_by_label("One, as in").check()
    page.locator(".mm-check > summary").click()
    page.keyboard.press("Tab")
    page.locator('a.reference.internal[href="words.html#term-policy"]').first.focus()
    page.mouse.move(1, 1)
    page.wait_for_timeout(300)  # until it has appeared: half transparent text has half the contrast
    page.evaluate(axe)
    own = page.evaluate("axe.run({include: [['.mm-quiz'], ['.mm-guess'], ['#mm-tip']]})")
    assert [(v["id"], v["nodes"][0]["html"]) for v in own["violations"]] == []
    assert len(own["passes"]) > 5
    assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]


def test_a_page_holds_the_previews_of_its_own_links_and_no_others(site):
    def previews(name: str) -> dict[str, str]:
        text = (site / "book" / name).read_text(encoding="utf-8")
        data = re.search(r'id="mm-previews">(.*?)</script>', text, re.S)
        return json.loads(data[1]) if data else {}

    found = previews("chapter.html")
    assert {"first.html#equation-eq-first", "#equation-eq-here", "words.html#term-policy"} < found.keys()
    assert len(found) == 4 and sum("Ann" in text for text in found.values()) == 1
    assert "\\begin{split}x &amp;= y" in found["#equation-eq-here"]
    assert previews("index.html") == previews("first.html") == {}


def test_no_page_loads_what_only_the_search_needs(site):
    pages = {p.name: p.read_text(encoding="utf-8") for p in site.rglob("*.html")}
    assert "searchindex.js" in pages["search.html"] and "searchindex.js" not in pages["chapter.html"]
    assert not any("fontawesome.js" in text for text in pages.values())


def test_unused_rules_of_a_style_go_and_used_ones_stay():
    css = (
        '@charset "u";/* { */.used,.gone>p{a:b}.gone .used{a:b}p{c:d}.used:not(.gone){e:f}'
        '@media print{.gone{x:y}#used{content:"}"}}@media all{.gone{x:y}}@font-face{src:url(x)}'
        ".used\\:x{g:h}a[href='.gone']{i:j}"
    )
    assert purge(css, {"used", "used:x", "gone2"}) == (
        '@charset "u";.used{a:b}p{c:d}.used:not(.gone){e:f}@media print{#used{content:"}"}}'
        "@font-face{src:url(x)}.used\\:x{g:h}a[href='.gone']{i:j}"
    )


def test_a_page_with_code_offers_its_notebook_and_its_source(site):
    text = (site / "book" / "chapter.html").read_text(encoding="utf-8")
    links = re.search(r'</h1>\s*<p class="mm-links">(.*?)</p>', text, re.S)
    addresses = re.findall(r'href="([^"]+)"', links[1])
    notebook, source = ((site / "book" / address).resolve() for address in addresses)
    nbformat.validate(nbformat.read(notebook, as_version=4))
    assert 'download="chapter.ipynb"' in links[1]
    assert source.read_text(encoding="utf-8") == CHAPTER + EXTRA
    assert "mm-links" not in (site / "book" / "first.html").read_text(encoding="utf-8")


def test_the_foot_of_a_page_says_what_the_next_one_gives(site):
    def foot(name: str) -> list[str]:
        text = (site / "book" / name).read_text(encoding="utf-8")
        return re.findall(r'<a class="right-next".*?<span class="mm-promise">(.*?)</span>', text, re.S)

    (says,) = foot("first.html")
    assert says.startswith("References: ") and "<" not in says
    assert foot("index.html") == []  # the next page has no sentence
    assert foot("words.html") == []  # and this one has no next page


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("You will be able to\n\n- **count** to ten, and back;\n- **add**.", "You will count to ten."),
        ("You will be able to\n\n- **add** (a little).", "You will add."),
        ("Words of the book. More of them.", "Words of the book."),
        ("No full stop", "No full stop"),
        ("Deeper\n~~~~~~\n\nNot this.", ""),
    ],
)
def test_a_promise_is_the_first_aim_or_the_first_sentence(text, says):
    tree = publish_doctree(f"Page\n====\n\n{text}\n", settings_overrides={"doctitle_xform": False})
    assert promise(tree) == says


def test_each_chapter_begins_with_aims_seconds_and_memory():
    chapters = [p for p in (ROOT / "book").rglob("*.md") if "\n## Exercises" in p.read_text(encoding="utf-8")]
    assert len(chapters) >= 16
    for path in chapters:
        head = path.read_text(encoding="utf-8").split("\n## ")[0]
        assert re.search(r"able to\n+- \*\*[\w ]+\*\*", head), path.name
        assert re.search(r"\{number\}`[\w-]+\.cpu_seconds", head), path.name
        assert re.search(r"\{number\}`[\w-]+\.memory_gb", head), path.name


@pytest.fixture(scope="module")
def joined(site: Path) -> str:
    """All pages of the sample in one file."""
    return pdf.join(site.parent.parent, site)


def test_the_pages_are_joined_in_order_and_every_link_leads_somewhere(joined, site):
    names = re.findall(r'<article class="bd-article mm-chapter" id="([\w-]+)--top"', joined)
    assert names == ["book-index", "book-first", "book-chapter", "book-words"]
    assert re.findall(r'<h1 class="mm-part">(.*?)</h1>', joined) == ["One", "Back"]
    ids = re.findall(r'\bid="([^"]+)"', joined)
    assert len(ids) - len(set(ids)) <= 2  # the names that sphinx-exercise gives to every one of its boxes
    inside = re.findall(r'href="#([^"]+)"', joined)
    assert {"book-first--equation-eq-first", "book-words--term-policy"} < set(inside) <= set(ids)
    files = re.findall(r'(?:src|href)="(html/[^"#?]+)', joined)
    assert any(name.endswith(".svg") for name in files) and any(name.endswith(".css") for name in files)
    assert [name for name in files if not (site.parent / name).is_file()] == []


def test_what_only_a_screen_can_use_is_left_out_and_answers_stand_open(joined):
    assert "mm-guess" not in joined and "headerlink" not in joined and "mm-previews" not in joined
    assert joined.count("<details") == len(re.findall(r"<details[^>]* open=\"\"", joined)) >= 1
    assert "hidden + 1" not in joined  # code that the page folds away


def test_the_pdf_has_the_mathematics_a_sheet_for_each_chapter_and_an_outline(chromium, joined, site):
    done = run_command(site.parent.parent, "pdf", MMBOOK_CHROMIUM=chromium)
    assert done.returncode == 0, done.stdout + done.stderr
    data = (site.parent / "book.pdf").read_bytes()
    assert data.startswith(b"%PDF") and b"/Outlines" in data
    assert b"MathJax_Math" in data  # the font of the letters: drawn, not TeX
    assert len(re.findall(rb"/Type\s*/Page\b", data)) >= 6  # four pages and two parts


def test_a_formula_that_is_too_wide_for_paper_is_set_smaller(browser):
    page = browser.new_page(viewport={"width": pdf.WIDTH, "height": 900})
    wide = '<i style="display:inline-block;width:50em">w</i>'
    page.set_content(
        f'<div class="math"><mjx-container display="true" style="font-size:20px">{wide}</mjx-container></div>'
        '<div class="math"><mjx-container display="true" style="font-size:20px"><i>n</i></mjx-container>'
    )
    page.evaluate(pdf.SHRINK)
    sizes = page.evaluate(
        "[...document.querySelectorAll('mjx-container')].map(e => getComputedStyle(e).fontSize)"
    )
    page.close()
    assert float(sizes[0][:-2]) * 50 <= pdf.WIDTH and float(sizes[0][:-2]) > 10 and sizes[1] == "20px"


def test_what_is_missing_for_a_pdf_is_said(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MMBOOK_CHROMIUM", str(tmp_path / "none"))
    monkeypatch.chdir(write_book(tmp_path))
    assert pdf.main([]) == 1 and "expected MMBOOK_CHROMIUM" in capsys.readouterr().err
    monkeypatch.setenv("MMBOOK_CHROMIUM", sys.executable)
    assert pdf.main([]) == 1 and "build the book first" in capsys.readouterr().err


def test_lighter_pages_say_the_same(tmp_path):
    """Elements without a colour of their own go, and scripts that a page does not use; no word does."""
    code = (
        '<span class="k">for</span><span class="w"> </span><span class="n">x</span><span class="p">:</span>'
    )
    script = '<script src="_static/design-tabs.js?v=1"></script>'
    (tmp_path / "a.html").write_text(f"<pre>{code}</pre>{script}", encoding="utf-8")
    (tmp_path / "b.html").write_text(f'<div class="sd-tab-set">{code}</div>{script}', encoding="utf-8")
    lighten(SimpleNamespace(builder=SimpleNamespace(format="html"), outdir=tmp_path), None)
    assert (tmp_path / "a.html").read_text(encoding="utf-8") == '<pre><span class="k">for</span> x:</pre>'
    assert script in (tmp_path / "b.html").read_text(encoding="utf-8")


def test_ids_are_unique_and_roles_are_those_of_today():
    page = (
        '<div id="pst-primary-sidebar" class="bd-sidebar"></div><section id="exercise-content"></section>'
        '<section class="algorithm-content" id="proof-content"></section>'
        '<div role="list" class="citation-list"><div class="citation" role="doc-biblioentry">b</div></div>'
    )
    assert mend(page) == (
        '<div id="pst-primary-sidebar" role="navigation" aria-label="Book" class="bd-sidebar"></div>'
        '<section class="exercise-content"></section><section class="algorithm-content"></section>'
        '<div class="citation-list"><div class="citation">b</div></div>'
    )


def test_what_a_cell_draws_has_a_number_a_caption_and_words(page, site):
    figure = page.locator("figure.mm-figure")
    assert figure.locator("figcaption").inner_text().split(",")[0] == "Fig. 2.2 One bar is longer"
    assert figure.locator("figcaption mjx-container").count() == 1
    assert "two" in figure.locator("img").get_attribute("alt")
    cells = nbformat.read(site / "_notebooks/book/chapter.ipynb", as_version=4).cells
    drawn = next(i for i, cell in enumerate(cells) if "figures.bars" in cell.source)
    assert cells[drawn + 1].source.startswith("*Fig. 2.2:* One bar is longer, by $R$")


def test_the_font_of_the_icons_has_those_that_the_page_uses_and_few_others(browser, site):
    from fontTools.ttLib import TTFont

    static, page = site / "_static", browser.new_page()
    loaded: list[str] = []
    page.on("requestfinished", lambda r: loaded.append(r.url.rpartition("/")[2]))
    page.goto(f"{site.as_uri()}/book/chapter.html")
    page.evaluate("() => document.fonts.ready")
    used = page.evaluate("""() => [...document.querySelectorAll(".fa-solid")].map(
        icon => getComputedStyle(icon, "::before").content.codePointAt(1))""")
    page.close()
    font = TTFont(static / "vendor/fontawesome/webfonts/fa-solid-900.woff").getBestCmap()
    assert used and set(used) <= set(font) and len(font) < 100
    assert "fa-solid-900.woff" in loaded and "fa-solid-900.woff2" not in loaded
