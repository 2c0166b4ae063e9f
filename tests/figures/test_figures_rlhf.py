"""Figures of learning from people: the lines are those of the rows."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from mmbook import figures
from mmbook.figures import POLICY, REWARD, TRUTH

RUN = [[{"kl": i * (1 + s), "gold": i - i * i / 4, "proxy": i + s} for i in range(4)] for s in range(2)]


def test_gold_and_proxy_stand_in_a_panel_for_each_name():
    figure = figures.against_kl({"50 labels": RUN, "200 labels": RUN[:1]})
    assert [axes.get_title() for axes in figure.axes] == ["50 labels", "200 labels"]
    lines = figure.axes[0].lines
    assert [to_rgb(line.get_color()) for line in lines] == [to_rgb(c) for c in [TRUTH] * 3 + [REWARD] * 3]
    np.testing.assert_allclose(lines[2].get_xydata(), [(0, 0), (1.5, 0.75), (3, 1), (4.5, 0.75)])
    np.testing.assert_allclose(lines[5].get_ydata(), [0.5, 1.5, 2.5, 3.5])
    assert lines[2].get_linewidth() > 2 * lines[0].get_linewidth()
    assert len(figure.axes[1].lines) == 2
    assert "50 labels, gold from 0.00 at 0 to 1.00 at most and 0.75 at 4.5 nats" in figure.alt


def test_methods_share_one_panel_and_a_bound_is_dashed():
    figure = figures.against_kl(
        {"PPO": RUN, "best of n": RUN[:1]},
        "gold",
        show=["gold"],
        bounds=["best of n"],
        colours={"PPO": POLICY},
    )
    (axes,) = figure.axes
    assert figure.get_supylabel() == "gold" and {t.get_text() for t in axes.texts} == {"PPO", "best of n"}
    assert [line.get_linestyle() for line in axes.lines] == ["-", "-", "-", "--"]
    assert [line.get_marker() for line in axes.lines][2:] == ["", "<"]
    assert to_rgb(axes.lines[2].get_color()) == to_rgb(POLICY)


def test_runs_that_cannot_be_averaged_are_named():
    with pytest.raises(ValueError, match=r"50 labels: expected seeds with equally many rows, got \[4, 3\]"):
        figures.against_kl({"50 labels": [RUN[0], RUN[1][:3]]})
    with pytest.raises(ValueError, match="runs: expected one or more, got none"):
        figures.against_kl({})
