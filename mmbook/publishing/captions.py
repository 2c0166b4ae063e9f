"""Figures that cells draw: each has a number, the caption of its cell, and what it shows in words."""

from __future__ import annotations

import re

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform

MATH = re.compile(r"\$([^$]+)\$")


def kind_of(node: nodes.Node) -> str:
    """Return what a node of a notebook is: "cell_code", "mime_bundle" or ""."""
    return str(node.get("nb_element", "")) if isinstance(node, nodes.container) else ""


def kinds_in(bundle: nodes.Element) -> dict[str, nodes.Element]:
    """Return the forms of one output by their MIME type."""
    return {c["mime_type"]: c for c in bundle.children if isinstance(c, nodes.Element)}


def inline(text: str) -> list[nodes.Node]:
    """Return a caption's plain text, with mathematics between dollars."""
    parts = MATH.split(" ".join(text.split()))
    return [nodes.math(part, part) if i % 2 else nodes.Text(part) for i, part in enumerate(parts)]


def is_picture(bundle: nodes.Element) -> bool:
    """Return whether an output is drawn: a picture, or a page's own drawing."""
    return any(kind.startswith("image/") or kind == "text/html" for kind in kinds_in(bundle))


class Captions(SphinxTransform):
    """Wrap what a cell with the option `caption` draws last in a figure; without outputs keep its number."""

    default_priority = 205  # before Sphinx gives figures their ids

    def apply(self, **_: object) -> None:
        """Go through the cells of a page."""
        for cell in [n for n in self.document.findall(nodes.container) if kind_of(n) == "cell_code"]:
            drawn = [n for n in cell.findall(nodes.container) if kind_of(n) == "mime_bundle"]
            for bundle in drawn:
                said = kinds_in(bundle).get("text/plain")
                for image in bundle.findall(nodes.image):
                    if said is not None and not said.astext().startswith("<"):
                        image["alt"] = said.astext()
            if not (text := cell["cell_metadata"].get("caption")):
                continue
            figure = nodes.figure(classes=["mm-figure"])
            shown = next((n for n in reversed(drawn) if is_picture(n)), None)
            if shown is None:
                cell += figure
            else:
                shown.replace_self(figure)
                figure += shown
            figure += nodes.caption(text, "", *inline(text))
            figure.source, figure.line = cell.source, cell.line


def setup(app: Sphinx) -> None:
    """Register with Sphinx."""
    app.add_transform(Captions)
