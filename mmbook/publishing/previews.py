"""What a link leads to, shown beside it: glossary entries, cited works and equations, without the network."""

from __future__ import annotations

import json
import posixpath
import re
from html import escape
from typing import Any
from urllib.parse import urldefrag

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx

Place = tuple[str, str]  # (docname, id on that page)

LINK = re.compile(r'<a class="reference internal" href="([^"]*#[^"]+)"')
TAGS = {nodes.emphasis: "em", nodes.strong: "strong", nodes.literal: "code"}


def plain_html(node: nodes.Node) -> str:
    """Return the HTML of running text without links and identifiers, mathematics between \\( and \\)."""
    if isinstance(node, nodes.Text):
        return escape(node.astext())
    if isinstance(node, nodes.math):
        return f'<span class="math">\\({escape(node.astext())}\\)</span>'
    inside = "".join(map(plain_html, node.children))
    if tag := next((tag for kind, tag in TAGS.items() if isinstance(node, kind)), ""):
        return f"<{tag}>{inside}</{tag}>"
    return f"<p>{inside}</p>" if isinstance(node, nodes.paragraph) else inside


def terms(docname: str, doctree: nodes.document) -> dict[Place, str]:
    """Return the entries of the glossaries of one page."""
    found: dict[Place, str] = {}
    for entry in doctree.findall(nodes.definition_list_item):
        names = [term for term in entry.children if isinstance(term, nodes.term)]
        said = next((child for child in entry.children if isinstance(child, nodes.definition)), None)
        if said is None or not isinstance(entry.parent.parent, addnodes.glossary):
            continue
        head = " · ".join(escape(term.astext()) for term in names)
        for term in names:
            for name in term["ids"]:
                found[docname, name] = f'<p class="mm-tip-head">{head}</p>{plain_html(said)}'
    return found


def equations(docname: str, doctree: nodes.document) -> dict[Place, str]:
    """Return the numbered equations of one page as TeX for MathJax."""
    found: dict[Place, str] = {}
    for node in doctree.findall(nodes.math_block):
        if label := node.get("label"):
            text = node.astext().strip()
            if "\\\\" in text and "\\begin" not in text:
                text = f"\\begin{{split}}{text}\\end{{split}}"
            found[docname, f"equation-{nodes.make_id(label)}"] = (
                f'<div class="math">\\[{escape(text, quote=False)}\\]</div>'
            )
    return found


def works(app: Sphinx) -> dict[Place, str]:
    """Return the entries of the bibliography."""
    if "cite" not in app.env.domains:
        return {}
    domain: Any = app.env.get_domain("cite")
    found = {}
    for citation in domain.citations:
        text = citation.formatted_entry.text.render_as("html")
        text = re.sub(r"</?(?:a|span)\b[^>]*>", "", text)
        found[citation.bibliography_key.docname, citation.citation_id] = f"<p>{text}</p>"
    return found


def every_preview(app: Sphinx) -> dict[Place, str]:
    """Return all that can be previewed in the book; read once in a build."""
    known: dict[Place, str] | None = getattr(app, "mm_previews", None)
    if known is None:
        known = works(app)
        for docname in sorted(app.env.found_docs):
            doctree = app.env.get_doctree(docname)
            known |= terms(docname, doctree) | equations(docname, doctree)
        app.mm_previews = known  # type: ignore[attr-defined]
    return known


def previews_on(app: Sphinx, page: str, body: str) -> dict[str, str]:
    """Return the previews of the links that stand on a page, by the links' own addresses."""
    known, found = every_preview(app), {}
    for address in dict.fromkeys(LINK.findall(body)):
        target, name = urldefrag(address)
        there = posixpath.normpath(posixpath.join(posixpath.dirname(page), target)) if target else page
        if text := known.get((there.removesuffix(".html"), name)):
            found[address] = text
    return found


def add_previews(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Write the previews into the page, as data that the script beside it reads."""
    if app.builder.format != "html" or not context.get("body"):
        return
    if found := previews_on(app, page, context["body"]):
        data = json.dumps(found, ensure_ascii=False).replace("</", "<\\/")
        context["body"] += f'<script type="application/json" id="mm-previews">{data}</script>\n'


def write_all(app: Sphinx, env: Any) -> list[str]:
    """Write every page again when any was read: each shows parts of others."""
    return sorted(env.found_docs)


def setup(app: Sphinx) -> None:
    """Register with Sphinx."""
    app.connect("env-updated", write_all)
    app.connect("html-page-context", add_previews)
