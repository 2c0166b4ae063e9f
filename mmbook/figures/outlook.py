"""Figures of the outlook: mixtures of three actions as points of a triangle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mmbook.figures.style import INK, POLICY, REFERENCE, TRUTH, Drawing, drawing

CORNERS = np.array([(0.0, 0.0), (1.0, 0.0), (0.5, 0.75**0.5)])


def mixtures(
    paths: Mapping[str, Any], names: Sequence[str], target: Any, colours: Sequence[str] = (POLICY, REFERENCE)
) -> Drawing:
    """Named paths (n, 3) of mixtures of three actions, side by side; each corner is one action alone.

    A ring is where a path begins, a dot where it ends, a cross the target (3,). Raises ValueError for rows
    that are no mixtures.
    """
    said = ", ".join(f"{name} {x:.2f}" for name, x in zip(names, np.asarray(target), strict=True))
    with drawing(2.8, f"Mixtures of {', '.join(names)}; the cross is at {said}.") as figure:
        panels = figure.subplots(1, len(paths), squeeze=False)[0]
        for axes, (title, path), colour in zip(panels, paths.items(), colours, strict=False):
            path = np.asarray(path, float)
            if path.shape[1:] != (3,) or (path < -1e-9).any() or not np.allclose(path.sum(1), 1):
                raise ValueError(f"{title}: expected mixtures (n, 3) that sum to 1, got shape {path.shape}")
            at = path @ CORNERS
            axes.fill(*CORNERS.T, fill=False, edgecolor=INK, linewidth=0.8)
            axes.plot(*at.T, color=colour, linewidth=1.1)
            axes.plot(*at[0], "o", color=colour, fillstyle="none")
            axes.plot(*at[-1], "o", color=colour)
            axes.plot(*(np.asarray(target) @ CORNERS), "+", color=TRUTH, markersize=13, markeredgewidth=2.5)
            for name, (x, y) in zip(names, CORNERS, strict=True):
                axes.text(x, y + (0.04 if y else -0.05), name, ha="center", va="bottom" if y else "top")
            axes.set(aspect="equal", xlim=(-0.12, 1.12), ylim=(-0.42, 1.02))
            axes.set_axis_off()
            axes.text(0.5, -0.24, title, ha="center", va="top", color=colour, weight="bold", size=10)
            end = ", ".join(f"{x:.2f}" for x in path[-1])
            figure.alt += f" {title} ends at {end}."
    return figure
