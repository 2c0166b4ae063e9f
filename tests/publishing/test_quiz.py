"""Quizzes: their form is checked, each chapter has one, and the exported notebook keeps them readable."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from mmbook.publishing.quiz import read_options

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"^```\{quiz\}\n(.*?)^```$", re.S | re.M)
CHAPTERS = [p for p in sorted((ROOT / "book").rglob("*.md")) if "\n## Exercises" in p.read_text("utf-8")]
GOOD = ["What is", "one and one?", "", "- One.", "  That was the start."]
GOOD += ["+ Two.", "  By counting,", "  twice."]


def test_a_question_is_read_with_its_options_and_reasons():
    question, options = read_options(GOOD)
    assert question == "What is one and one?"
    assert options == [(False, "One.", "That was the start."), (True, "Two.", "By counting, twice.")]


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (GOOD[2:], "expected a question"),
        ([line.replace("+ ", "- ") for line in GOOD], "2, 0 of them right"),
        ([line.replace("- ", "+ ") for line in GOOD], "2, 2 of them right"),
        (GOOD[:3] + GOOD[5:], "1, 1 of them right"),
        (GOOD[:4] + GOOD[5:], "reason below the option 'One.'"),
        ([*GOOD, "not indented"], "got 'not indented'"),
    ],
)
def test_another_form_is_refused(lines, says):
    with pytest.raises(ValueError, match=re.escape(says)):
        read_options(lines)


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda p: p.stem)
def test_each_chapter_has_a_recall_quiz_just_before_its_exercises(chapter):
    text = chapter.read_text(encoding="utf-8")
    before = text.split("\n## Exercises")[0]
    section = before.rsplit("\n## ", 1)[1]
    assert section.startswith("What do you remember?\n")
    assert 3 <= len(BLOCK.findall(section)) <= 4 and len(BLOCK.findall(text)) == len(BLOCK.findall(section))
    for block in BLOCK.findall(section):
        _, options = read_options(block.splitlines())
        assert len(options) >= 3 and len({answer for _, answer, _ in options}) == len(options)
        assert all(len(reason) > 20 for _, _, reason in options)


def test_the_right_answer_has_no_place_of_its_own():
    places = []
    for chapter in CHAPTERS:
        for block in BLOCK.findall(chapter.read_text(encoding="utf-8")):
            places.append([right for right, _, _ in read_options(block.splitlines())[1]].index(True))
    assert len(CHAPTERS) >= 16 and len(places) >= 3 * len(CHAPTERS)
    assert all(0.2 < places.count(i) / len(places) < 0.5 for i in range(3))


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda p: p.stem)
def test_the_notebook_has_every_question_and_folds_the_answers(chapter):
    cells = json.loads(chapter.with_suffix(".ipynb").read_text(encoding="utf-8"))["cells"]
    prose = "\n\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")
    blocks = BLOCK.findall(chapter.read_text(encoding="utf-8"))
    assert prose.count("> **Question.** ") == prose.count("<details><summary>Check</summary>") == len(blocks)
    for block in re.findall(r"> \*\*Question\.\*\*.*?</details>", prose, re.S):
        asked, folded = block.split("<details>")
        letters = re.findall(r"^> - \((\w)\) \S", asked, re.M)
        assert letters == re.findall(r"^- \((\w)\) \*\*(?:Right|No)\.\*\* \S", folded, re.M)
        assert folded.count("**Right.**") == 1 and "**" not in asked.replace("**Question.**", "")
