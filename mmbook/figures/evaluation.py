"""Figures of evaluation: what a score gives to right answers, and what to wrong ones."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mmbook.figures.style import INK, REFERENCE, TRUTH, Drawing, drawing


def separation(scores: Mapping[str, np.ndarray], right: np.ndarray, bins: int = 24) -> Drawing:
    """Named scores (n,) of answers: above the line how many right ones got each, below how many wrong ones.

    The number of each panel is `ranked_right`. Raises ValueError where all answers are right, or none.
    """
    from mmbook.evaluate.text_metrics import ranked_right  # with a room that imports torch

    right = np.asarray(right, bool)
    shares = {name: ranked_right(x, right) for name, x in scores.items()}
    with drawing(1.05 * len(scores) + 0.5, "Scores of right answers above wrong ones:") as figure:
        panels = figure.subplots(len(scores), 1, sharex=True, squeeze=False)[:, 0]
        for axes, (name, x) in zip(panels, scores.items(), strict=True):
            edges = np.linspace(0, 1, bins + 1)
            for some, sign, colour in ((right, 1, TRUTH), (~right, -1, REFERENCE)):
                counts = np.histogram(np.asarray(x)[some], edges)[0] / some.sum()
                axes.bar(edges[:-1], sign * counts, 1 / bins, color=colour, align="edge")
            axes.axhline(0, color=INK, linewidth=0.8)
            axes.set_title(f"{name}: ranks {shares[name]:.0%} right", loc="left", size=10.5)
            axes.set(yticks=[], xlim=(0, 1))
            axes.spines["left"].set_visible(False)
            figure.alt += f" {name} ranks {shares[name]:.0%} of pairs of a right and a wrong one right;"
        panels[0].text(1.0, 0.98, "right", color=TRUTH, ha="right", va="top", transform=panels[0].transAxes)
        panels[0].text(1.0, 0.02, "wrong", color=REFERENCE, ha="right", transform=panels[0].transAxes)
        panels[-1].set_xlabel("score")
    return figure
