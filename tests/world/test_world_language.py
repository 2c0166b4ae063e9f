"""What the grammar says is read back as it was meant, and what it cannot say is not read at all."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mmbook.world import KINDS, QUARTERS, STYLES, Statement, normalise, parse, say
from mmbook.world.captions import RELATIONS


@st.composite
def statements(draw: st.DrawFn) -> Statement:
    style, n = draw(st.sampled_from(STYLES)), draw(st.integers(1, 4))

    def some(values: tuple, count: int) -> tuple:
        return tuple(draw(st.lists(st.sampled_from(values), min_size=count, max_size=count)))

    placed = n if style == "detailed" else 0
    return Statement(
        style,
        some(KINDS, n),
        some((True, False), placed),
        some((0, 1, 2, 3), placed),
        some(RELATIONS, n - 1 if style == "relation" else 0),
    )


EXAMPLES = {
    "cat, apple.": Statement("terse", ("cat", "apple")),
    "a cat, an owl and an apple.": Statement("plain", ("cat", "owl", "apple")),
    "a big apple at the top left and a small cat at the bottom right.": Statement(
        "detailed", ("apple", "cat"), (True, False), (0, 3)
    ),
    "hello, please let me show you a bus. thank you!": Statement("polite", ("bus",)),
    "a cat is left of a key, which is above an owl.": Statement(
        "relation", ("cat", "key", "owl"), relations=("left of", "above")
    ),
    "an octopus is all alone.": Statement("relation", ("octopus",)),
    "well, i can see a monkey and then a key, i guess.": Statement("rambling", ("monkey", "key")),
}


@pytest.mark.parametrize("caption", EXAMPLES)
def test_written_out_examples(caption: str) -> None:
    assert parse(caption) == EXAMPLES[caption]
    assert say(EXAMPLES[caption]) == caption


def test_articles_are_those_of_english() -> None:
    with_an = {"octopus", "owl", "apple", "airplane", "umbrella"}
    said = {kind: say(Statement("plain", (kind,))) for kind in KINDS}
    assert said == {kind: f"{'an' if kind in with_an else 'a'} {kind}." for kind in KINDS}


def test_there_is_an_example_of_every_style() -> None:
    assert {statement.style for statement in EXAMPLES.values()} == set(STYLES)


@given(statements())
@settings(max_examples=600, deadline=None)
def test_what_is_said_is_read_back_as_meant(statement: Statement) -> None:
    caption = say(statement)
    assert parse(caption) == statement
    assert parse(normalise(caption)) == statement
    assert parse("  " + caption.upper().replace(" ", " \n ")) == statement


@given(statements(), st.data())
@settings(max_examples=400, deadline=None)
def test_a_dropped_or_doubled_word_or_a_wrong_article_is_no_caption(
    statement: Statement, data: st.DataObject
) -> None:
    words = normalise(say(statement)).split()
    at = data.draw(st.integers(0, len(words) - 1))
    # a single plain mention without its article is a terse one, and the only exception
    terse = statement.style == "plain" and len(statement.kinds) == 1 and at == 0
    dropped = Statement("terse", statement.kinds) if terse else None
    assert parse(" ".join(words[:at] + words[at + 1 :])) == dropped
    assert parse(" ".join([*words[: at + 1], *words[at:]])) is None
    articles = [i for i, word in enumerate(words) if word in ("a", "an")]
    assume(articles)
    at = data.draw(st.sampled_from(articles))
    words[at] = "an" if words[at] == "a" else "a"
    assert parse(" ".join(words)) is None


VOCABULARY = sorted({word for caption in EXAMPLES for word in normalise(caption).split()} | set(";-_?"))


@given(statements(), st.data())
@settings(max_examples=400, deadline=None)
def test_a_text_that_is_read_says_what_it_was_read_as(statement: Statement, data: st.DataObject) -> None:
    words = normalise(say(statement)).split()
    for _ in range(data.draw(st.integers(1, 2))):
        at, word = data.draw(st.integers(0, len(words) - 1)), data.draw(st.sampled_from(VOCABULARY))
        words[at : at + data.draw(st.integers(0, 1))] = [word]  # put in, or put in place of another
    text = " ".join(words)
    read = parse(text)
    assert read is None or normalise(say(read)) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "cat",
        "a dragon.",
        "cats.",
        "monkey key.",
        "a cat and a dog",
        "a cat, and a dog.",
        "a big cat at the top.",
        "a cat is left of a dog and an owl.",
        "cat, dog, fox, owl, bus.",
        "a cat, a dog, a fox, an owl and a bus.",
        "well, i can see a cat and then a dog and then a fox and then an owl and then a bus, i guess.",
        "a cat. a dog.",
        "<image> cat.",
        "cat.\x00",
    ],
)
def test_near_misses_are_not_read(text: str) -> None:
    assert parse(text) is None


@given(st.text(max_size=80))
@settings(max_examples=200, deadline=None)
def test_normalising_twice_changes_nothing_and_keeps_every_sign(text: str) -> None:
    once = normalise(text)
    assert normalise(once) == once
    assert re.sub(r"\s", "", once) == re.sub(r"\s", "", text.lower())


def test_a_statement_that_cannot_be_said_names_its_field() -> None:
    good = Statement("detailed", ("cat", "dog"), (True, True), (0, 1))
    for field, value in {
        "style": "loud",
        "kinds": (),
        "big": (True,),
        "quarters": (),
        "relations": ("above",),
    }.items():
        with pytest.raises(ValueError, match=f"^{field}: expected"):
            replace(good, **{field: value})
    with pytest.raises(ValueError, match=r"^kinds: expected one to 4, got 5"):
        Statement("terse", KINDS[:5])


def test_quarters_are_said_in_reading_order() -> None:
    assert QUARTERS == ("top left", "top right", "bottom left", "bottom right")


def test_the_world_needs_no_torch() -> None:
    program = (
        "import sys, mmbook, mmbook.world; print([m for m in ('torch', 'transformers') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
