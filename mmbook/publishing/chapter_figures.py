"""Any figure of the book again: a committed one from its data, `<chapter>-<number>` by running it."""

from __future__ import annotations

import ast
import base64
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmbook import figures

KINDS = {"svg": "image/svg+xml", "png": "image/png", "html": "text/html"}


@dataclass(frozen=True)
class Picture:
    """One picture of a chapter: its name, the page, which code cell shows it, and the heading above it."""

    name: str
    page: str
    cell: int
    heading: str

    def __str__(self) -> str:
        return f"  {self.name:<22} {self.page.removeprefix('book/')}, {self.heading}"


def read_chapter(path: Path) -> Any:
    """The notebook of a page's source."""
    import jupytext

    return jupytext.reads(path.read_text(encoding="utf-8"), fmt="md:myst")


def _from_figures(body: list[ast.stmt]) -> set[str]:
    """The names that a cell imports from `mmbook.figures` or one of its modules."""
    imports = (node for stmt in body for node in ast.walk(stmt) if isinstance(node, ast.ImportFrom))
    return {
        a.asname or a.name for i in imports if (i.module or "").startswith("mmbook.figures") for a in i.names
    }


def _is_drawn(node: ast.expr, known: set[str]) -> bool:
    if isinstance(node, ast.Name):
        return node.id in known
    if not isinstance(node, ast.Call):
        return False
    if isinstance(node.func, ast.Name):
        shown = node.func.id == "display" and bool(node.args) and _is_drawn(node.args[0], known)
        return shown or node.func.id in known
    return ast.unparse(node.func).startswith("figures.") or ast.unparse(node.func) == "Image.fromarray"


def drawing_cells(sources: list[str]) -> list[int]:
    """Which code cells of a chapter show a picture: those that end in a drawing or display one."""
    known: set[str] = set()
    found = []
    for i, source in enumerate(sources):
        body = [] if source.startswith("%%") else ast.parse(source).body
        known |= _from_figures(body)
        for node in (node for stmt in body for node in ast.walk(stmt)):
            if isinstance(node, ast.Assign) and _is_drawn(node.value, known):
                known |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        shown = [n.value for stmt in body for n in ast.walk(stmt) if isinstance(n, ast.Expr)]
        displayed = [v for v in shown if isinstance(v, ast.Call) and ast.unparse(v.func) == "display"]
        last = [body[-1].value] if body and isinstance(body[-1], ast.Expr) else []
        if not source.rstrip().endswith(";") and any(_is_drawn(value, known) for value in displayed + last):
            found.append(i)
    return found


def chapter_pictures(root: Path) -> dict[str, Picture]:
    """Every picture that a chapter of the checkout at `root` shows, by name, in the order of the book."""
    from mmbook.publishing.exercise_index import book_parts

    found: dict[str, Picture] = {}
    for page in (page for _, pages in book_parts(root) for page in pages):
        path = root / f"{page}.md"
        if "{code-cell}" not in path.read_text(encoding="utf-8"):
            continue
        heading, headings, sources = "", [], []
        for cell in read_chapter(path).cells:
            if cell.cell_type == "code":
                headings.append(heading)
                sources.append(cell.source)
            else:
                lines = [line for line in cell.source.splitlines() if line.startswith("#")]
                heading = lines[-1].lstrip("# ") if lines else heading
        for number, cell in enumerate(drawing_cells(sources), 1):
            name = f"{path.stem}-{number}"
            found[name] = Picture(name, page, cell, headings[cell])
    return found


def content(outputs: list[Any]) -> tuple[str, bytes] | None:
    """The picture among the outputs of a cell, as its file's ending and its bytes, or None."""
    for output in outputs:
        for kind, mime in KINDS.items():
            if mime in output.get("data", {}):
                text = "".join(output["data"][mime])
                return kind, base64.b64decode(text) if kind == "png" else text.encode()
    return None


def draw(root: Path, pictures: list[Picture], path: Path | None = None) -> list[Path]:
    """Run a chapter as far as the last of its pictures and write them; returns the files.

    `path` is the file of a single picture, else each becomes `<name>.svg`, .png or, what moves, .html here.
    Raises ValueError where a path has another ending than its picture, RuntimeError where a cell shows none
    (one may need data that are fetched).
    """
    from nbclient import NotebookClient

    from mmbook.publishing.execution import TIMEOUT, quiet_environment

    notebook = read_chapter(root / f"{pictures[0].page}.md")
    ends = [i for i, cell in enumerate(notebook.cells) if cell.cell_type == "code"]
    notebook.cells = notebook.cells[: ends[max(p.cell for p in pictures)] + 1]
    os.environ.update(quiet_environment())
    with tempfile.TemporaryDirectory() as folder:
        place = {"metadata": {"path": folder}}
        NotebookClient(notebook, timeout=TIMEOUT, kernel_name="python3", resources=place).execute()
    written = []
    for picture in pictures:
        found = content(notebook.cells[ends[picture.cell]].outputs)
        if found is None:
            raise RuntimeError(f"{picture.name}: here its cell shows no picture; has `make data` been run?")
        file = path or Path(f"{picture.name}.{found[0]}")
        if file.suffix != f".{found[0]}":
            raise ValueError(f"path: {picture.name!r} is written as .{found[0]}, got {file.name!r}")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(found[1])
        written.append(file)
    return written


def draw_named(root: Path, name: str, path: Path | None) -> list[Path]:
    """Draw a committed figure, one of a chapter or all of a chapter; raises ValueError for any other name."""
    if name in figures.COMMITTED:
        data = [root / file for file in figures.COMMITTED[name]]
        drawn = figures.FIGURES[name](*data)
        kind = "svg" if isinstance(drawn, str) else drawn.kind
        return [figures.save(name, path or f"{name}.{kind}", *data)]
    if not (root / "_toc.yml").is_file():
        raise ValueError(f"{root} holds no _toc.yml; run this in the folder of the book")
    wanted = [p for p in chapter_pictures(root).values() if name in (p.name, p.name.rpartition("-")[0])]
    if not wanted:
        raise ValueError(f"figure: expected a name that `figure --list` prints, got {name!r}")
    if path and len(wanted) > 1:
        raise ValueError(
            f"figure: {name!r} is {len(wanted)} pictures, which cannot be one file {path.name!r}"
        )
    return draw(root, wanted, path)


def main(arguments: list[str] | None = None) -> int:
    """Draw the figure `arguments[0]` into the file `arguments[1]`, or list all names with --list."""
    if not arguments or len(arguments) > 2:
        print("expected: figure <name> [<path>], figure <chapter>, or figure --list", file=sys.stderr)
        return 2
    try:
        if arguments[0] == "--list":
            print(*(f"  {name}" for name in figures.COMMITTED), sep="\n")
            print(*chapter_pictures(Path.cwd()).values(), sep="\n")
        else:
            path = Path(arguments[1]) if len(arguments) == 2 else None
            print(*draw_named(Path.cwd(), arguments[0], path), sep="\n")
    except (ValueError, RuntimeError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0
