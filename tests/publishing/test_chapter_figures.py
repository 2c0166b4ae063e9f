"""Every figure of the book has a name and is drawn again from it: the committed ones and the chapters'."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

import nbformat
import pytest
from sample_book import HEADER

from mmbook import figures
from mmbook.publishing import chapter_figures
from mmbook.publishing.chapter_figures import chapter_pictures, content, drawing_cells, main, read_chapter

ROOT = Path(__file__).resolve().parents[2]
CHAPTER = (
    HEADER
    + """
# A chapter

## Bars

```{code-cell} ipython3
from mmbook import figures

rows = {"here": 0.25, "there": 0.75}
figures.bars(rows, "share")
```

## Nothing

```{code-cell} ipython3
if "elsewhere" in rows:
    display(figures.bars(rows, "share"))
```
"""
)


def colours(svg: str) -> set[str]:
    return set(re.findall(r"#[0-9a-fA-F]{6}\b", svg))


@pytest.fixture
def book(tmp_path, monkeypatch):
    (tmp_path / "book").mkdir()
    (tmp_path / "book/sample.md").write_text(CHAPTER)
    toc = (
        "format: jb-book\nroot: book/sample\nparts:\n  - caption: One\n    chapters: [{file: book/sample}]\n"
    )
    (tmp_path / "_toc.yml").write_text(toc)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("sources", "found"),
    [
        (["figures.bars(x)"], [0]),
        (["y = figures.bars(x)", "print(y)", "y"], [2]),
        (["from mmbook.figures.rl import curves, bars as rods", "curves(x)", "rods(x)", "bars(x)"], [1, 2]),
        (["Image.fromarray(a)", "np.asarray(a)", "figures.bars(x);"], [0]),
        (["if True:\n    display(figures.bars(x))\nprint(1)"], [0]),
        (["%%writefile a.py\nfigures.bars(x)", ""], []),
    ],
)
def test_cells_that_show_a_picture_are_found_without_running_them(sources, found):
    assert drawing_cells(sources) == found


def test_a_picture_of_a_chapter_is_drawn_again_by_its_name(book, capsys):
    assert main(["sample-1"]) == 0
    assert capsys.readouterr().out.split() == ["sample-1.svg"]
    again = figures.bars({"here": 0.25, "there": 0.75}, "share").data()
    assert (book / "sample-1.svg").read_bytes() == again
    assert main(["sample-1", "other/name.svg"]) == 0 and (book / "other/name.svg").read_bytes() == again


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "expected: figure <name>"),
        (["nobody"], "a name that `figure --list` prints, got 'nobody'"),
        (["sample-1", "a.png"], "'sample-1' is written as .svg, got 'a.png'"),
        (["sample-2"], "sample-2: here its cell shows no picture"),
        (["sample", "a.svg"], "'sample' is 2 pictures"),
        (["loop", "a.png"], "written as .svg, got 'a.png'"),
    ],
)
def test_errors_say_what_was_expected(book, capsys, arguments, says):
    assert main(arguments) == 2
    assert says in capsys.readouterr().err


def test_outside_the_book_only_what_needs_no_data_is_drawn(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["loop"]) == 0 and (tmp_path / "loop.svg").read_text() == figures.loop()
    assert main(["mdp-1"]) == 2
    assert "run this in the folder of the book" in capsys.readouterr().err


def test_the_list_names_every_chapter_and_each_name_once(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    assert main(["--list"]) == 0
    lines = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert len(set(lines)) == len(lines) > 130 and lines[: len(figures.COMMITTED)] == list(figures.COMMITTED)
    pictures = chapter_pictures(ROOT)
    assert lines[len(figures.COMMITTED) :] == list(pictures)
    chapters = {p for p in (ROOT / "book").rglob("*.md") if "\n## Exercises" in p.read_text(encoding="utf-8")}
    assert {p.relative_to(ROOT).with_suffix("").as_posix() for p in chapters} == {
        p.page for p in pictures.values()
    }


def test_every_picture_that_is_committed_is_one_we_can_draw(tmp_path, monkeypatch):
    asked = set()
    for page in (ROOT / "book").rglob("*.md"):
        asked |= set(re.findall(r"^`{3,}\{(?:image|figure)\} (\S+)", page.read_text(encoding="utf-8"), re.M))
        asked |= set(re.findall(r"!\[[^]]*\]\(([^)]+)\)", page.read_text(encoding="utf-8")))
    assert {Path(name).stem for name in asked} == set(figures.COMMITTED)
    static = {
        p.stem for p in (ROOT / "book/static").rglob("*.*") if p.suffix in (".svg", ".png", ".jpg", ".gif")
    }
    assert static == {*figures.COMMITTED, "favicon"}
    monkeypatch.chdir(ROOT)
    for name in asked:  # whether they are what is committed: tests/figures/test_figures.py
        (file,) = chapter_figures.draw_named(ROOT, Path(name).stem, tmp_path / Path(name).name)
        assert file.stat().st_size > 1000


def test_the_built_pages_show_the_pictures_that_are_listed_and_in_colours_for_light_and_dark(built_book):
    """Pictures that need fetched data may be missing; forms for labels are no figures."""
    cache = built_book.parent / ".jupyter_cache"
    with sqlite3.connect(f"file:{cache / 'global.db'}?mode=ro", uri=True) as database:
        newest = dict(database.execute("select uri, hashkey from nbcache order by created").fetchall())
    listed: dict[str, set[int]] = {}
    for picture in chapter_pictures(ROOT).values():
        listed.setdefault(picture.page, set()).add(picture.cell)
    missing, palette = (
        [],
        {figures.POLICY, figures.REFERENCE, figures.REWARD, figures.TRUTH, figures.INK, "#ffffff"},
    )
    for page, cells in listed.items():
        key = newest[str(ROOT / f"{page}.md")]
        notebook = nbformat.read(cache / "executed" / key / "base.ipynb", as_version=4)
        for i, cell in enumerate(c for c in notebook.cells if c.cell_type == "code"):
            found = content(cell.outputs)
            assert i in cells or found is None or found[0] == "html", (
                f"{page}, cell {i}: a picture without a name"
            )
            missing += [(page, i)] if i in cells and found is None else []
            if found and found[0] == "svg":
                assert colours(found[1].decode()) <= palette, f"{page}, cell {i}"
    assert {page for page, _ in missing} <= {"book/multimodal/contrastive", "book/multimodal/generation"}


def test_every_cell_that_draws_has_a_caption():
    """All but two cells, which draw only where data have been fetched."""
    without = []
    for path in sorted((ROOT / "book").rglob("*.md")):
        if "{code-cell}" in path.read_text(encoding="utf-8"):
            code = [cell for cell in read_chapter(path).cells if cell.cell_type == "code"]
            drawn = [code[i] for i in drawing_cells([cell.source for cell in code])]
            without += [path.stem for cell in drawn if not cell.metadata.get("caption")]
            for cell in drawn:
                text = cell.metadata.get("caption", "")
                assert not text or (text[0].isupper() and text.endswith(".") and len(text) < 180), text
    assert without == ["contrastive", "generation"]
