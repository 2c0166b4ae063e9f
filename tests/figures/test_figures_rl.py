"""Figures of learning from reward: the arrows, shades, curves and bars are those of the numbers."""

from __future__ import annotations

import io
from itertools import pairwise

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from mmbook import figures
from mmbook.figures import POLICY, REFERENCE, TRUTH
from mmbook.world.gridworld import gridworld

GRID = gridworld(("S.#", "..G"))
SURE = np.eye(4)[[1, 2, 1, 1, 0]]  # right, down, right, right; the last state has ended


def test_a_sure_policy_has_one_arrow_a_state_that_points_where_the_cat_goes():
    figure = figures.value_map(GRID, [0.5, 0.25, -0.07, 1.5, 0], SURE)
    notes = [t for t in figure.axes[0].texts if hasattr(t, "xyann") and t.arrow_patch is not None]
    steps = [tuple(np.sign(np.round(np.subtract(t.xy, t.xyann), 9)).astype(int)) for t in notes]
    assert steps == [(1, 0), (0, 1), (1, 0), (1, 0)]
    half = figures.value_map(GRID, np.zeros(5), np.full((5, 4), [0.5, 0.5, 0, 0]))
    assert len([t for t in half.axes[0].texts if hasattr(t, "xyann")]) == 8


def test_arrows_are_as_long_as_the_action_is_likely():
    pi = np.full((5, 4), [0.25, 0.25, 0, 0.5])
    tips = [t.xy for t in figures.value_map(GRID, np.zeros(5), pi).axes[0].texts if hasattr(t, "xyann")][:3]
    reach = [np.abs(np.subtract(tip, (0, 0.13))).max() for tip in tips]
    assert reach[0] == pytest.approx(reach[1]) and reach[2] == pytest.approx(2 * reach[0])


def test_numbers_are_short_and_shades_follow_the_value():
    figure = figures.value_map(GRID, [0.534, -0.071, 0.0, 12.3, 9.0])
    assert [t.get_text() for t in figure.axes[0].texts] == [".53", "−.07", "0", "12"]
    assert "row 1 column 1 12.30" in figure.alt and "column 2" not in figure.alt
    red = [patch.get_facecolor()[2] for patch in figures.value_map(GRID, [1, 0.5, 0, -1, 0]).axes[0].patches]
    filled = [red[i] for i in (0, 2, 3, 4)]  # the second patch is the frame of the start
    assert filled[0] < filled[1] < filled[2] and filled[3] < filled[2]
    bad = figures.value_map(GRID, [-1, -1, -1, -1, 0]).axes[0].patches[0].get_facecolor()[:3]
    good = figures.value_map(GRID, [1, 1, 1, 1, 0]).axes[0].patches[0].get_facecolor()[:3]
    assert np.ptp(good) > 3 * np.ptp(bad)


def test_a_limit_keeps_pictures_comparable():
    def shade(value, limit):
        return figures.value_map(GRID, [value] * 5, limit=limit).axes[0].patches[0].get_facecolor()

    assert shade(0.5, None) == shade(1.0, None) and shade(0.5, 1.0) != shade(1.0, 1.0)


def test_the_map_is_as_wide_as_its_cells_and_marks_start_and_agent():
    figure = figures.value_map(GRID, np.zeros(5), agent=1)
    frames = [tuple(p.get_edgecolor()[:3]) for p in figure.axes[0].patches if not p.get_fill()]
    assert frames == [to_rgb(TRUTH), to_rgb(POLICY)]
    assert Image.open(io.BytesIO(figure.data())).size == (450, 300)
    rooms = gridworld("rooms")
    wide = figures.value_map(rooms, np.zeros(len(rooms.cells)), title="slip 0.2")
    assert Image.open(io.BytesIO(wide.data())).width == 1000


def test_curves_have_a_thin_line_a_seed_and_their_mean_with_its_name():
    Y = np.array([[1.0, 2, np.nan], [3.0, 4, np.nan]])
    lines = {"ours": ([1, 10, 100], Y), "theirs": ([1, 10], [5, 6])}
    figure = figures.curves(lines, "steps", "return", reference={"exact": 7.0}, colours={"theirs": REFERENCE})
    axes = figure.axes[0]
    assert [list(line.get_ydata()) for line in axes.lines] == [[1, 2], [3, 4], [2, 3], [5, 6], [7, 7]]
    assert axes.lines[3].get_color() == REFERENCE == axes.lines[4].get_color()
    assert {t.get_text(): t.get_color() for t in axes.texts} == {
        "ours": POLICY,
        "theirs": REFERENCE,
        "exact": REFERENCE,
    }
    assert "ours from 2 at 1 to 3 at 10" in figure.alt and "exact 7" in figure.alt
    assert axes.get_xscale() == "linear"
    assert figures.curves(lines, "steps", "return", log="xy").axes[0].get_yscale() == "log"
    shaded = figures.curves({"a": ([1, 2], [5, 6])}, "x", "y", bands={"a": ([4, 5], [7, 8])})
    (band,) = shaded.axes[0].collections
    assert {tuple(p) for p in band.get_paths()[0].vertices} == {(1, 4), (1, 7), (2, 5), (2, 8)}


@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
def test_names_do_not_lie_on_each_other(level):
    lines = {f"method {i}": ([0, 1], [0.5 * i / 6, level + i * 1e-3]) for i in range(6)}
    figure = figures.curves(lines, "steps", "return")
    figure.data()
    boxes = sorted((t.get_window_extent().y0, t.get_window_extent().y1) for t in figure.axes[0].texts)
    assert all(low[1] <= high[0] + 1 for low, high in pairwise(boxes))
    assert boxes[0][0] >= 0 and boxes[-1][1] <= figure.bbox.height


def test_binned_is_the_mean_of_the_episodes_that_ended_in_each_stretch():
    runs = [np.array([(5, 1.0), (10, 3.0), (40, 8.0)]), np.array([(25, 2.0), (35, 4.0)])]
    x, Y = figures.binned(runs, points=4)
    assert list(x) == [10, 20, 30, 40]
    np.testing.assert_equal(Y, [[2, 2, 2, 8], [np.nan, np.nan, 2, 4]])


def test_bars_are_as_long_as_the_mean():
    figure = figures.bars(
        {"ours": [1.0, 3.0], "theirs": 5.0},
        "return",
        colours={"theirs": REFERENCE},
        reference={"exact": 4.0},
        intervals={"ours": (0.5, 3.5)},
    )
    axes = figure.axes[0]
    assert [bar.get_width() for bar in axes.patches] == [2, 5]
    assert to_rgb(axes.patches[1].get_facecolor()[:3]) == to_rgb(REFERENCE)
    assert [t.get_text() for t in axes.texts] == ["2", "5", "exact"]
    assert [0.5, 3.5] in [list(line.get_xdata()) for line in axes.lines]
    assert figure.alt == "Bars of return: ours 2, theirs 5, exact 4"


@pytest.mark.parametrize(
    ("draw", "says"),
    [
        (lambda: figures.value_map(GRID, np.zeros(4)), r"V: expected shape \(5,\), got \(4,\)"),
        (lambda: figures.value_map(GRID, np.zeros(5), np.ones((5, 3))), r"pi: expected shape \(5, 4\)"),
        (lambda: figures.curves({"a": ([1, 2], [1, 2, 3])}, "x", "y"), "a: expected 2 values .* got 3"),
    ],
)
def test_errors_say_what_was_expected_of_the_numbers(draw, says):
    with pytest.raises(ValueError, match=says):
        draw()


def test_a_run_in_which_no_episode_ended_is_named():
    with pytest.raises(ValueError, match=r"got none in \[1\]"):
        figures.binned([[(10, 1.0)], []])
