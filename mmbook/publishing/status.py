"""The status page: what was executed, how long it took, with what, and how large everything is."""

from __future__ import annotations

import ast
import platform
import re
import tokenize
from collections.abc import Sequence
from importlib import metadata
from io import StringIO
from pathlib import Path

from mmbook import __version__
from mmbook.publishing.execution import CACHE
from mmbook.publishing.repository import git

BUDGET = 18000  # lines of code in mmbook, without docstrings, comments and blank lines
CORE_BUDGET = 4000  # of which in these rooms
CORE = ("equations", "rl", "rlhf")
EMPTY = (
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
)


def table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Return the lines of a Markdown table, the last column to the right."""
    rule = ["---"] * (len(head) - 1) + ["---:"]
    return ["| " + " | ".join(cells) + " |" for cells in (head, tuple(rule), *rows)] + [""]


def execution_seconds(root: Path) -> dict[str, float]:
    """Return the seconds of each chapter's newest run, by the chapter's path from `root`."""
    from jupyter_cache import get_cache

    if not (root / CACHE / "global.db").is_file():
        return {}
    records = sorted(get_cache(root / CACHE).list_cache_records(), key=lambda r: r.created)
    found = {}
    for record in records:
        path = Path(record.uri)
        if path.is_relative_to(root) and "execution_seconds" in record.data:
            found[str(path.relative_to(root))] = float(record.data["execution_seconds"])
    return found


def count_lines(folder: Path) -> tuple[int, int]:
    """Return the lines of code below `folder`, and all lines with docstrings, comments and blank ones."""
    code = total = 0
    for path in folder.rglob("*.py") if folder.is_dir() else [folder]:
        text = path.read_text(encoding="utf-8")
        total += len(text.splitlines())
        tokens = tokenize.generate_tokens(StringIO(text).readline)
        lines = {n for t in tokens if t.type not in EMPTY for n in range(t.start[0], t.end[0] + 1)}
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node):
                lines -= set(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
        code += len(lines)
    return code, total


def room_lines(root: Path) -> dict[str, tuple[int, int]]:
    """Return the lines of code, and all lines, in each room of the package; loose modules count as "cli"."""
    rooms = {p.parent.name: count_lines(p.parent) for p in sorted((root / "mmbook").glob("*/__init__.py"))}
    loose = [count_lines(p) for p in (root / "mmbook").glob("*.py")]
    rooms["cli"] = sum(code for code, _ in loose), sum(total for _, total in loose)
    return rooms


def status_markdown(root: Path) -> str:
    """Return the page's tables for the checkout at `root`."""
    seconds = execution_seconds(root)
    rows = [(f"`{name}`", f"{value:.1f}") for name, value in sorted(seconds.items())]
    rows = rows or [("none has been executed here", "")]
    lines = ["**Execution**", "", *table(("chapter", "seconds"), rows)]

    commit = git("describe", "--always", "--dirty", "--abbrev=10", folder=root) or "not a git checkout"
    versions = [("mmbook", __version__), ("commit", commit), ("Python", platform.python_version())]
    packages = ("torch", "transformers", "numpy", "jupyter-book", "sphinx")
    versions += [(name, metadata.version(name)) for name in packages]
    lines += ["**Versions**", "", *table(("what", "version"), versions)]

    rooms = room_lines(root)
    core = sum(rooms[name][0] for name in CORE if name in rooms)
    code, total = (sum(counts) for counts in zip(*rooms.values(), strict=True))
    sizes = [(f"`{name}`", str(total), str(code)) for name, (code, total) in rooms.items()]
    sizes += [
        ("equations, rl and rlhf together", "", f"{core} of {CORE_BUDGET}"),
        ("the package", str(total), f"{code} of {BUDGET}"),
    ]
    lines += ["**Lines of Python**", "", *table(("room", "all lines", "of code"), sizes)]

    tests = [path.read_text(encoding="utf-8") for path in (root / "tests").rglob("test_*.py")]
    pages = "\n".join(path.read_text(encoding="utf-8") for path in (root / "book").rglob("*.md"))
    counts = [
        ("test functions", str(sum(len(re.findall(r"^\s*def test_", text, re.M)) for text in tests))),
        ("numbered computations (`eq:`)", str(len(set(re.findall(r":label:\s*(eq:[a-z0-9-]+)", pages))))),
        ("numbered identities (`id:`)", str(len(set(re.findall(r":label:\s*(id:[a-z0-9-]+)", pages))))),
    ]
    lines += ["**What is checked**", "", *table(("what", "count"), counts)]
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Print the status of the checkout in the current folder."""
    if arguments:
        print(f"status takes no arguments, got {' '.join(arguments)}")
        return 2
    print(status_markdown(Path.cwd()))
    return 0
