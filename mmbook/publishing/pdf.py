"""The whole book as one PDF: the built pages joined, printed by Chromium with the mathematics typeset."""

from __future__ import annotations

import argparse
import os
import posixpath
import re
import shutil
import sys
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urldefrag, urlparse

from mmbook.publishing.exercise_index import book_parts

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FOOT = (
    '<p style="width:100%;font-size:10px;text-align:center;color:#555"><span class="pageNumber"></span></p>'
)
WIDTH = 657  # pixels of 174 mm, what the margins leave of A4
# Paper does not scroll: a formula, or a table, that is too wide for the page is set smaller.
SHRINK = """() => {
  for (const box of document.querySelectorAll('mjx-container[display="true"]')) {
    const number = box.parentElement.querySelector(".eqno");
    const room = box.parentElement.clientWidth - 2 * (number ? number.offsetWidth + 4 : 0);
    const width = box.firstElementChild.getBoundingClientRect().width;
    const size = parseFloat(getComputedStyle(box).fontSize);
    if (width > room) box.style.fontSize = `${Math.floor((size * room) / width)}px`;
  }
  for (const table of document.querySelectorAll("article table")) {
    const room = table.closest("div, section").clientWidth;
    if (table.scrollWidth > room) table.style.zoom = room / table.scrollWidth;
  }
}"""
# What only a screen can use.
SCREEN_ONLY = (
    ".headerlink, .mm-links, .mm-guess, .mm-none, #mm-previews, .prev-next-area, .toctree-wrapper, "
    "details.above-input, script, button"  # details: code that the page folds away
)


def chromium() -> str:
    """Return the path of Chromium, from MMBOOK_CHROMIUM or the PATH; raises RuntimeError without one."""
    path = os.environ.get("MMBOOK_CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)
    if not path or not os.access(path, os.X_OK):
        raise RuntimeError(
            f"the PDF is printed by Chromium: expected MMBOOK_CHROMIUM to name it, or one of "
            f"{', '.join(BROWSERS)} on the PATH, got {path or 'none'}"
        )
    return path


def book_pages(root: Path) -> list[tuple[str, str]]:
    """Return the pages of `_toc.yml` with the caption of the part that begins with each, or ""."""
    import yaml

    first = yaml.safe_load((root / "_toc.yml").read_text(encoding="utf-8"))["root"]
    pages = [(first, "")]
    for caption, names in book_parts(root):
        pages += [(name, caption if i == 0 else "") for i, name in enumerate(names)]
    return pages


def prefix(page: str) -> str:
    """Return what stands before every id of a page where all pages are one."""
    return re.sub(r"\W+", "-", page) + "--"


def read_page(html: Path, page: str) -> Any:
    """Return a built page, parsed; raises FileNotFoundError where it was not built."""
    from bs4 import BeautifulSoup

    path = html / f"{page}.html"
    if not path.is_file():
        raise FileNotFoundError(f"expected the built page {path}; build the book first: make book")
    return BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")


def article_of(html: Path, page: str, pages: set[str]) -> Any:
    """Return a page's article, its ids and links changed so that it can stand beside the others in one file.

    Pictures are found from the folder above `html`.
    """
    article = read_page(html, page).select_one("article.bd-article")
    assert article is not None, f"{page} has no article"
    for node in article.select(SCREEN_ONLY):
        node.decompose()
    here = posixpath.dirname(page)
    for node in article.find_all(True):
        for key in ("id", "for", "name"):
            if value := node.get(key):
                node[key] = prefix(page) + str(value)
        if node.name == "details":
            node["open"] = ""
        for key in ("src", "href"):
            value = str(node.get(key) or "")
            if not value or urlparse(value).scheme:
                continue
            target, place = urldefrag(value)
            there = posixpath.normpath(posixpath.join(here, unquote(target))) if target else f"{page}.html"
            name = there.removesuffix(".html")
            if name in pages:
                node[key] = f"#{prefix(name)}{place or 'top'}"
            else:
                node[key] = f"{html.name}/{there}" + (f"#{place}" if place else "")
    article["id"] = f"{prefix(page)}top"
    article["class"] = "bd-article mm-chapter"
    return article


def join(root: Path, html: Path) -> str:
    """Return all pages of the book in `root` as one HTML file, to be written beside the folder `html`."""
    pages = book_pages(root)
    names = {page for page, _ in pages}
    start = read_page(html, pages[0][0])
    title = start.title.get_text().strip() if start.title else "The book"
    up = "../" * pages[0][0].count("/")
    styles = [str(link["href"]).removeprefix(up) for link in start.select('link[rel="stylesheet"]')]
    mathjax = next((html / "_static").rglob("tex-*chtml.js"), None)
    settings = ""
    for path in html.rglob("*.html"):  # a page with mathematics has MathJax's settings
        if found := re.search(
            r"<script>window\.MathJax = .*?</script>", path.read_text(encoding="utf-8"), re.S
        ):
            settings = found[0]
            break
    out = ['<!DOCTYPE html><html lang="en" data-theme="light" data-mode="light"><head><meta charset="utf-8">']
    out += [f"<title>{title}</title>"]
    out += [f'<link rel="stylesheet" href="{html.name}/{style}">' for style in styles]
    if mathjax:
        out += [settings, f'<script defer src="{html.name}/{mathjax.relative_to(html).as_posix()}"></script>']
    out += ['</head><body class="mm-book"><main class="bd-main">']
    for page, caption in pages:
        article = article_of(html, page, names)
        if caption:
            out += [f'<h1 class="mm-part">{caption}</h1>']
        out += [str(article)]
    return "\n".join([*out, "</main></body></html>\n"])


def print_pdf(page: Path, target: Path) -> int:
    """Print one HTML file to the PDF `target`; returns the number of pictures that were missing."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium(), args=["--no-sandbox", "--disable-gpu"]
        )
        tab = browser.new_page(viewport={"width": WIDTH, "height": 930})
        tab.set_default_timeout(600_000)
        tab.emulate_media(media="print", color_scheme="light")
        tab.goto(page.as_uri(), wait_until="load")
        tab.evaluate("() => window.MathJax && MathJax.startup ? MathJax.startup.promise : null")
        tab.evaluate(SHRINK)
        # a picture that waits to be scrolled to would never be printed
        tab.evaluate("""() => Promise.all([...document.images].map(image => {
            image.loading = "eager";
            return image.complete ? null : new Promise(done => { image.onload = image.onerror = done; });
        }))""")
        missing = tab.evaluate("[...document.images].filter(image => !image.naturalWidth).length")
        tab.pdf(
            path=str(target),
            format="A4",
            margin={"top": "18mm", "bottom": "20mm", "left": "18mm", "right": "18mm"},
            display_header_footer=True,
            header_template="<span></span>",
            footer_template=FOOT,
            print_background=True,
            outline=True,
            tagged=True,
        )
        browser.close()
    return int(missing)


def main(arguments: list[str] | None = None) -> int:
    """Write _build/book.pdf from the pages in _build/html."""
    parser = argparse.ArgumentParser(prog="python -m mmbook pdf", description=__doc__)
    parser.add_argument("path", nargs="?", help="the file to write (_build/book.pdf)")
    options = parser.parse_args(arguments)
    root, build = Path.cwd(), Path.cwd() / "_build"
    target = Path(options.path or build / "book.pdf").resolve()
    try:
        chromium()
        whole = build / "book.html"
        whole.write_text(join(root, build / "html"), encoding="utf-8")
        missing = print_pdf(whole, target)
    except (FileNotFoundError, RuntimeError, ImportError) as error:
        print(f"no PDF: {error}", file=sys.stderr)
        return 1
    if missing:
        print(f"{missing} pictures of the pages could not be read; is the book built whole?", file=sys.stderr)
        return 1
    print(target)
    return 0
