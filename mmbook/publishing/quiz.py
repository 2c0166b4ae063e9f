"""Questions that a page asks and answers without a kernel: recall quizzes, and room for a reader's guess."""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

log = logging.getLogger(__name__)

LETTERS = "abcdefgh"
ASKS = "Before you run on"  # the title of an admonition that asks for a prediction


class quiz(nodes.General, nodes.Element):
    """One question: a `quiz_question`, then `quiz_option`s."""


class quiz_question(nodes.Part, nodes.TextElement):
    """What is asked."""


class quiz_option(nodes.Part, nodes.Element):
    """A `quiz_answer` and the `quiz_reason` that is shown for it; `right` says which it is."""


class quiz_answer(nodes.Part, nodes.TextElement):
    """The text of an option."""


class quiz_reason(nodes.Part, nodes.TextElement):
    """Why the option is right or wrong."""


class guess(nodes.General, nodes.Element):
    """A field for the reader's prediction; the page shows it again beside the next result."""


def read_options(lines: list[str]) -> tuple[str, list[tuple[bool, str, str]]]:
    """Return the question and the options (right, answer, reason); raises ValueError for any other form.

    `- ` begins a wrong option and `+ ` the right one; what is indented below it is its reason.
    """
    question: list[str] = []
    options: list[tuple[bool, list[str], list[str]]] = []
    for line in lines:
        if mark := re.match(r"([-+]) +(\S.*)", line):
            options.append((mark[1] == "+", [mark[2]], []))
        elif not line.strip():
            continue
        elif options and line.startswith("  "):
            options[-1][2].append(line.strip())
        elif options:
            raise ValueError(f"expected an option ('- ' or '+ ') or an indented reason, got {line!r}")
        else:
            question.append(line.strip())
    rights = sum(right for right, _, _ in options)
    if not question:
        raise ValueError("expected a question before the options, got none")
    if not 2 <= len(options) <= len(LETTERS) or rights != 1:
        raise ValueError(
            f"expected 2 to {len(LETTERS)} options of which one is right ('+ '), "
            f"got {len(options)}, {rights} of them right"
        )
    for _, answer, reason in options:
        if not reason:
            raise ValueError(f"expected an indented reason below the option {' '.join(answer)!r}, got none")
    return " ".join(question), [(right, " ".join(a), " ".join(why)) for right, a, why in options]


class QuizDirective(SphinxDirective):
    """`{quiz}`: a question, `- ` wrong and `+ ` right options, the reason of each indented below it."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        try:
            question, options = read_options(list(self.content))
        except ValueError as error:
            log.error("quiz: %s", error, location=(self.env.docname, self.lineno))
            return []
        node = quiz(name=f"quiz-{self.env.new_serialno('mm-quiz') + 1}")
        node += self.inline(quiz_question(), question)
        for right, answer, reason in options:
            option = quiz_option(right=right)
            option += [self.inline(quiz_answer(), answer), self.inline(quiz_reason(), reason)]
            node += option
        return [node]

    def inline(self, into: Any, text: str) -> Any:
        """Parse one paragraph and put what it holds into the node `into`."""
        holder = nodes.Element()
        lines = StringList([text], source=self.get_source_info()[0])
        self.state.nested_parse(lines, self.content_offset, holder)
        for paragraph in holder.children:
            into += paragraph.children if isinstance(paragraph, nodes.paragraph) else [paragraph]
        return into


def add_guesses(app: Sphinx, doctree: nodes.document) -> None:
    """Give each admonition that asks for a prediction a field to write it into."""
    for node in doctree.findall(nodes.admonition):
        title = node.next_node(nodes.title)
        if title is not None and title.astext() == ASKS:
            node += guess(name=f"guess-{app.env.new_serialno('mm-guess') + 1}")


# How they are written as HTML: native fields only, so that all works without a script but for the echo of a
# guess. Choosing and checking are two acts: arrow keys move through the options without giving them away.


def visit_quiz(self: Any, node: quiz) -> None:
    self.body.append(f'<fieldset class="mm-quiz" id="{node["name"]}">\n')


def depart_quiz(self: Any, node: quiz) -> None:
    """Write the reasons below the options; the style shows the one of the option that is chosen."""
    self.body.append(
        '<details class="mm-check"><summary>Check</summary><div aria-live="polite">\n'
        '<p class="mm-none">Choose an answer, and the reason appears here.</p>\n'
    )
    for index, option in enumerate(node.findall(quiz_option)):
        says = "Right." if option["right"] else "No."
        self.body.append(
            f'<div class="mm-why mm-{"right" if option["right"] else "wrong"}" data-option="{index}">'
            f'<p><span class="mm-letter">({LETTERS[index]})</span> <strong>{says}</strong> '
        )
        for child in option.children[1].children:
            child.walkabout(self)
        self.body.append("</p></div>\n")
    self.body.append("</div></details>\n</fieldset>\n")


def visit_question(self: Any, node: quiz_question) -> None:
    self.body.append("<legend>")


def depart_question(self: Any, node: quiz_question) -> None:
    self.body.append("</legend>\n")


def visit_option(self: Any, node: quiz_option) -> None:
    question = node.parent
    index = list(question.findall(quiz_option)).index(node)
    name = f"{question['name']}-{LETTERS[index]}"
    self.body.append(
        f'<div class="mm-option"><input type="radio" name="{question["name"]}" id="{name}" '
        f'value="{index}"><label for="{name}"><span class="mm-letter">({LETTERS[index]})</span> '
    )


def depart_option(self: Any, node: quiz_option) -> None:
    self.body.append("</label></div>\n")


def skip(self: Any, node: nodes.Element) -> None:
    """The reasons stand together after the options."""
    raise nodes.SkipNode


def nothing(self: Any, node: nodes.Element) -> None:
    """The children write themselves."""


def visit_guess(self: Any, node: guess) -> None:
    self.body.append(
        f'<p class="mm-guess"><label for="{node["name"]}">Your guess</label> '
        f'<input type="text" id="{node["name"]}" autocomplete="off"></p>\n'
    )
    raise nodes.SkipNode


def setup(app: Sphinx) -> None:
    """Register the directive, its nodes and the guesses with Sphinx."""
    app.add_directive("quiz", QuizDirective)
    app.add_node(quiz, html=(visit_quiz, depart_quiz))
    app.add_node(quiz_question, html=(visit_question, depart_question))
    app.add_node(quiz_option, html=(visit_option, depart_option))
    app.add_node(quiz_answer, html=(nothing, nothing))
    app.add_node(quiz_reason, html=(skip, nothing))
    app.add_node(guess, html=(visit_guess, nothing))
    app.connect("doctree-read", add_guesses)
