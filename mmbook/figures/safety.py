"""Figures of explanations: pictures with what each part of them did for a word."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.patches import Rectangle

from mmbook.figures.style import REFERENCE, REWARD, WIDTH, Drawing, canvas, drawing
from mmbook.world import Scene, render

SIDE, GAP, HEAD = 72.0, 9.0, 20.0  # points


def maps(scenes: Sequence[Scene], rows: Mapping[str, Sequence[np.ndarray]], words: Sequence[str]) -> Drawing:
    """Scenes with a word above each; below, in named rows, maps (S, S) of what speaks for that word.

    The area of an orange square is what a part adds, as a share of the largest part of its map; grey squares
    take away. Raises ValueError unless every row has a map for each scene.
    """
    if not len(scenes) or any(len(row) != len(scenes) for row in (words, *rows.values())):
        raise ValueError(f"rows: expected a word and a map in each row for each of {len(scenes)} scenes")
    width = max(len(scenes) * (SIDE + GAP) - GAP, WIDTH * 72)
    height = HEAD + SIDE + len(rows) * (SIDE + HEAD + GAP)
    said = []
    with drawing(height / 72, "", "png", width / 72) as figure:
        axes = canvas(figure)
        for i, (picture, word) in enumerate(zip(render(list(scenes), 240), words, strict=True)):
            x = i * (SIDE + GAP)
            axes.text(x, HEAD - 6, word, weight="bold", size=10.5)
            for r, (name, row) in enumerate([("", None), *rows.items()]):
                y = HEAD + r * (SIDE + HEAD + GAP)
                axes.imshow(
                    picture, extent=(x, x + SIDE, y + SIDE, y), aspect="auto", alpha=0.35 if name else 1
                )
                if row is None:
                    continue
                if i == 0:
                    axes.text(0, y - 6, name, size=10)
                cell, top = SIDE / len(row[i]), np.abs(row[i]).max() or 1.0
                for (a, b), v in np.ndenumerate(row[i]):
                    side = cell * 0.95 * np.sqrt(abs(v) / top)
                    corner = (x + (b + 0.5) * cell - side / 2, y + (a + 0.5) * cell - side / 2)
                    axes.add_patch(Rectangle(corner, side, side, color=REWARD if v > 0 else REFERENCE, lw=0))
                a, b = np.unravel_index(np.argmax(row[i]), row[i].shape)
                said.append(f"{word}, {name}: most at row {a + 1}, column {b + 1} of {len(row[i])}")
        axes.set(xlim=(0, width), ylim=(height, 0))
        figure.alt = "Pictures with maps of what speaks for a word. " + "; ".join(said)
    return figure
