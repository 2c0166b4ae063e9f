"""The roofline: the roof is the equation, the points are where they belong."""

import numpy as np
import pytest

from mmbook import figures
from mmbook.equations import roofline


def test_points_lie_below_the_roof_of_the_equation() -> None:
    points = {"decode": {"1": (0.5, 2e9), "64": (20.0, 6e10)}, "learn": {"": (100.0, 8e10)}}
    figure = figures.roofline(points, 1e11, 1e10)
    (axes,) = figure.axes
    x, y = axes.lines[0].get_xydata().T
    np.testing.assert_allclose(y, roofline(x, 1e11, 1e10))
    assert y[0] < 1e11 and y[-1] == 1e11
    assert set(axes.lines[1].get_xdata()) == {10}  # the ridge
    assert axes.lines[2].get_xydata().tolist() == [[0.5, 2e9], [20, 6e10]]
    assert {t.get_text() for t in axes.texts} == {"decode 1", "decode 64", "learn"}
    assert "decode 64 6e+10 at 20" in figure.alt and figure.data()


def test_nothing_and_negative_numbers_are_refused() -> None:
    for points in ({}, {"decode": {"1": (0.0, 2e9)}}):
        with pytest.raises(ValueError, match="points: expected one or more, positive"):
            figures.roofline(points, 1e11, 1e10)
