"""What the theme and its extensions leave inaccessible on a built page, put right after it is written."""

from __future__ import annotations

import re
from pathlib import Path

from sphinx.application import Sphinx

MENDS: tuple[tuple[re.Pattern[str], str], ...] = (
    # Every exercise and every solution of a page would have the same id.
    (re.compile(r'<section id="(exercise|solution)-content">'), r'<section class="\1-content">'),
    # So would every algorithm, which has a class already.
    (re.compile(r'(<section class="\w+-content") id="proof-content">'), r"\1>"),
    # ARIA 1.2 has deprecated this role, and a list without items in it is none.
    (re.compile(r' role="doc-biblioentry"'), ""),
    (re.compile(r'<div role="list" class="citation-list">'), '<div class="citation-list">'),
    # The title and the search stand in the sidebar outside any landmark.
    (
        re.compile(r'<div id="pst-primary-sidebar" class="'),
        '<div id="pst-primary-sidebar" role="navigation" aria-label="Book" class="',
    ),
)


def mend(text: str) -> str:
    """Return a page with these faults put right."""
    for pattern, better in MENDS:
        text = pattern.sub(better, text)
    return text


def mend_pages(app: Sphinx, error: Exception | None) -> None:
    """Put right every page that was built."""
    if error or app.builder.format != "html":
        return
    for path in Path(app.outdir).rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        if (better := mend(text)) != text:
            path.write_text(better, encoding="utf-8")


def setup(app: Sphinx) -> None:
    """Register with Sphinx, before the styles are cut to the classes in use."""
    app.connect("build-finished", mend_pages, priority=890)
