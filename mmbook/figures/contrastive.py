"""Figures of pictures and texts in one space: who fits whom, what was retrieved, where the two kinds lie."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mmbook.figures.style import INK, POLICY, REFERENCE, REWARD, TRUTH, WIDTH, Drawing, drawing


def score_table(pictures: np.ndarray, texts: Sequence[str], p: Any) -> Drawing:
    """Pictures, uint8 (B, H, W, 3), above and texts at the left; each cell has its probability p (B, K).

    Raises ValueError when p does not fit.
    """
    p, count = np.asarray(p, float), (len(pictures), len(texts))
    if p.shape != count:
        raise ValueError(f"p: expected shape {count}, a row for each picture, got {p.shape}")
    room = 0.1 + 0.073 * max(map(len, texts))  # inches for the texts
    side = min(0.6, (WIDTH - room) / count[0])
    said = ", ".join(f"picture {i + 1}: {texts[row.argmax()]} {row.max():.2f}" for i, row in enumerate(p))
    height, width = side + 0.3 * count[1], room + side * count[0]
    with drawing(height, f"Most likely text of each picture: {said}", "png", width) as figure:
        low = 0.3 * count[1] / height
        table = figure.add_axes((room / width, 0, side * count[0] / width, low))
        table.imshow(p.T, cmap="Oranges", vmin=0, vmax=1.3, aspect="auto")
        for i, k in np.ndindex(*count):
            table.text(
                i, k, f"{p[i, k]:.2f}".replace("0.", ".", 1), ha="center", va="center", color="#111", size=8.5
            )
        table.set(xticks=[], yticks=range(count[1]), yticklabels=list(texts))
        table.tick_params(length=0, labelsize=8.5)
        for i, picture in enumerate(pictures):
            box = ((room + side * (i + 0.06)) / width, low, side * 0.88 / width, 1 - low)
            axes = figure.add_axes(box)
            axes.imshow(picture, aspect="auto", interpolation="none")
            axes.set_axis_off()
    return figure


def retrieved(
    pictures: np.ndarray, names: Sequence[Sequence[str]], right: Sequence[str], columns: int = 4
) -> Drawing:
    """Pictures, uint8 (N, H, W, 3), with the best names of each, best first; the right one is green and bold.

    Under names that are all wrong the right one stands in brackets. Raises ValueError when there are not as
    many of each.
    """
    if not len(pictures) == len(names) == len(right):
        raise ValueError(
            "pictures, names, right: expected as many of each, got "
            f"{len(pictures)}, {len(names)}, {len(right)}"
        )
    lines = max(map(len, names)) + 1
    rows, cell, picture = -(-len(pictures) // columns), WIDTH / columns, 0.75
    high = picture + 0.19 * lines + 0.12
    said = "; ".join(f"{r}: {', '.join(n)}" for n, r in zip(names, right, strict=True))
    with drawing(rows * high, f"Best names of pictures. {said}", "png") as figure:
        for i, (image, best, truth) in enumerate(zip(pictures, names, right, strict=True)):
            left, top = i % columns * cell / WIDTH, 1 - i // columns / rows
            axes = figure.add_axes(
                (left, top - picture / (rows * high), picture / WIDTH, picture / (rows * high))
            )
            axes.imshow(image, aspect="auto")
            axes.set_axis_off()
            shown = [(name, name == truth) for name in best]
            shown += [] if truth in best else [(f"({truth})", False)]
            for line, (name, is_right) in enumerate(shown):
                y = top - (picture + 0.02 + 0.19 * line) / (rows * high)
                name = name if len(name) < 18 else name[:16] + "…"
                style: dict[str, Any] = {"color": TRUTH, "weight": "bold"} if is_right else {}
                figure.text(left, y, name, size=8, va="top", **style)
    return figure


def sphere(u: Any, v: Any, title: str = "") -> Drawing:
    """Directions of partners u, v (B, D), seen along the gap between them: pictures blue, texts orange.

    The horizontal axis points from the mean of the texts to that of the pictures, the vertical one is the
    direction at right angles to it in which all of them differ most. Raises ValueError for other shapes.
    """
    u, v = np.asarray(u, float), np.asarray(v, float)
    if u.shape != v.shape or u.ndim != 2:
        raise ValueError(f"u, v: expected two equal shapes (B, D), got {u.shape}, {v.shape}")
    u, v = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (u, v))
    across = u.mean(0) - v.mean(0)
    across = across / np.linalg.norm(across)
    rest = np.concatenate([u, v]) - np.concatenate([u, v]).mean(0)
    rest = rest - np.outer(rest @ across, across)
    up = np.linalg.svd(rest, full_matrices=False)[2][0]
    gap = float(np.linalg.norm(u.mean(0) - v.mean(0)))
    with drawing(2.6, f"{title or 'The space'}: {len(u)} partners, gap {gap:.2f}") as figure:
        axes = figure.add_subplot()
        for a, b in zip(u, v, strict=True):
            axes.plot([a @ across, b @ across], [a @ up, b @ up], color=REFERENCE, linewidth=0.4, alpha=0.6)
        sides = ((u, POLICY, "pictures", "right"), (v, REWARD, "texts", "left"))
        for points, colour, name, side in sides:
            axes.plot(points @ across, points @ up, "o", color=colour, markersize=3.5)
            axes.text(side == "right", 1.02, name, color=colour, ha=side, transform=axes.transAxes)
        axes.set(xlabel="from texts to pictures", ylabel="across", xlim=(-1, 1), ylim=(-1, 1))
        axes.set_title(f"{title} (gap {gap:.2f})" if title else "", size=10.5, color=INK, pad=18)
    return figure
