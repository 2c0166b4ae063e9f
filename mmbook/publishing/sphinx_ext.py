"""The Sphinx side of the book: repository links, numbers from runs, exports, no network for readers."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.builders import Builder
from sphinx.config import Config
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective, SphinxRole

from mmbook import __version__
from mmbook.publishing import (
    access,
    captions,
    equation_table,
    exercise_index,
    labellers,
    page_ends,
    previews,
    quiz,
    weight,
)
from mmbook.publishing.execution import poll_kernels_in_slices
from mmbook.publishing.numbers import NumberError, number_text
from mmbook.publishing.repository import repository_url
from mmbook.publishing.status import status_markdown

log = logging.getLogger(__name__)


def configure(app: Sphinx, config: Config) -> None:
    """Set what depends on where the book is built."""
    url = repository_url(Path(app.srcdir))
    config.html_theme_options.update(
        repository_url=url,
        repository_branch=os.environ.get("BOOK_REPOSITORY_BRANCH") or "main",
        path_to_docs="",
        use_repository_button=bool(url),
        use_issues_button=bool(url),
        launch_buttons={"colab_url": "https://colab.research.google.com"} if url else {},
        navbar_persistent=[],  # the theme would draw the search field twice
    )
    config.version = config.release = __version__
    os.environ.setdefault("MMBOOK_STATIC", "1")


def add_style(app: Sphinx) -> None:
    """Load the style and the script of quizzes, guesses and previews, which lie beside this file."""
    if app.builder.format != "html":
        return
    here = Path(__file__).parent
    app.config.html_static_path += [str(here / "comfort.css"), str(here / "comfort.js")]
    app.add_css_file("comfort.css")
    app.add_js_file("comfort.js", loading_method="defer")


def drop_scripts(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Keep off every page thebe, which would load from the network, and state of widgets, unread here."""

    def wanted(script: Any) -> bool:
        more = getattr(script, "attributes", {})
        if "widget-state" in (more.get("type") or ""):
            return False
        return "thebe" not in f"{getattr(script, 'filename', script)} {more.get('body')}".lower()

    for key in ("script_files", "css_files"):
        context[key] = [script for script in context.get(key, ()) if wanted(script)]


def drop_thebe_settings(app: Sphinx, doctree: nodes.document, page: str) -> None:
    """Take thebe's settings out of the page's body too."""
    for node in list(doctree.findall(nodes.raw)):
        if "thebe" in node.astext() or "kernelName" in node.astext():
            node.parent.remove(node)


class NumberRole(SphinxRole):
    """`` {number}`quickstart.terse_after:.0%` ``: a committed number, with its source on hover."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        results = Path(self.env.srcdir) / "benchmarks" / "results"
        self.env.note_dependency(str(results / f"{self.text.split('.')[0].strip()}.json"))
        try:
            text, number = number_text(self.text, results)
        except NumberError as error:
            # myst-nb's line numbers are off by one or two in pages with code
            lines = Path(self.env.doc2path(self.env.docname)).read_text(encoding="utf-8").splitlines()
            line = next((i for i, text in enumerate(lines, 1) if f"`{self.text}`" in text), self.lineno)
            log.error("number: %s", error, location=(self.env.docname, line))
            return [nodes.strong("", f"[{self.text}: no such number]")], []
        origin = f"{number.says}; {number.name}, seed {number.seed}, {number.device}, ± {number.tolerance:g}"
        return [nodes.abbreviation("", text, explanation=origin, classes=["mm-number"])], []


class StatusDirective(SphinxDirective):
    """`{mmbook-status}`: what was run, with what, how long, and how large the package is."""

    def run(self) -> list[nodes.Node]:
        self.env.note_reread()
        lines = StringList(status_markdown(Path(self.env.srcdir)).splitlines(), source="status")
        node = nodes.container(classes=["mm-status"])
        self.state.nested_parse(lines, self.content_offset, node)
        return list(node.children)


class NotebooksBuilder(Builder):
    """Write each page that has code as JSON cells; `mmbook.publishing.notebooks` makes notebooks of them."""

    name = "mmbook-notebooks"
    format = "markdown"
    epilog = ""
    allow_parallel = False
    supported_image_types = ["image/svg+xml", "image/png", "image/gif", "image/jpeg"]  # noqa: RUF012

    def get_outdated_docs(self) -> Iterator[str]:
        yield from self.env.found_docs

    def get_target_uri(self, docname: str, typ: str | None = None) -> str:
        return f"{docname}.ipynb"

    def prepare_writing(self, docnames: set[str]) -> None:
        """Nothing is shared between pages."""

    def write_doc(self, docname: str, doctree: nodes.document) -> None:
        import json

        from myst_nb.core.read import create_nb_reader

        from mmbook.publishing.markdown import Writer
        from mmbook.publishing.notebooks import chapter_cells

        env: Any = self.env
        path = env.doc2path(docname)
        text = Path(path).read_text(encoding="utf-8")
        reader = create_nb_reader(path, env.myst_config, env.mystnb_config, text)
        source = reader.read(text).cells if reader else []
        if any(cell["cell_type"] == "code" for cell in source):
            cells = chapter_cells(Writer(env, docname).document(doctree), source)
            target = Path(self.outdir) / f"{docname}.json"
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(json.dumps(cells), encoding="utf-8")


def setup(app: Sphinx) -> dict[str, Any]:
    """Register everything with Sphinx."""
    poll_kernels_in_slices()
    app.add_role("number", NumberRole())
    app.add_directive("mmbook-status", StatusDirective)
    app.add_builder(NotebooksBuilder)
    app.connect("config-inited", configure, priority=900)
    labellers.setup(app)
    quiz.setup(app)
    equation_table.setup(app)
    exercise_index.setup(app)
    previews.setup(app)
    page_ends.setup(app)
    captions.setup(app)
    access.setup(app)
    weight.setup(app)
    app.connect("builder-inited", add_style)
    app.connect("doctree-resolved", drop_thebe_settings, priority=999)
    app.connect("html-page-context", drop_scripts, priority=999)
    return {"version": __version__, "parallel_read_safe": True, "parallel_write_safe": True}
