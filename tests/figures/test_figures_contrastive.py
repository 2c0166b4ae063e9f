"""Figures of one space: what they show is what they were given."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from mmbook import figures
from mmbook.figures import POLICY, REWARD, TRUTH

PICTURES = np.random.default_rng(0).integers(256, size=(3, 12, 12, 3), dtype=np.uint8)


def test_a_column_of_the_table_is_a_picture():
    p = np.array([[0.7, 0.3], [0.05, 0.95], [0.5, 0.5]])
    figure = figures.score_table(PICTURES, ["a cat.", "a bus."], p)
    table, *images = figure.axes
    np.testing.assert_allclose(table.images[0].get_array(), p.T)
    assert [t.get_text() for t in table.texts] == [".70", ".30", ".05", ".95", ".50", ".50"]
    for axes, picture in zip(images, PICTURES, strict=True):
        assert (axes.images[0].get_array() == picture).all()
    assert "picture 2: a bus. 0.95" in figure.alt and figure.data() == figure.data()
    with pytest.raises(ValueError, match=r"p: expected shape \(3, 2\).* got \(2, 3\)"):
        figures.score_table(PICTURES, ["a cat.", "a bus."], p.T)


def test_the_right_name_is_green_or_stands_in_brackets():
    names = [["cat", "dog"], ["owl", "bus"], ["fox", "a very long name of an emoji"]]
    figure = figures.retrieved(PICTURES, names, ["dog", "taxi", "fox"])
    said = {t.get_text(): t for t in figure.texts}
    green = {name for name, t in said.items() if to_rgb(t.get_color()) == to_rgb(TRUTH)}
    assert green == {"dog", "fox"} and "(taxi)" in said and "(dog)" not in said
    assert "a very long name…" in said
    with pytest.raises(ValueError, match="expected as many of each, got 3, 2, 3"):
        figures.retrieved(PICTURES, names[:2], ["dog", "taxi", "fox"])


def test_the_axis_is_the_gap():
    rng = np.random.default_rng(1)
    u, v = (rng.normal(size=(20, 4)) * 0.1 + [shift, 0, 0, 0] for shift in (0.5, -0.3))
    (axes,) = figures.sphere(3 * u, v, "here").axes
    u, v = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (u, v))
    dots = [line for line in axes.lines if line.get_marker() == "o"]
    assert [to_rgb(d.get_color()) for d in dots] == [to_rgb(POLICY), to_rgb(REWARD)]
    gap = np.linalg.norm(u.mean(0) - v.mean(0))
    assert dots[0].get_xdata().mean() - dots[1].get_xdata().mean() == pytest.approx(gap)
    assert f"gap {gap:.2f}" in axes.get_title()
    with pytest.raises(ValueError, match="two equal shapes"):
        figures.sphere(u, v[:3])
