"""Figures of fusion: constructed people, what can be known from which modalities, and who reaches it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mmbook.figures.style import INK, POLICY, REFERENCE, REWARD, TRUTH, Drawing, drawing
from mmbook.world.sentiment import LABELS, SYMBOLS, Utterances


def people(data: Utterances, rows: Sequence[int]) -> Drawing:
    """Some utterances: the face, the voice as log-mel frames (time to the right), the words, the label."""
    said = [f"{data.sentence(row)!r}, {LABELS[data.label[row]]}" for row in rows]
    with drawing(0.95 * len(rows), f"People who say something: {'; '.join(said)}", "png", 6.0) as figure:
        for i, row in enumerate(rows):
            bottom, tall = 1 - (i + 0.93) / len(rows), 0.86 / len(rows)
            face, voice = (
                figure.add_axes((0.0, bottom, 0.14, tall)),
                figure.add_axes((0.17, bottom, 0.27, tall)),
            )
            face.imshow(data.face[row])
            voice.imshow(data.voice[row].T, origin="lower", aspect="auto", cmap="Greys_r")
            for axes in (face, voice):
                axes.set(xticks=[], yticks=[])
            shown = [names[data.symbols[row, j]] for j, names in enumerate(SYMBOLS.values())]
            middle = bottom + tall / 2
            figure.text(0.47, middle + 0.12 / len(rows), f"“{data.sentence(row)}”", va="center", size=10.5)
            figure.text(0.47, middle - 0.2 / len(rows), ", ".join(shown), va="center", size=9)
            figure.text(0.99, middle - 0.2 / len(rows), LABELS[data.label[row]], va="center", ha="right",
                        weight="bold", color=TRUTH)  # fmt: skip
    return figure


def ceilings(best: Mapping[str, Mapping[str, float]], additive: Mapping[str, float]) -> Drawing:
    """A panel for each setting: the best accuracy that each set of modalities allows, and the additive one.

    `best[setting]` maps names of sets to accuracies; `additive[setting]` is a dashed line.
    """
    said = [
        f"{s}: {', '.join(f'{n} {v:.3f}' for n, v in row.items())}, additive {additive[s]:.3f}"
        for s, row in best.items()
    ]
    lines = -(-len(best) // 2)
    with drawing(
        0.24 * max(map(len, best.values())) * lines + 0.8 * lines, f"Best accuracy. {'; '.join(said)}"
    ) as figure:
        panels = figure.subplots(lines, 2, sharex=True, sharey=True, squeeze=False).ravel()
        for axes, (setting, row) in zip(panels, best.items(), strict=False):
            axes.barh(range(len(row)), [v - 0.5 for v in row.values()], 0.62, left=0.5, color=TRUTH)
            for i, v in enumerate(row.values()):
                axes.text(1.07, i, f"{v:.2f}", va="center", ha="right", size=8.5)
            axes.axvline(additive[setting], color=REWARD, linestyle="--", linewidth=1.4)
            axes.set_title(setting, size=10.5, weight="bold", loc="left")
            axes.set(yticks=range(len(row)), yticklabels=list(row), xlim=(0.5, 1.08), xticks=[0.5, 0.75, 1])
            axes.tick_params(axis="y", length=0, labelsize=9)
        panels[0].invert_yaxis()
        figure.supxlabel("best accuracy (dashed: best sum of scores)", size=10)
    return figure


def against_ceiling(
    right: Mapping[str, Mapping[str, Any]],
    best: Mapping[str, float],
    additive: Mapping[str, float],
    columns: int = 2,
) -> Drawing:
    """A panel for each setting: right answers of each fusion (dots are seeds), below what can be known.

    `right[setting][fusion]` is a number or one for each seed; green is `best`, dashed orange `additive`.
    Without settings the picture is empty.
    """
    lines = -(-len(right) // columns) or 1
    height = 0.24 * max(map(len, right.values()), default=4) * lines + 0.75 * lines + 0.2
    with drawing(height, "Right answers:") as figure:
        panels = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False).ravel()
        for axes, (setting, rows) in zip(panels, right.items(), strict=False):
            for i, (name, seeds) in enumerate(rows.items()):
                y = np.atleast_1d(np.asarray(seeds, float))
                axes.plot([0.5, y.mean()], [i, i], color=INK, linewidth=0.6, alpha=0.5, zorder=0)
                axes.plot(y, np.full(len(y), i), "o", color=REFERENCE, markersize=3, alpha=0.6)
                axes.plot(y.mean(), i, "D", color=POLICY, markersize=6)
                figure.alt += f" {setting}, {name} {y.mean():.3f};"
            axes.axvline(best[setting], color=TRUTH, linewidth=1.8)
            axes.axvline(additive[setting], color=REWARD, linestyle="--", linewidth=1.4)
            figure.alt += f" {setting}, best possible {best[setting]:.3f}, best sum {additive[setting]:.3f};"
            axes.set_title(setting, size=10.5, weight="bold", loc="left")
            axes.set(yticks=range(len(rows)), yticklabels=list(rows), xlim=(0.45, 1.0))
            axes.tick_params(axis="y", length=0, labelsize=9)
        panels[0].invert_yaxis()
        figure.supxlabel("right (green: best possible, dashed: best sum)", size=10)
    return figure
