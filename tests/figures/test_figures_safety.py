"""The figure of maps: a square for each part, orange for what adds and grey for what takes away."""

import numpy as np
import pytest
from matplotlib.colors import to_hex

from mmbook import figures
from mmbook.world import sample_scenes


def test_squares_are_as_large_as_what_a_part_does() -> None:
    scenes = sample_scenes(2, 0)
    one, two = np.array([[4.0, -1.0], [0.0, 1.0]]), np.eye(2)
    figure = figures.maps(scenes, {"covering": [one, two]}, ["cat", "key"])
    squares = figure.axes[0].patches
    assert [round(s.get_width() / squares[0].get_width(), 2) for s in squares[:4]] == [1, 0.5, 0, 0.5]
    assert [to_hex(s.get_facecolor()) for s in squares[:2]] == [figures.REWARD, figures.REFERENCE]
    assert "cat, covering: most at row 1, column 1 of 2" in figure.alt and figure.data()


def test_a_map_for_each_scene_is_asked_for() -> None:
    with pytest.raises(ValueError, match="a map in each row"):
        figures.maps(sample_scenes(2, 0), {"covering": [np.eye(2)]}, ["cat", "key"])
