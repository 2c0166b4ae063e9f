"""The exported notebooks: plain, complete, numbered as the pages are, and able to install what they need."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from html import unescape
from pathlib import Path

import nbformat
import pytest
from sample_book import HEADER, write_book

from mmbook import __version__
from mmbook.publishing import notebooks
from mmbook.publishing.build import is_current

ROOT = Path(__file__).resolve().parents[2]
UNOWNED = re.compile(r"pip3?\s+install\s+(?:-\S+\s+)*['\"]?mmbook(?!\s*@)")


def run_build(root: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("BOOK_", "GITHUB_"))}
    return subprocess.run(
        [sys.executable, "-m", "mmbook", *arguments],
        cwd=root,
        env={**clean, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample book, exported and built."""
    root = write_book(tmp_path_factory.mktemp("book"))
    (root / "mmbook").mkdir()
    done = run_build(root, "build")
    assert done.returncode == 0, done.stdout + done.stderr
    return root


@pytest.fixture(scope="module")
def cells(book: Path) -> list[dict]:
    notebook = nbformat.read(book / "book" / "chapter.ipynb", as_version=4)
    nbformat.validate(notebook)
    return notebook.cells


@pytest.fixture(scope="module")
def prose(cells) -> str:
    return "\n\n".join(c.source for c in cells if c.cell_type == "markdown")


@pytest.fixture(scope="module")
def page(book: Path) -> str:
    return (book / "_build" / "html" / "book" / "chapter.html").read_text(encoding="utf-8")


def test_only_pages_with_code_become_notebooks(book):
    assert [p.name for p in sorted((book / "book").glob("*.ipynb"))] == ["chapter.ipynb"]


def test_code_cells_keep_their_order_and_lose_what_is_for_the_page(cells):
    code = [c for c in cells if c.cell_type == "code"]
    assert [c.source for c in code[1:]] == ["hidden = 41", "print(hidden + 1)", 'print("solved")']
    assert ["cellView" in c.metadata for c in code] == [True, True, True, False]
    assert all(c.outputs == [] and c.execution_count is None for c in code)
    assert len({c.id for c in cells}) == len(cells)


def test_no_directive_or_role_is_left(prose):
    assert not re.search(r"\{[\w:-]+\}`|^\s*>?\s*(:::|```\{)|^\(\S+\)=", prose, re.M)


def test_references_become_the_text_of_the_page(prose, page):
    shown = re.search(r"<p>(References: .*?)</p>", page, re.S)
    assert shown
    text = " ".join(unescape(re.sub(r"<[^>]+>", "", shown[1])).split())
    written = next(line for line in prose.split("\n") if line.startswith("References:"))
    assert re.sub(r"\\([*\[\]$])|(?<!\\)\*", r"\1", written) == text
    for part in ("(1.1)", "(2.1)", "The part", "Fig. 2.1", "Table 2.1", "Theorem 2.1", "Exercise 2.1", "50%"):
        assert part in text


def test_equations_carry_the_numbers_of_the_page(prose, page):
    assert re.findall(r"\\tag\{(.*?)\}", prose) == re.findall(r'class="eqno">\((.*?)\)', page) == ["2.1"]
    assert "\\begin{aligned}\nx &= y \\\\\n  &= z\n\\end{aligned}" in prose


def test_boxes_tables_and_pictures_are_plain_markdown(prose):
    assert "> **Mind the gap**\n>\n> A [link](https://example.org/a), `code` and $x_1$." in prose
    assert "> - first\n> - second" in prose
    assert "> **Theorem 2.1 (Bound)**\n>\n> It holds that $x < y$." in prose
    assert "> **Exercise 2.1 (Try)**\n>\n> Do this." in prose
    assert "**Table 2.1: Two values**\n\n| name | value |\n| --- | --- |\n| `a` | $b$ |" in prose
    assert "![a square](data:image/svg+xml;base64," in prose
    assert "*Fig. 2.1:* The square." in prose


def test_a_heading_starts_a_cell(cells):
    starts = [
        c.source.split("\n")[0] for c in cells if c.cell_type == "markdown" and c.source.startswith("#")
    ]
    assert starts == ["# The chapter", "## The part"]


def test_hidden_cells_are_absent_from_the_page_and_ran(page):
    assert "hidden = 41" not in page and "42" in page and "only on the page" in page


@pytest.fixture
def exported(book: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The exported chapter; afterwards it is as before, and Sphinx reads the book only once."""
    path = book / "book" / "chapter.ipynb"
    text = path.read_text()
    chapters = {"book/chapter": [dict(c) for c in json.loads(text)["cells"][1:]]}
    for cell in chapters["book/chapter"]:
        cell["source"] = "".join(cell["source"])
        cell.pop("id")
    monkeypatch.setattr(notebooks, "read_chapters", lambda root: json.loads(json.dumps(chapters)))
    monkeypatch.chdir(book)
    for name in ("BOOK_REPOSITORY_URL", "GITHUB_REPOSITORY"):
        monkeypatch.delenv(name, raising=False)
    yield path
    path.write_text(text)


def test_check_sees_an_edit_a_missing_file_and_a_stray_one(exported, capsys):
    assert notebooks.main(["--check"]) == 0
    text = exported.read_text()
    exported.write_text(text.replace("The part", "Another part"))
    assert notebooks.main(["--check"]) == 1
    assert "chapter.ipynb: out of date" in capsys.readouterr().out
    exported.unlink()
    assert notebooks.main(["--check"]) == 1
    exported.write_text(text)
    stray = exported.with_name("old.ipynb")
    stray.write_text(text)
    assert notebooks.main(["--check"]) == 1
    assert "old.ipynb: no page" in capsys.readouterr().out
    stray.unlink()


def test_the_repository_is_written_on_request_and_kept_after_that(exported, monkeypatch):
    assert "colab.research" not in exported.read_text()
    url = "https://github.com/someone/book"
    monkeypatch.setenv("BOOK_REPOSITORY_URL", url + ".git")
    assert notebooks.main([]) == 0
    text = exported.read_text()
    assert f"'mmbook @ git+{url}@v{__version__}'" in text
    assert "colab.research.google.com/github/someone/book/blob/main/book/chapter.ipynb" in text
    monkeypatch.setenv("BOOK_REPOSITORY_URL", "https://github.com/other/fork")
    assert notebooks.main(["--check"]) == 0
    assert notebooks.main(["--keep-url"]) == 0 and exported.read_text() == text


def bootstrap(repository: str = "") -> str:
    return "".join(json.loads(notebooks.dump([], repository, "book/chapter.ipynb"))["cells"][0]["source"])


def run_bootstrap(tmp_path: Path, source: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the first cell where mmbook cannot be found and pip only writes down what it was asked."""
    fake = tmp_path / "pip"
    fake.mkdir()
    (fake / "__init__.py").touch()
    (fake / "__main__.py").write_text("import sys; print(sys.argv[1:]); sys.exit('nothing like that')")
    clean = {k: v for k, v in os.environ.items() if k != "MMBOOK_SPEC"}
    return subprocess.run(
        [sys.executable, "-S", "-c", source],
        cwd=tmp_path,
        env={**clean, "PYTHONPATH": str(tmp_path), **environment},
        capture_output=True,
        text=True,
    )


def test_without_an_address_the_first_cell_says_what_to_set(tmp_path):
    done = run_bootstrap(tmp_path, bootstrap())
    assert done.returncode == 1 and "MMBOOK_SPEC" in done.stderr and "git+<repository>" in done.stderr


@pytest.mark.parametrize(
    ("repository", "environment", "asked"),
    [
        ("https://github.com/a/b", {}, f"'mmbook @ git+https://github.com/a/b@v{__version__}'"),
        ("https://github.com/a/b", {"MMBOOK_SPEC": "x.whl"}, "'x.whl'"),
        ("", {"MMBOOK_SPEC": "x.whl"}, "'x.whl'"),
    ],
)
def test_the_first_cell_installs_from_the_repository_or_the_environment(
    tmp_path, repository, environment, asked
):
    done = run_bootstrap(tmp_path, bootstrap(repository), **environment)
    assert f"['install', '-q', {asked}]" in done.stderr
    assert "nothing like that" in done.stderr and done.returncode == 1


def test_the_first_cell_is_silent_where_the_package_is_there():
    done = subprocess.run([sys.executable, "-c", bootstrap()], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("bad", ["pip install mmbook", "pip install -q mmbook", "%pip install -U 'mmbook'"])
def test_the_search_for_the_unowned_name_finds_it(bad):
    assert UNOWNED.search(bad) and not UNOWNED.search('pip install -q "mmbook @ git+https://x"')


def test_nothing_installs_an_unowned_name():
    files = [p for kind in ("md", "ipynb") for p in (ROOT / "book").rglob(f"*.{kind}")]
    texts = {p: p.read_text(encoding="utf-8") for p in [*files, ROOT / "README.md", ROOT / "CONTRIBUTING.md"]}
    assert [str(p) for p, text in texts.items() if UNOWNED.search(text)] == []


def test_the_committed_notebooks_are_in_step():
    done = run_build(ROOT, "notebooks", "--check")
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_cell_that_raises_stops_the_build_with_its_traceback(tmp_path):
    raising = "```{code-cell} ipython3\nraise ValueError('the cell broke')\n```"
    root = write_book(tmp_path, f"{HEADER}# The chapter\n\n{raising}\n")
    (root / "mmbook").mkdir()
    done = run_build(root, "build")
    said = re.sub(r"\x1b\[[\d;]*m", "", done.stderr)
    assert done.returncode == 1
    assert "book/chapter.md: a cell failed" in said and "ValueError: the cell broke" in said
    assert not (root / "_build" / "pages.stamp").exists()


def test_noise_on_stderr_and_an_unknown_number_fail_the_build(tmp_path):
    noise = "```{code-cell} ipython3\nimport sys\nprint('noise', file=sys.stderr)\n```"
    root = write_book(tmp_path, f"{HEADER}# The chapter\n\nIt is {{number}}`runs.missing`.\n\n{noise}\n")
    (root / "mmbook").mkdir()
    done = run_build(root, "build")
    assert done.returncode != 0
    assert re.search(r"chapter\.md:\d+: .*stderr was found", done.stderr)
    assert re.search(r"chapter\.md:12: .*runs\.missing.* known keys: after", done.stderr)
    assert not (root / "_build" / "pages.stamp").exists()


def test_editing_the_package_runs_the_chapters_again(book):
    assert is_current(book)
    (book / "mmbook" / "module.py").write_text("x = 1\n")
    try:
        assert not is_current(book)
        edited = run_build(book, "build", "--if-stale")
        assert edited.returncode == 0 and "executed book/chapter.md" in edited.stdout and is_current(book)
        with (book / "book" / "first.md").open("a") as page:
            page.write("\nMore words.\n")
        assert not is_current(book)
        worded = run_build(book, "build", "--if-stale")
        assert worded.returncode == 0 and "executed book/chapter.md" not in worded.stdout
    finally:
        (book / "mmbook" / "module.py").unlink()
