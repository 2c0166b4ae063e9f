"""The index of the exercises: read from the chapters' own headers, by topic, difficulty and minutes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

log = logging.getLogger(__name__)

START = re.compile(r"^```\{exercise-start\} *(.*)\n((?::.*\n)*)```\n\s*(.*)", re.M)
HEADER = re.compile(
    r"\*\((?P<time>(?:an?|\d+) (?:minutes|hour|evening)), (?P<level>\w+)(?P<more>, checked)?\.\)\*"
)
LEVELS = ("easy", "medium", "hard", "open")
SPANS = {"up to 5 minutes": 5, "6 to 10 minutes": 10, "11 to 30 minutes": 30, "longer": 10**6}
WORDS = {"an hour": 60, "an evening": 180}  # minutes, only to sort by


@dataclass(frozen=True)
class Exercise:
    """One exercise as its chapter announces it."""

    page: str  # docname
    title: str
    label: str
    time: str  # "10 minutes", "an evening"
    level: str  # one of LEVELS
    checked: bool  # whether a checker says what is wrong with an answer
    code: bool  # whether the solution has code
    solved: bool  # whether there is a solution

    @property
    def minutes(self) -> int:
        """Minutes to sort by."""
        return WORDS.get(self.time) or int(self.time.split()[0])

    @property
    def kind(self) -> str:
        """What is asked for, in a word or two."""
        if not self.solved:
            return "open"
        return "code, checked" if self.checked else "code" if self.code else "thought"


def read_exercises(page: str, text: str) -> list[Exercise]:
    """Return the exercises of one page; raises ValueError for a header of another form."""
    found = []
    for title, options, first in START.findall(text):
        label = re.search(r":label: *(\S+)", options)
        header = HEADER.match(first)
        if not label or not header or header["level"] not in LEVELS:
            raise ValueError(
                f"exercise {title!r}: expected a label and, as its first words, *(10 minutes, easy.)* with "
                f"one of {', '.join(LEVELS)}, got {first[:60]!r}"
            )
        start = re.escape(f"```{{solution-start}} {label[1]}\n")
        solution = re.search(rf"^{start}(.*?)^```\{{solution-end\}}", text, re.S | re.M)
        worked = solution[1] if solution else ""
        checked = re.search(r"^check(?:_answer)?\(\"[\w-]+/[\w-]+\"", worked, re.M) is not None
        code = "```{code-cell}" in worked
        facts = checked, code, solution is not None
        found.append(Exercise(page, title, label[1], header["time"], header["level"], *facts))
    return found


def book_parts(root: Path) -> list[tuple[str, list[str]]]:
    """Return the captions of `_toc.yml` with their pages."""
    toc = yaml.safe_load((root / "_toc.yml").read_text(encoding="utf-8"))
    return [(part["caption"], [c["file"] for c in part["chapters"]]) for part in toc["parts"]]


def book_exercises(root: Path) -> list[tuple[str, list[Exercise]]]:
    """Return the captions of the table of contents with the exercises of their pages, in order."""
    found = []
    for caption, pages in book_parts(root):
        inside: list[Exercise] = []
        for page in pages:
            inside += read_exercises(page, (root / f"{page}.md").read_text(encoding="utf-8"))
        if inside:
            found.append((caption, inside))
    return found


def link(exercise: Exercise) -> str:
    """Return a link to the exercise with its title."""
    return f"{{ref}}`{exercise.title} <{exercise.label}>`"


def chapter(exercise: Exercise) -> str:
    """Return a link to the exercise's page with the page's title."""
    return f"{{doc}}`/{exercise.page}`"


def by_topic(parts: list[tuple[str, list[Exercise]]]) -> Iterable[str]:
    """Yield the lines of one table for each chapter."""
    for caption, exercises in parts:
        yield from (f"**{caption}**", "")
        for page in dict.fromkeys(e.page for e in exercises):
            rows = [e for e in exercises if e.page == page]
            yield from (f"{chapter(rows[0])}", "", "| exercise | kind | difficulty | time |")
            yield "| --- | --- | --- | --- |"
            yield from (f"| {link(e)} | {e.kind} | {e.level} | {e.time} |" for e in rows)
            yield ""


def groups(exercises: list[Exercise], heads: Iterable[str], of: Callable[[Exercise], str]) -> Iterable[str]:
    """Yield for each head a list with one line a chapter."""
    for head in heads:
        rows = [e for e in exercises if of(e) == head]
        if not rows:
            continue
        yield from (f"**{head}** ({len(rows)})", "")
        for page in dict.fromkeys(e.page for e in rows):
            inside = [e for e in rows if e.page == page]
            yield f"- {chapter(inside[0])}: {', '.join(map(link, inside))}"
        yield ""


def span(exercise: Exercise) -> str:
    """Return the span of SPANS that the exercise's time falls into."""
    return next(name for name, most in SPANS.items() if exercise.minutes <= most)


def index_markdown(root: Path, by: str) -> str:
    """Return the index of the book in `root` by "topic", "difficulty" or "minutes"."""
    parts = book_exercises(root)
    if by == "topic":
        return "\n".join(by_topic(parts))
    every = [e for _, exercises in parts for e in exercises]
    if by == "difficulty":
        return "\n".join(groups(every, LEVELS, lambda e: e.level))
    return "\n".join(groups(every, SPANS, span))


class ExerciseIndex(SphinxDirective):
    """`{exercise-index} topic`, `difficulty` or `minutes`."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        by, root = self.arguments[0], Path(self.env.srcdir)
        self.env.note_reread()
        try:
            if by not in ("topic", "difficulty", "minutes"):
                raise ValueError(f"expected topic, difficulty or minutes, got {by!r}")
            lines = index_markdown(root, by).splitlines()
        except ValueError as error:
            log.error("exercise-index: %s", error, location=(self.env.docname, self.lineno))
            return []
        node: Any = nodes.container(classes=["mm-index"])
        self.state.nested_parse(StringList(lines, source="exercise-index"), self.content_offset, node)
        return list(node.children)


def setup(app: Sphinx) -> None:
    """Register the directive with Sphinx."""
    app.add_directive("exercise-index", ExerciseIndex)
