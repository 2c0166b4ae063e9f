"""Labellers in the built book: scripts and style where one is, and each picture once in the site."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

PICTURE = re.compile(r'(<img data-key="\w+") src="data:image/png;base64,([^"]+)"')
FOLDER = "_images/labeller"


def move_pictures(app: Sphinx, doctree: nodes.document, page: str) -> None:
    """Write the pictures of a page's labellers to files, named by what they show."""
    if app.builder.format != "html":
        return
    up = "../" * page.count("/")

    def to_file(found: re.Match[str]) -> str:
        data = base64.b64decode(found[2])
        name = f"{hashlib.sha256(data).hexdigest()[:16]}.png"
        path = Path(app.outdir) / FOLDER / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return f'{found[1]} src="{up}{FOLDER}/{name}"'

    for node in list(doctree.findall(nodes.raw)):
        if "mmb-static" in (text := node.astext()):
            node.replace_self(nodes.raw("", PICTURE.sub(to_file, text), format="html"))


def add_assets(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Load the labeller on the pages that have one."""
    if doctree is None or not any("mmb-static" in node.astext() for node in doctree.findall(nodes.raw)):
        return
    from mmbook.feedback.page import assets

    for name, text in assets():
        path = Path(app.outdir) / "_static" / "mmbook" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        (app.add_css_file if name.endswith(".css") else app.add_js_file)(f"mmbook/{name}")


def setup(app: Sphinx) -> None:
    """Register both with Sphinx."""
    app.connect("doctree-resolved", move_pictures, priority=998)
    app.connect("html-page-context", add_assets)
