"""The index of exercises: complete, in order, and read from what the chapters say."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from mmbook.exercises import EXERCISES, check
from mmbook.publishing.exercise_index import (
    LEVELS,
    SPANS,
    book_exercises,
    book_parts,
    index_markdown,
    read_exercises,
)

ROOT = Path(__file__).resolve().parents[2]
PAGE = """# Page

```{exercise-start} Count
:label: ex-count
```

*(10 minutes, easy.)* Count. *Hint: one.*

```{exercise-end}
```

```{solution-start} ex-count
:class: dropdown
```

```{code-cell} ipython3
check("part-page/count", 3)
```

```{solution-end}
```

```{exercise-start} Dream
:label: ex-dream
```

*(an evening, hard.)* Dream.

```{exercise-end}
```
"""


def test_headers_are_read_with_kind_and_minutes():
    count, dream = read_exercises("book/page", PAGE)
    assert (count.title, count.label, count.level, count.time, count.kind, count.minutes) == (
        "Count", "ex-count", "easy", "10 minutes", "code, checked", 10,
    )  # fmt: skip
    assert (dream.kind, dream.minutes, dream.level) == ("open", 180, "hard")
    assert read_exercises("p", PAGE.replace('check("', 'show("'))[0].kind == "code"
    assert read_exercises("p", re.sub(r"```\{code-cell.*?```\n", "", PAGE, flags=re.S))[0].kind == "thought"


@pytest.mark.parametrize("broken", ["(10 minutes.)", "(10 minutes, simple.)", "(ten minutes, easy.)"])
def test_a_header_of_another_form_is_refused(broken):
    with pytest.raises(ValueError, match=r"'Count'.*expected a label and"):
        read_exercises("p", PAGE.replace("(10 minutes, easy.)", broken))


def labels_of_the_book() -> list[str]:
    """Every label of an exercise, by a search of its own."""
    found = []
    for path in sorted((ROOT / "book").rglob("*.md")):
        lines = path.read_text(encoding="utf-8").splitlines()
        starts = [i for i, line in enumerate(lines) if line.startswith("```{exercise-start}")]
        found += [lines[i + 1].split()[-1] for i in starts]
    return found


@pytest.mark.parametrize("by", ["topic", "difficulty", "minutes"])
def test_every_exercise_of_the_book_is_in_each_index_once(by):
    listed = re.findall(r"\{ref\}`[^`<]+ <(ex-[\w-]+)>`", index_markdown(ROOT, by))
    assert Counter(listed) == Counter(labels_of_the_book()) and len(listed) == len(set(listed)) >= 100


def test_the_index_follows_the_table_of_contents():
    parts = book_exercises(ROOT)
    assert [c for c, _ in parts] == [c for c, _ in book_parts(ROOT) if c in dict(parts)]
    for caption, exercises in parts:
        pages = dict(book_parts(ROOT))[caption]
        places = [pages.index(e.page) for e in exercises]
        assert places == sorted(places)


def test_the_groups_are_what_they_say():
    text = index_markdown(ROOT, "minutes")
    every = {e.label: e for _, exercises in book_exercises(ROOT) for e in exercises}
    least = 0
    for head, most in SPANS.items():
        inside = re.search(rf"\*\*{head}\*\* \((\d+)\)\n\n(.*?)(?=\n\n|\Z)", text, re.S)
        labels = re.findall(r"<(ex-[\w-]+)>", inside[2])
        assert int(inside[1]) == len(labels) > 0
        assert all(least < every[label].minutes <= most for label in labels)
        least = most
    for level in LEVELS:
        inside = re.search(rf"\*\*{level}\*\* \((\d+)\)", index_markdown(ROOT, "difficulty"))
        assert int(inside[1]) == sum(e.level == level for e in every.values()) > 0


def test_there_are_forty_code_exercises_and_each_checker_belongs_to_one():
    every = [e for _, exercises in book_exercises(ROOT) for e in exercises]
    assert sum(e.checked for e in every) >= 40
    asked = set()
    for path in (ROOT / "book").rglob("*.md"):
        asked |= set(re.findall(r"^check(?:_answer)?\(\"([^\"]+)\"", path.read_text(encoding="utf-8"), re.M))
    with pytest.raises(KeyError):
        check("no such exercise")  # which loads them all
    assert asked == {name for name in EXERCISES if not name.startswith("test")}


def test_the_page_is_in_the_book_and_asks_for_all_three():
    text = (ROOT / "book/appendix/exercises.md").read_text(encoding="utf-8")
    assert re.findall(r"\{exercise-index\} (\w+)", text) == ["topic", "difficulty", "minutes"]
    assert not re.search(r"ex-\w|\d+ minutes", text), "the index is never typed by hand"
    assert any("book/appendix/exercises" in pages for _, pages in book_parts(ROOT))
