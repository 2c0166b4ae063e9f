"""Build the book: export notebooks, execute chapters, write `_build/html`, and say which file to open."""

from __future__ import annotations

import argparse
import hashlib
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from mmbook.publishing import notebooks
from mmbook.publishing.execution import fill_cache, quiet_environment

RUNS = ("mmbook", "constraints.txt", "benchmarks/results")  # a change here makes every executed chapter stale
PAGES = (*RUNS, "book", "_config.yml", "_toc.yml")


def fingerprint(root: Path, names: Iterable[str]) -> str:
    """Return a hash of the named files and folders of `root`, generated files left out."""
    digest = hashlib.sha256(repr(sys.version_info[:2]).encode())
    for name in names:
        top = root / name
        for path in sorted(top.rglob("*")) if top.is_dir() else [top]:
            generated = path.suffix in (".pyc", ".ipynb") or ".ipynb_checkpoints" in path.parts
            if path.is_file() and not generated and "labels" not in path.parts:
                digest.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()


def read_stamp(path: Path) -> str:
    return path.read_text() if path.is_file() else ""


def is_current(root: Path) -> bool:
    """Return whether `_build/html` was built from exactly these files."""
    return read_stamp(root / "_build" / "pages.stamp") == fingerprint(root, PAGES)


def chapters(root: Path) -> list[Path]:
    """Return the pages of the table of contents that have code cells."""
    from myst_nb.core.read import is_myst_markdown_notebook
    from sphinx_external_toc.parsing import parse_toc_yaml

    pages = [root / f"{name}.md" for name in parse_toc_yaml(root / "_toc.yml")]
    missing = [str(p.relative_to(root)) for p in pages if not p.is_file()]
    if missing:
        raise SystemExit(f"_toc.yml names pages that do not exist: {', '.join(missing)}")
    return [p for p in pages if is_myst_markdown_notebook(p.read_text(encoding="utf-8"))]


def build(root: Path) -> int:
    """Build the book in `root`; returns 0, or another status after a failure was printed."""
    pages = chapters(root)
    runs = root / "_build" / "runs.stamp"
    if read_stamp(runs) != fingerprint(root, RUNS):
        shutil.rmtree(root / "_build", ignore_errors=True)
    runs.parent.mkdir(exist_ok=True)
    runs.write_text(fingerprint(root, RUNS))
    (root / "_build" / "pages.stamp").unlink(missing_ok=True)
    if status := notebooks.main(["--keep-url"]):
        return status
    if failed := fill_cache(root, pages):
        print(f"the build stops here: {len(failed)} chapter(s) failed, see above", file=sys.stderr)
        return 1
    command = [str(Path(sys.executable).with_name("jupyter-book")), "build", ".", "-W", "--keep-going"]
    done = subprocess.run(command, cwd=root, env=quiet_environment())
    if done.returncode:
        print("the build failed: the warnings above count as errors", file=sys.stderr)
        return done.returncode
    (root / "_build" / "pages.stamp").write_text(fingerprint(root, PAGES))
    print(f"\nThe book is built. Open {root / '_build' / 'html' / 'index.html'}")
    return 0


def main(arguments: list[str] | None = None) -> int:
    """Build the book of the current folder; with --if-stale only when something changed."""
    parser = argparse.ArgumentParser(prog="python -m mmbook build", description=__doc__)
    parser.add_argument("--if-stale", action="store_true", help="do nothing where the built book is current")
    options = parser.parse_args(arguments)
    root = Path.cwd()
    if not (root / "_toc.yml").is_file():
        parser.error(f"{root} holds no _toc.yml; run this in the folder of the book")
    return 0 if options.if_stale and is_current(root) else build(root)
