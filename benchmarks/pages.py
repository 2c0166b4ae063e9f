"""Crawl the built book in Chromium, every page at two widths and in two themes; results/pages.json.

Run `make book` first. A page is served from this machine: what it asks of others, what it complains of, what
axe-core finds, whether it scrolls sideways, when it first paints, and what it weighs without its pictures.
"""

from __future__ import annotations

import functools
import http.server
import re
import shutil
import statistics
import sys
import threading
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import axe_core_python
from playwright.sync_api import Browser, sync_playwright
from results_file import number, write

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "browser"))
from test_reading import IN_PAGE, PICTURES  # noqa: E402
from test_site import Visit, broken_links  # noqa: E402

HTML = ROOT / "_build" / "html"
VIEWS = [(width, theme) for width in (1280, 375) for theme in ("light", "dark")]
AXE = (Path(axe_core_python.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
PAINTED = "performance.getEntriesByType('paint').find(e => e.name === 'first-contentful-paint')?.startTime"
OPEN = "document.querySelectorAll('details').forEach(d => d.open = true)"


class Quiet(http.server.SimpleHTTPRequestHandler):
    """A server that does not print."""

    def log_message(self, *args: object) -> None:
        """Say nothing."""


def weight(page: str, requests: list[str]) -> int:
    """Bytes of a page and of what it loads, uncompressed, without pictures and sounds."""
    files = {HTML / unquote(urlparse(url).path).lstrip("/") for url in requests}
    text = (HTML / page).read_text(encoding="utf-8")
    kept = sum(f.stat().st_size for f in files if f.is_file() and f.suffix not in PICTURES)
    return kept - sum(len(found) for found in IN_PAGE.findall(text))


def visit(browser: Browser, base: str, page: str, width: int, theme: str) -> dict[str, Any]:
    """Open a page in one view, with all that folds unfolded, and write down what was seen."""
    seen = Visit(browser, viewport={"width": width, "height": 800}, color_scheme=theme)
    seen.open(base + page)
    painted = seen.page.evaluate(PAINTED)
    heavy = weight(page, seen.requests)
    seen.page.evaluate(OPEN)
    seen.page.wait_for_load_state("networkidle")
    seen.page.wait_for_timeout(800)  # what unfolds fades in, and is pale until then
    seen.page.evaluate(AXE)
    found = seen.page.evaluate("axe.run()")["violations"]
    row = {
        "outside": seen.outside(base),
        "complaints": seen.complaints,
        "axe": [f"{v['id']}: {n['html'][:160]}" for v in found for n in v["nodes"]],
        "wider": max(0, seen.width() - width),
        "painted_ms": round(painted or 0),
        "bytes": heavy,
        "mathematics": any("mathjax" in url for url in seen.requests),
    }
    seen.context.close()
    return row


def main() -> None:
    """Crawl, print what is wrong page by page, and write the totals."""
    pages = sorted(p.relative_to(HTML).as_posix() for p in HTML.rglob("*.html"))
    pages = [p for p in pages if not re.match(r"_static/|_sources/|reports/|index\.html$", p)]
    chosen = [p for p in pages if not sys.argv[1:] or any(name in p for name in sys.argv[1:])]
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(HTML)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    base, rows = f"http://127.0.0.1:{server.server_port}/", {}
    with sync_playwright() as playwright:
        path = shutil.which("chromium") or shutil.which("google-chrome")
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        visit(browser, base, chosen[0], 1280, "light")  # the first page of a cold browser is nobody's
        for page in chosen:
            views = {f"{w} {t}": visit(browser, base, page, w, t) for w, t in VIEWS}
            rows[page] = views
            for view, row in views.items():
                wrong = {k: row[k] for k in ("outside", "complaints", "axe", "wider") if row[k]}
                print(
                    f"{page} {view}: {row['painted_ms']} ms, {row['bytes']:,} bytes", wrong or "", flush=True
                )
        browser.close()
    server.shutdown()
    broken = [line for page in pages for line in broken_links(HTML, page)]
    print(*broken, sep="\n")
    if chosen != pages:
        return
    every = [row for views in rows.values() for row in views.values()]

    def count(key: str) -> int:
        return sum(len(row[key]) for row in every)

    def heaviest(mathematics: bool) -> float:
        return max(row["bytes"] for row in every if row["mathematics"] == mathematics) / 1e6

    paints = [row["painted_ms"] for row in every]
    values = {
        "pages": number(len(pages), 0, "pages of the built book, each in four views", unit="pages"),
        "outside": number(count("outside"), 0, "requests that left the site", unit="requests"),
        "complaints": number(count("complaints"), 0, "errors and warnings on the console", unit="messages"),
        "broken": number(len(broken), 0, "links to no file or place", unit="links"),
        "axe": number(count("axe"), 0, "elements in which axe-core finds a fault", unit="elements"),
        "wide": number(sum(r["wider"] > 0 for r in every), 0, "views that scroll sideways", unit="views"),
        "paint_median": number(statistics.median(paints), 500, "median first contentful paint", unit="ms"),
        "paint_most": number(max(paints), 1000, "slowest first contentful paint", unit="ms"),
        "heaviest_mathematics": number(heaviest(True), 0.2, "heaviest page with mathematics", unit="MB"),
        "heaviest_other": number(heaviest(False), 0.2, "heaviest page without mathematics", unit="MB"),
    }
    brief = {p: {k: v for k, v in views["1280 light"].items() if v} for p, views in rows.items()}
    write("pages", values, views=[f"{w} px {t}" for w, t in VIEWS], pages=brief)


if __name__ == "__main__":
    main()
