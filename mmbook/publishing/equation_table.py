"""The table of all equations: where each stands, its function, and its symbols with their meanings."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

from mmbook.publishing.exercise_index import book_parts

log = logging.getLogger(__name__)

SYMBOLS = Path(__file__).with_name("symbols.txt")
IMPLEMENTS = re.compile(r"Implements \{eq\}`(eq:[a-z0-9-]+)`")
LABEL = re.compile(r"^:label: *(eq:[a-z0-9-]+) *$", re.M)


@dataclass(frozen=True)
class Function:
    """A function of `mmbook.equations`."""

    name: str
    label: str
    says: str  # the first sentence of its docstring
    arguments: tuple[str, ...]


def read_functions(folder: Path) -> list[Function]:
    """Return the functions below `folder` that implement an equation; nothing is imported."""
    found = []
    for path in sorted(folder.glob("[a-z]*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
                text = ast.get_docstring(node) or ""
                if label := IMPLEMENTS.search(text):
                    every = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
                    first = text.split("\n")[0]
                    found.append(Function(node.name, label[1], first, tuple(a.arg for a in every)))
    return found


def read_symbols(text: str) -> dict[tuple[str, str], str]:
    """Return the meanings by (argument, function), with "" for the function of a general one.

    Raises ValueError for a line of another form, or a meaning that is given twice.
    """
    found: dict[tuple[str, str], str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        match = re.fullmatch(r"(\w+)(?: in ([\w, ]+))?: (\S.*)", line)
        if not match:
            raise ValueError(
                f"line {number}: expected 'name: meaning' or 'name in function: meaning', got {line!r}"
            )
        for function in (match[2] or "").split(", "):
            if (match[1], function) in found:
                raise ValueError(
                    f"line {number}: {match[1]} has a meaning already, {found[match[1], function]!r}"
                )
            found[match[1], function] = match[3]
    return found


def meaning(symbols: dict[tuple[str, str], str], argument: str, function: str) -> str:
    """Return what an argument of a function means; raises ValueError where nothing says it."""
    for key in ((argument, function), (argument, "")):
        if key in symbols:
            return symbols[key]
    raise ValueError(
        f"{argument} of mmbook.equations.{function} has no meaning yet: add '{argument} in {function}: ...' "
        f"to mmbook/publishing/{SYMBOLS.name}"
    )


def table_markdown(root: Path) -> str:
    """Return one table for each page that has equations, in the order of the book in `root`."""
    functions = {f.label: f for f in read_functions(root / "mmbook" / "equations")}
    symbols = read_symbols(SYMBOLS.read_text(encoding="utf-8"))
    lines = []
    for _, pages in book_parts(root):
        for page in pages:
            labels = LABEL.findall((root / f"{page}.md").read_text(encoding="utf-8"))
            rows = [functions[label] for label in labels if label in functions]
            if not rows:
                continue
            lines += [f"{{doc}}`/{page}`", "", "| equation | function | symbols |", "| --- | --- | --- |"]
            for f in rows:
                means = "; ".join(f"`{a}` {meaning(symbols, a, f.name)}" for a in f.arguments)
                says = f.says.replace("|", "\\|").replace("*", "\\*")
                lines.append(f"| {{eq}}`{f.label}` `{f.label}` | `{f.name}`: {says} | {means} |")
            lines.append("")
    return "\n".join(lines)


class EquationTable(SphinxDirective):
    """`{equation-table}`: every equation that is computed, read from `mmbook.equations` and the pages."""

    def run(self) -> list[nodes.Node]:
        self.env.note_reread()
        try:
            lines = table_markdown(Path(self.env.srcdir)).splitlines()
        except ValueError as error:
            log.error("equation-table: %s", error, location=(self.env.docname, self.lineno))
            return []
        node: Any = nodes.container()
        self.state.nested_parse(StringList(lines, source="equation-table"), self.content_offset, node)
        for table in node.findall(nodes.table):
            table["classes"] += ["mm-stack", "mm-equations"]
        return list(node.children)


def setup(app: Sphinx) -> None:
    """Register the directive with Sphinx."""
    app.add_directive("equation-table", EquationTable)
