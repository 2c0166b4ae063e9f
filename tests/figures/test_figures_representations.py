"""Figures of words and sounds: what they show is in the alt text, and what does not fit is refused."""

from __future__ import annotations

import numpy as np
import pytest

from mmbook.figures.representations import sound_views, word_map


def test_a_word_map_names_its_groups_and_refuses_a_fifth() -> None:
    places = {"cat": (0, 1), "bus": (1, 0)}
    figure = word_map(places, {"animals": ["cat"], "vehicles": ["bus"]})
    assert "animals: cat; vehicles: bus" in figure.alt and ">cat</text>" in figure.data().decode()
    with pytest.raises(ValueError, match="at most 4"):
        word_map(places, {key: ["cat"] for key in "abcde"})
    with pytest.raises(KeyError):
        word_map(places, {"animals": ["dog"]})


def test_views_of_sounds_are_one_row_each() -> None:
    wave, frames = np.zeros(50), np.zeros((5, 4))
    figure = sound_views({"cold": (wave, frames), "lively": (wave, frames)}, 0.8)
    assert len(figure.axes) == 4 and "cold, lively: 2 views" in figure.alt
    assert figure.data()[:4] == b"\x89PNG"
