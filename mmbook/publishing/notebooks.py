"""Each chapter as a plain notebook beside its source, which works alone, in Colab or in an empty folder."""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from mmbook import __version__
from mmbook.publishing.repository import repository_url

BOOTSTRAP = """\
# @title Set up: install the book's package where it is missing {{ display-mode: "form" }}
import importlib
import importlib.util
import os
import subprocess
import sys

if importlib.util.find_spec("mmbook") is None:
    source = os.environ.get("MMBOOK_SPEC") or {source!r}
    if not source:
        raise RuntimeError(
            "The package mmbook is not here and this notebook does not know where it is published. Set "
            "MMBOOK_SPEC in the environment to a wheel, a folder, or 'mmbook @ git+<repository>@v{version}', "
            "then run this cell again."
        )
    command = [sys.executable, "-m", "pip", "install", "-q", source]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"installing {{source}} failed:\\n{{done.stdout[-1500:]}}{{done.stderr[-1500:]}}")
    importlib.invalidate_caches()
"""
METADATA = {
    "colab": {"provenance": [], "toc_visible": True},
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def code_cell(source: str, metadata: dict[str, Any]) -> dict[str, Any]:
    """Return a code cell without outputs, its input folded where the page hides it."""
    kept = {key: metadata[key] for key in ("tags",) if metadata.get(key)}
    if {"hide-input", "remove-input", "hide-cell", "remove-cell"} & set(metadata.get("tags", [])):
        kept["cellView"] = "form"
    return {"cell_type": "code", "execution_count": None, "metadata": kept, "outputs": [], "source": source}


def chapter_cells(cells: list[tuple[str, int | str]], source: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Join the written cells with the source's code cells, in the source's order.

    Cells that the page removes are still needed to run the chapter and come back here; only those tagged
    `book-only` stay out.
    """
    code = {
        i: code_cell(c["source"], c["metadata"])
        for i, c in enumerate(source)
        if c["cell_type"] == "code" and "book-only" not in c["metadata"].get("tags", [])
    }
    out: list[dict[str, Any]] = []
    for kind, content in [*cells, ("code", len(source))]:
        if kind == "markdown":
            out.append({"cell_type": "markdown", "metadata": {}, "source": content})
        else:
            out += [code.pop(i) for i in sorted(code) if i <= int(content)]
    return out


def dump(cells: list[dict[str, Any]], repository: str, path: str) -> str:
    """Return the notebook's text: bootstrap cell, badge where a repository is known, then the chapter."""
    source = f"mmbook @ git+{repository}@v{__version__}" if repository else ""
    head = [code_cell(BOOTSTRAP.format(source=source, version=__version__), {"tags": ["hide-input"]})]
    if repository.startswith("https://github.com/"):
        target = repository.removeprefix("https://github.com/")
        link = f"https://colab.research.google.com/github/{target}/blob/main/{path}"
        badge = f"[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]({link})"
        head.append({"cell_type": "markdown", "metadata": {}, "source": badge})
    for index, cell in enumerate(cells := head + cells):
        cell["id"] = f"cell-{index:03d}"
        cell["source"] = cell["source"].rstrip("\n").splitlines(keepends=True)
    metadata = {**METADATA, "mmbook": {"repository": repository}}
    notebook = {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def recorded_repository(path: Path) -> str:
    """Return the repository that an exported notebook was made for, or ""."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))["metadata"]["mmbook"]["repository"]
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def read_chapters(root: Path) -> dict[str, list[dict[str, Any]]]:
    """Let Sphinx read the book without running it; returns the cells of each page that has code."""
    from jupyter_book.sphinx import build_sphinx

    with tempfile.TemporaryDirectory() as folder:
        status = build_sphinx(
            root,
            Path(folder) / "out",
            path_config=root / "_config.yml",
            noconfig=True,
            confoverrides={
                "nb_execution_mode": "off",
                "suppress_warnings": ["myst.domains", "myst-nb.lexer"],
                "latex_individualpages": False,
            },
            builder="mmbook-notebooks",
            quiet=True,
        )
        if status:
            raise RuntimeError(f"Sphinx could not read the book (see above): {status}")
        out = Path(folder) / "out"
        return {
            str(path.relative_to(out).with_suffix("")): json.loads(path.read_text(encoding="utf-8"))
            for path in sorted(out.rglob("*.json"))
        }


def export(root: Path, repository: str | None = None) -> dict[Path, str]:
    """Return the text of every exported notebook by its path; None keeps each file's recorded repository."""
    texts = {}
    for docname, cells in read_chapters(root).items():
        path = root / f"{docname}.ipynb"
        url = recorded_repository(path) if repository is None else repository
        texts[path] = dump(cells, url, f"{docname}.ipynb")
    return texts


def main(arguments: list[str] | None = None) -> int:
    """Write the notebooks, or with --check compare them; returns 1 where one is out of date."""
    parser = argparse.ArgumentParser(prog="python -m mmbook notebooks", description=__doc__)
    parser.add_argument("--check", action="store_true", help="fail where a file is out of date")
    parser.add_argument("--keep-url", action="store_true", help="keep the repository each file was made for")
    options = parser.parse_args(arguments)
    root = Path.cwd()
    if not (root / "_toc.yml").is_file():
        parser.error(f"{root} holds no _toc.yml; run this in the folder of the book")
    wanted = export(root, None if options.check or options.keep_url else repository_url(root))
    stray = sorted(p for p in (root / "book").rglob("*.ipynb") if p not in wanted and ".ipynb_" not in str(p))
    stale = [p for p, text in wanted.items() if not p.is_file() or p.read_text(encoding="utf-8") != text]
    for path in stray:
        print(f"{os.path.relpath(path)}: no page of the table of contents has this notebook; remove it")
    for path in stale:
        if options.check:
            print(f"{os.path.relpath(path)}: out of date; run `make notebooks`")
        else:
            path.write_text(wanted[path], encoding="utf-8")
            print(f"wrote {os.path.relpath(path)}")
    return int(bool(stray or (options.check and stale)))
