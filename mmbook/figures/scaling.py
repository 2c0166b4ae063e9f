"""Figures of speed: where the work of a model lies below what a machine can do."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mmbook.figures.rl import COLOURS
from mmbook.figures.style import REFERENCE, Drawing, drawing


def roofline(points: Mapping[str, Mapping[str, tuple[float, float]]], C: float, w: float) -> Drawing:
    """Kinds of work, each with named points (operations a byte, operations a second), below the roof.

    The roof has ceilings of C operations and w bytes a second. Raises ValueError for a point that is not
    positive.
    """
    all_points = [point for group in points.values() for point in group.values()]
    if not all_points or min(map(min, all_points)) <= 0:
        raise ValueError(f"points: expected one or more, positive in both directions, got {all_points}")
    x = np.geomspace(min(p[0] for p in all_points) / 2, max(C / w, *(p[0] for p in all_points)) * 2, 200)
    said = f"Roofline with ceilings {C:.3g} operations and {w:.3g} bytes a second:"
    with drawing(3.2, said) as figure:
        axes = figure.add_subplot()
        axes.loglog(x, np.minimum(x * w, C), color=REFERENCE)
        axes.axvline(C / w, color=REFERENCE, linewidth=1, linestyle=":")
        for i, (kind, group) in enumerate(points.items()):
            colour = COLOURS[i % 3]
            axes.plot(*zip(*group.values(), strict=True), "o-", color=colour, linewidth=1, markersize=5)
            for name, point in group.items():
                axes.annotate(
                    f"{kind} {name}".strip(),
                    point,
                    (5, -11),
                    textcoords="offset points",
                    size=8,
                    color=colour,
                )
                figure.alt += f" {kind} {name} {point[1]:.3g} at {point[0]:.3g};"
        axes.set(xlabel="operations a byte", ylabel="operations a second")
    return figure
