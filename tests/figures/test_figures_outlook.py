"""The triangle of mixtures: corners are single actions, and what is no mixture is refused."""

import numpy as np
import pytest

from mmbook import figures


def test_corners_and_the_middle_are_where_they_should_be() -> None:
    paths = {"walk": np.array([[1, 0, 0], [0, 1, 0], [1 / 3] * 3]), "stay": np.full((2, 3), 1 / 3)}
    figure = figures.mixtures(paths, ["a", "b", "c"], [1 / 3] * 3)
    line = figure.axes[0].lines[0].get_xydata()
    np.testing.assert_allclose(line, [(0, 0), (1, 0), (0.5, 3**0.5 / 6)], atol=1e-12)
    assert [axes.texts[-1].get_text() for axes in figure.axes] == ["walk", "stay"]
    assert "walk ends at 0.33, 0.33, 0.33" in figure.alt and figure.data()


def test_what_is_no_mixture_is_refused() -> None:
    with pytest.raises(ValueError, match="sum to 1"):
        figures.mixtures({"walk": np.ones((2, 3))}, ["a", "b", "c"], [1 / 3] * 3)
