"""The top and the foot of a page: its notebook and source, and what the next page promises."""

from __future__ import annotations

import re
import shutil
from html import escape
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

from mmbook.publishing.quiz import quiz

NOTEBOOKS = "_notebooks"  # folder of the exported notebooks in the site
SENTENCE = re.compile(r".+?[.?!](?=\s|$)", re.S)


def promise(doctree: nodes.document) -> str:
    """Return what a page gives, in one sentence: its first aim ("You will ..."), else its first sentence."""
    first = doctree.next_node(nodes.section)
    if first is None:
        return ""
    for node in first.findall(
        lambda n: isinstance(n, nodes.paragraph | nodes.list_item | nodes.section | quiz)
    ):
        if node is first:
            continue
        if not isinstance(node, nodes.paragraph | nodes.list_item):
            return ""
        text = " ".join(node.astext().split())
        if isinstance(node, nodes.list_item):
            aim = re.split(r", and |[;:]| \(", text)[0].rstrip(".")
            return f"You will {aim}."
        if text.endswith("able to"):
            continue  # the aims follow
        found = SENTENCE.match(text)
        return found[0] if found else text
    return ""


def links_of(page: str, context: dict[str, Any]) -> str:
    """Return the line with the links to a page's notebook and its source."""
    name = Path(page).name
    notebook = context["pathto"](f"{NOTEBOOKS}/{page}.ipynb", 1)
    links = [f'<a href="{escape(notebook)}" download="{escape(name)}.ipynb">Download notebook</a>']
    if context.get("show_source") and context.get("sourcename"):
        address = context["pathto"](f"_sources/{context['sourcename']}", 1)
        links.append(f'<a href="{escape(address)}">View source</a>')
    return f'<p class="mm-links">{" ".join(links)}</p>'


def add_ends(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Put the links below the title, and the promise of the next page beside its name."""
    if app.builder.format != "html" or doctree is None:
        return
    source = Path(app.srcdir) / f"{page}.ipynb"
    if source.is_file():
        target = Path(app.outdir) / NOTEBOOKS / f"{page}.ipynb"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        head, title, rest = context["body"].partition("</h1>")
        if title:
            context["body"] = f"{head}{title}\n{links_of(page, context)}{rest}"
    following = app.env.collect_relations().get(page, [None, None, None])[2]
    if following and context.get("next") and (says := promise(app.env.get_doctree(following))):
        title = context["next"]["title"]
        context["next_title"] = f'{title}<span class="mm-promise">{escape(says, quote=False)}</span>'


def setup(app: Sphinx) -> None:
    """Register with Sphinx."""
    app.connect("html-page-context", add_ends)
