"""The built book in Chromium: no request leaves its folder; nothing is broken, on phones or in the dark."""

from __future__ import annotations

import functools
import http.server
import re
import threading
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin, urlparse

import pytest


class Visit:
    """What a page asked for and complained about."""

    def __init__(self, browser, **options) -> None:
        self.context = browser.new_context(**options)
        self.page = self.context.new_page()
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda r: self.requests.append(r.url))
        self.page.on("requestfailed", self.failed)
        self.page.on("response", lambda r: r.status >= 400 and self.complaints.append(f"{r.status}: {r.url}"))
        self.page.on(
            "console",
            lambda m: m.type in ("error", "warning") and self.complaints.append(f"{m.type}: {m.text}"),
        )
        self.page.on("pageerror", lambda e: self.complaints.append(f"page error: {e}"))

    def failed(self, request) -> None:
        """Complain, unless the browser left the page while its icon was still on the way."""
        if not (request.failure == "net::ERR_ABORTED" and request.url.endswith("/favicon.svg")):
            self.complaints.append(f"failed: {request.url} ({request.failure})")

    def open(self, url: str) -> None:
        self.page.goto(url, wait_until="load")
        self.page.evaluate("() => window.MathJax && MathJax.startup ? MathJax.startup.promise : null")
        self.page.wait_for_load_state("networkidle")

    def width(self) -> int:
        return self.page.evaluate("document.documentElement.scrollWidth")

    def outside(self, base: str) -> list[str]:
        return [u for u in self.requests if not u.startswith((base, "data:", "blob:"))]


@pytest.fixture(scope="module")
def server(built_book: Path) -> Iterator[str]:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(built_book))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}/"
        running.shutdown()


@pytest.fixture(scope="module")
def pages(built_book: Path) -> list[str]:
    found = sorted(p.relative_to(built_book).as_posix() for p in built_book.rglob("*.html"))
    found = [p for p in found if not p.startswith(("_static/", "_sources/", "reports/"))]
    assert "index.html" in found and "book/quickstart.html" in found
    return [p for p in found if p != "index.html"]  # it only leads on to book/index.html


class Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.ids: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        self.ids |= {named[k] for k in ("id", "name") if named.get(k)}
        self.links += [named[k] for k in ("href", "src") if named.get(k) is not None]


@functools.cache
def read_links(path: Path) -> Links:
    """The links and places of a page, which is read once: many pages lead to it."""
    links = Links()
    links.feed(path.read_text(encoding="utf-8"))
    return links


def broken_links(root: Path, page: str) -> list[str]:
    """Return the local links of one page that lead to no file or to no place in it."""
    broken = []
    for link in read_links(root / page).links:
        target, fragment = urldefrag(urljoin(f"file:///{page}", link or ""))
        if urlparse(link).scheme or not target.startswith("file:///"):
            continue
        path = root / unquote(urlparse(target).path).lstrip("/")
        if not path.is_file():
            broken.append(f"{page} -> {link}: no such file")
        elif fragment and path.suffix == ".html" and unquote(fragment) not in read_links(path).ids:
            broken.append(f"{page} -> {link}: no such place in {path.name}")
    return broken


def test_no_local_link_is_broken(built_book, pages):
    assert [line for page in pages for line in broken_links(built_book, page)] == []


def test_the_file_to_open_leads_to_the_landing_page(browser, built_book):
    visit = Visit(browser)
    visit.page.goto(f"{built_book.as_uri()}/index.html")
    visit.page.wait_for_url("**/book/index.html")
    visit.context.close()


def test_the_link_check_sees_broken_links(tmp_path):
    (tmp_path / "a.html").write_text(
        '<p id="x"></p><a href="b.html">b</a><a href="#x">x</a><a href="#y">y</a>'
    )
    assert broken_links(tmp_path, "a.html") == [
        "a.html -> b.html: no such file",
        "a.html -> #y: no such place in a.html",
    ]


@pytest.mark.parametrize("scheme", ["http", "file"])
def test_pages_stay_inside_their_folder_and_do_not_complain(browser, server, built_book, pages, scheme):
    base = server if scheme == "http" else built_book.as_uri() + "/"
    visit = Visit(browser)
    for page in pages:
        visit.open(base + page)
    visit.context.close()
    assert visit.outside(base) == []
    assert visit.complaints == []
    assert len(visit.requests) > 5 * len(pages)


def test_the_recorder_sees_requests_errors_and_width(browser, tmp_path):
    text = "<p style='width: 900px'>wide</p><img src='http://127.0.0.1:9/x.png'>"
    text += "<script>console.error('oh')</script><script>nothing()</script>"
    (tmp_path / "bad.html").write_text(text)
    visit = Visit(browser, viewport={"width": 375, "height": 740})
    visit.open((tmp_path / "bad.html").as_uri())
    assert visit.width() >= 900
    visit.context.close()
    assert visit.outside(tmp_path.as_uri()) == ["http://127.0.0.1:9/x.png"]
    assert any("oh" in c for c in visit.complaints) and any("page error" in c for c in visit.complaints)


def test_phones_scroll_only_down(browser, built_book, pages):
    visit = Visit(browser, viewport={"width": 375, "height": 740})
    wide = []
    for page in pages:
        visit.open(f"{built_book.as_uri()}/{page}")
        for theme in ("light", "dark"):
            visit.page.emulate_media(color_scheme=theme)
            if visit.width() > 375:
                wide.append(f"{page}, {theme}")
    visit.context.close()
    assert wide == []


def luminance(colour: str) -> float:
    """Relative luminance of a CSS rgb() colour (WCAG 2)."""
    parts = [int(float(v)) / 255 for v in re.findall(r"[\d.]+", colour)[:3]]
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in parts]
    return sum(w * v for w, v in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_is_readable_in_both_themes(browser, built_book, theme):
    visit = Visit(browser, color_scheme=theme)
    visit.open(f"{built_book.as_uri()}/book/quickstart.html")
    assert visit.page.evaluate("document.documentElement.dataset.theme") == theme
    text = visit.page.evaluate("getComputedStyle(document.querySelector('.bd-article p')).color")
    ground = visit.page.evaluate("getComputedStyle(document.body).backgroundColor")
    visit.context.close()
    low, high = sorted((luminance(text), luminance(ground)))
    assert (high + 0.05) / (low + 0.05) >= 7
    assert (luminance(ground) < 0.1) == (theme == "dark")


def test_mathematics_is_drawn(browser, built_book):
    visit = Visit(browser)
    visit.open(f"{built_book.as_uri()}/book/notation.html")
    drawn = visit.page.evaluate("document.querySelectorAll('mjx-container').length")
    failed = visit.page.evaluate("document.querySelectorAll('mjx-merror').length")
    fonts = [u for u in visit.requests if u.endswith(".woff")]
    visit.context.close()
    assert drawn > 10 and failed == 0 and fonts


def test_search_finds_a_word_without_a_server(browser, built_book):
    visit = Visit(browser)
    visit.open(f"{built_book.as_uri()}/search.html?q=notation")
    visit.page.wait_for_selector("#search-results li a", timeout=10_000)
    hits = visit.page.eval_on_selector_all("#search-results li a", "links => links.map(a => a.href)")
    visit.context.close()
    assert any("book/notation.html" in hit for hit in hits)
