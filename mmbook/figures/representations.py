"""Figures of what becomes of words and sounds on their way into a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mmbook.figures.style import INK, POLICY, REFERENCE, REWARD, TRUTH, Drawing, drawing


def word_map(places: Mapping[str, Sequence[Any]], groups: Mapping[str, Sequence[str]]) -> Drawing:
    """Words, each at its place (x, y), in the colour of its group.

    Raises ValueError for more than four groups, KeyError for a word without a place.
    """
    if len(groups) > 4:
        raise ValueError(f"groups: expected at most 4, a colour for each, got {len(groups)}")
    said = "; ".join(f"{name}: {', '.join(words)}" for name, words in groups.items())
    with drawing(3.4, f"Words on a map. {said}") as figure:
        axes = figure.add_subplot()
        for (name, words), colour in zip(groups.items(), (POLICY, REWARD, TRUTH, REFERENCE), strict=False):
            x = np.array([places[word] for word in words], float)
            axes.plot(*x.T, "o", color=colour, markersize=4, label=name)
            for word, at in zip(words, x, strict=True):
                axes.annotate(word, at, (4, 2), textcoords="offset points", size=8, color=colour)
        axes.set(xticks=[], yticks=[])
        axes.margins(0.14)
        figure.legend(loc="outside lower center", ncols=4, frameon=False, labelcolor=INK)
    return figure


def sound_views(views: Mapping[str, Sequence[Any]], seconds: float) -> Drawing:
    """Sounds, one below the other, by name, each as a row of views: waves (S,) or pictures (T, bands)."""
    count = len(next(iter(views.values())))
    said = f"{', '.join(views)}: {count} views of each, {seconds:.2g} seconds from left to right"
    with drawing(1.15 * len(views) + 0.3, said, "png") as figure:
        table = figure.subplots(len(views), count, squeeze=False)
        figure.subplots_adjust(0.09, 0.05, 0.995, 0.99, 0.06, 0.12)
        for row, (name, shown) in zip(table, views.items(), strict=True):
            row[0].set_ylabel(name)
            for axes, view in zip(row, shown, strict=True):
                x = np.asarray(view, float)
                if x.ndim == 1:
                    axes.plot(x, color=POLICY, linewidth=0.3)
                else:
                    axes.imshow(x.T, origin="lower", aspect="auto", cmap="Greys_r")
                axes.set(xticks=[], yticks=[])
    return figure
