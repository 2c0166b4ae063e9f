"""Figures of fusion: they show the numbers they were given."""

from __future__ import annotations

import numpy as np
from matplotlib.colors import to_rgb

from mmbook.figures import POLICY, REWARD, TRUTH
from mmbook.figures.fusion import against_ceiling, ceilings, people
from mmbook.world.sentiment import SETTINGS, sample_utterances


def test_people_are_shown_with_picture_sound_words_and_label() -> None:
    u = sample_utterances(5, SETTINGS["mixed"], 0)
    figure = people(u, [3, 1])
    assert figure.kind == "png" and len(figure.axes) == 4 and figure.data()
    np.testing.assert_array_equal(figure.axes[0].images[0].get_array(), u.face[3])
    np.testing.assert_array_equal(figure.axes[3].images[0].get_array(), u.voice[1].T)
    assert u.sentence(3) in figure.alt and u.sentence(1) in figure.texts[3].get_text()


def test_ceilings_are_bars_from_chance_and_the_additive_rule_is_dashed() -> None:
    best = {"a": {"face": 0.8, "all": 0.9}, "b": {"face": 0.5, "all": 0.95}}
    figure = ceilings(best, {"a": 0.9, "b": 0.725})
    for axes, setting in zip(figure.axes, best, strict=True):
        ends = [bar.get_x() + bar.get_width() for bar in axes.patches]
        np.testing.assert_allclose(ends, list(best[setting].values()))
    (line,) = figure.axes[1].lines
    assert line.get_linestyle() == "--" and line.get_xdata()[0] == 0.725
    assert "b: face 0.500, all 0.950, additive 0.725" in figure.alt


def test_fusions_stand_beside_what_can_be_known() -> None:
    right = {"a": {"late": [0.5, 0.52], "gated": 0.93}}
    figure = against_ceiling(right, {"a": 0.95}, {"a": 0.725})
    marks = [line for line in figure.axes[0].lines if line.get_marker() == "D"]
    assert [float(mark.get_xdata()[0]) for mark in marks] == [0.51, 0.93]
    assert {to_rgb(line.get_color()) for line in figure.axes[0].lines[-2:]} == {to_rgb(TRUTH), to_rgb(REWARD)}
    assert to_rgb(marks[0].get_color()) == to_rgb(POLICY) and "a, late 0.510" in figure.alt
    assert against_ceiling({}, {}, {}).data()
