"""The table of equations: every label, function and argument, each with a meaning, none left over."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from mmbook import equations
from mmbook.publishing.equation_table import SYMBOLS, meaning, read_functions, read_symbols, table_markdown

ROOT = Path(__file__).resolve().parents[2]
ROW = re.compile(r"^\| \{eq\}`(eq:[\w-]+)` `(eq:[\w-]+)` \| `(\w+)`: (.+?) \| (.+) \|$", re.M)


@pytest.fixture(scope="module")
def rows() -> dict[str, tuple[str, str, str]]:
    """Function, what it says and symbols, by label."""
    found = ROW.findall(table_markdown(ROOT))
    assert all(link == shown for link, shown, *_ in found)
    assert len({label for label, *_ in found}) == len(found)
    return {label: (name, says, symbols) for label, _, name, says, symbols in found}


def test_every_equation_that_is_computed_is_in_the_table(rows):
    labels = set()
    for path in (ROOT / "book").rglob("*.md"):
        labels |= set(re.findall(r":label:\s*(eq:\S+)", path.read_text(encoding="utf-8")))
    assert rows.keys() == labels and len(labels) >= 90


def test_every_function_stands_in_it_with_all_its_arguments(rows):
    by_name = {name: (says, symbols) for name, says, symbols in rows.values()}
    assert by_name.keys() == set(equations.__all__)
    for name, (says, symbols) in by_name.items():
        given = re.findall(r"(?:^|; )`(\w+)` (?=[^`;]{3})", symbols)
        assert given == list(inspect.signature(getattr(equations, name)).parameters), name
        assert says.endswith(".") and "Implements" not in says


def test_each_equation_stands_under_the_page_that_has_it(rows):
    parts = re.split(r"^\{doc\}`/([\w/-]+)`$", table_markdown(ROOT), flags=re.M)[1:]
    for page, table in zip(parts[::2], parts[1::2], strict=True):
        text = (ROOT / f"{page}.md").read_text(encoding="utf-8")
        labels = [label for label, *_ in ROW.findall(table)]
        assert labels == [x for x in re.findall(r":label:\s*(eq:\S+)", text) if x in labels] != []


def test_every_meaning_belongs_to_an_argument():
    symbols = read_symbols(SYMBOLS.read_text(encoding="utf-8"))
    needed = set()
    for function in read_functions(ROOT / "mmbook/equations"):
        for argument in function.arguments:
            own = (argument, function.name)
            needed.add(own if own in symbols else (argument, ""))
    assert symbols.keys() == needed


def test_an_argument_without_a_meaning_is_named():
    symbols = read_symbols("# a comment\na: first\na in f, g: second\n")
    assert [meaning(symbols, "a", f) for f in ("f", "g", "h")] == ["second", "second", "first"]
    with pytest.raises(ValueError, match=re.escape("add 'b in f: ...' to mmbook/publishing/symbols.txt")):
        meaning(symbols, "b", "f")


@pytest.mark.parametrize(
    ("text", "says"),
    [("a first", "line 1: expected"), ("a: x\na: y", "line 2: a has"), ("a in f:", "line 1")],
)
def test_a_file_of_another_form_is_refused(text, says):
    with pytest.raises(ValueError, match=says):
        read_symbols(text)


def test_the_page_asks_for_the_table():
    assert "```{equation-table}\n```" in (ROOT / "book/notation.md").read_text(encoding="utf-8")
