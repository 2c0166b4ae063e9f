"""Figures of painted pictures: rows of them, each with its name, and what was asked for above."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import fill

import numpy as np

from mmbook.figures.style import INK, WIDTH, Drawing, canvas, drawing

MARGIN, GAP, LINE = 62.0, 6.0, 11.0  # points: room for the names of rows, between pictures, of a line of text


def gallery(rows: Mapping[str, np.ndarray], captions: Sequence[str] | None = None) -> Drawing:
    """Pictures uint8 (N, 48, 48, 3) in one row for each name, with what was asked for above each column.

    Raises ValueError for rows of different lengths, or not one caption for each column.
    """
    counts = {name: len(pictures) for name, pictures in rows.items()}
    if (
        not any(counts.values())
        or len(set(counts.values())) > 1
        or (captions is not None and len(captions) not in counts.values())
    ):
        asked = None if captions is None else len(captions)
        raise ValueError(f"rows: expected equally many pictures in each, and captions, got {counts}, {asked}")
    n = next(iter(counts.values()))
    side = min(86.4, (WIDTH * 72 - MARGIN) / n - GAP)
    texts = [fill(text, max(8, int(side / 4.6))) for text in captions or ()]
    head = LINE * max((text.count("\n") + 1.4 for text in texts), default=0)
    height = head + len(rows) * (side + GAP) + 2
    said = f"Pictures in rows: {', '.join(rows)}" + (
        f"; asked for: {' | '.join(captions)}" if captions else ""
    )
    with drawing(height / 72, said, "png") as figure:
        axes = canvas(figure)
        for j, text in enumerate(texts):
            x = MARGIN + j * (side + GAP)
            axes.text(x, head - 3, text, size=8, color=INK, va="bottom", linespacing=1.15)
        for i, (name, pictures) in enumerate(rows.items()):
            y = head + i * (side + GAP)
            axes.text(0, y + side / 2, fill(name, 11), size=9, color=INK, va="center")
            for j, picture in enumerate(pictures):
                x = MARGIN + j * (side + GAP)
                axes.imshow(picture, extent=(x, x + side, y + side, y), aspect="auto", interpolation="none")
        axes.set(xlim=(0, WIDTH * 72), ylim=(height, 0))
    return figure
