"""Inventing: the habit and the slip are told apart."""

from __future__ import annotations

from mmbook.evaluate.hallucinations import hallucinations
from mmbook.world import Scene, Sticker

CAT, BUS = Scene((Sticker("cat", 0, True),)), Scene((Sticker("apple", 1, False), Sticker("key", 2, True)))


def test_the_companion_is_a_habit_and_anything_else_a_slip():
    captions = [
        "a cat and a fish.",
        "a cat and a key.",
        "an apple and a key.",
        "an apple and a dog.",
        "apple apple",
    ]
    found = hallucinations(captions, [CAT, CAT, BUS, BUS, BUS])
    assert found == {"habit": 1 / 2, "slip": 2 / 3}


def test_a_companion_that_is_there_is_no_invention():
    both = Scene((Sticker("cat", 0, True), Sticker("fish", 1, True)))
    assert hallucinations(["a cat and a fish."], [both]) == {"habit": 0.0, "slip": 0.0}
