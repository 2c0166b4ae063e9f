"""The figure of right and wrong answers: bars are shares, and the number is that of all pairs."""

import numpy as np
import pytest

from mmbook import figures


def test_bars_are_the_shares_of_right_and_of_wrong_answers() -> None:
    x, right = np.array([0.1, 0.9, 0.9, 1.0, 0.1]), np.array([0, 1, 1, 1, 1], bool)
    figure = figures.separation({"BLEU": x, "coin": np.full(5, 0.5)}, right, bins=10)
    above, below = np.split(np.array([p.get_height() for p in figure.axes[0].patches]), 2)
    np.testing.assert_allclose(above, [0, 0.25, 0, 0, 0, 0, 0, 0, 0, 0.75])
    np.testing.assert_allclose(below, [0, -1, 0, 0, 0, 0, 0, 0, 0, 0])
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == ["BLEU: ranks 88% right", "coin: ranks 50% right"]  # three pairs and a half of four
    assert "coin ranks 50%" in figure.alt and figure.data()


def test_nothing_to_tell_apart_is_refused() -> None:
    with pytest.raises(ValueError, match="some of"):
        figures.separation({"BLEU": np.ones(3)}, np.ones(3, bool))
