"""Figures of learning from people: the lines are those of the rows."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from mmbook import figures
from mmbook.figures import POLICY, REWARD, TRUTH


def run(setting: str, seeds: int = 2, length: int = 4) -> list[dict]:
    rows = [
        {"setting": setting, "seed": s, "kl": i * (1 + s), "gold": i - i * i / 4, "proxy": i + s}
        for i in range(length)
        for s in range(seeds)
    ]
    return rows


def test_gold_and_proxy_stand_in_a_panel_for_each_name():
    figure = figures.against_kl(run("50 labels") + run("200 labels", 1), "setting")
    assert [axes.get_title() for axes in figure.axes] == ["50 labels", "200 labels"]
    lines = figure.axes[0].lines
    assert [to_rgb(line.get_color()) for line in lines] == [to_rgb(c) for c in [TRUTH] * 3 + [REWARD] * 3]
    np.testing.assert_allclose(lines[2].get_xydata(), [(0, 0), (1.5, 0.75), (3, 1), (4.5, 0.75)])
    np.testing.assert_allclose(lines[5].get_ydata(), [0.5, 1.5, 2.5, 3.5])
    assert lines[2].get_linewidth() > 2 * lines[0].get_linewidth()
    assert len(figure.axes[1].lines) == 2
    assert "50 labels, gold from 0.00 at 0 to 1.00 at most and 0.75 at 4.5 nats" in figure.alt


def test_methods_share_one_panel_and_a_bound_is_dashed():
    rows = run("PPO") + run("best of n", 1)
    figure = figures.against_kl(rows, "setting", "gold", ["gold"], ["best of n"], {"PPO": POLICY})
    (axes,) = figure.axes
    assert figure.get_supylabel() == "gold" and {t.get_text() for t in axes.texts} == {"PPO", "best of n"}
    assert [line.get_linestyle() for line in axes.lines] == ["-", "-", "-", "--"]
    assert [line.get_marker() for line in axes.lines][2:] == ["", "<"]
    assert to_rgb(axes.lines[2].get_color()) == to_rgb(POLICY)


def test_without_rows_the_picture_is_empty_and_uneven_seeds_are_named():
    figure = figures.against_kl([], "setting")
    assert len(figure.axes) == 1 and not figure.axes[0].lines and figure.data()
    uneven = run("50 labels")[:-1]
    with pytest.raises(
        ValueError, match=r"50 labels: expected equally many rows for each seed, got {0: 4, 1: 3}"
    ):
        figures.against_kl(uneven, "setting")
