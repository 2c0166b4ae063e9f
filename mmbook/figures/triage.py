"""Figures of triage: what a case looks like, sounds like and says."""

from __future__ import annotations

from collections.abc import Sequence

from mmbook.figures.style import INK, POLICY, REFERENCE, TRUTH, Drawing, drawing
from mmbook.world.triage import FINDINGS, URGENCY, Cases


def cases(data: Cases, rows: Sequence[int]) -> Drawing:
    """Some cases: the scan, the wave of the pulse, the note, what they show, and the urgency."""
    note = {row: f"“{data.sentence(row)}”" if data.present[row, 2] else "missing" for row in rows}
    said = [f"note {note[row]}, {URGENCY[data.label[row]]}" for row in rows]
    with drawing(0.95 * len(rows), f"Invented cases: {'; '.join(said)}", "png", 6.0) as figure:
        for i, row in enumerate(rows):
            bottom, tall = 1 - (i + 0.93) / len(rows), 0.86 / len(rows)
            scan = figure.add_axes((0.0, bottom, 0.14, tall))
            pulse = figure.add_axes((0.16, bottom, 0.25, tall))
            there = data.present[row]
            if there[0]:
                scan.imshow(data.scan[row])
            if there[1]:
                pulse.plot(data.wave[row], color=POLICY, linewidth=0.9)
            for axes, seen in ((scan, there[0]), (pulse, there[1])):
                axes.set(xticks=[], yticks=[])
                axes.spines[:].set_visible(False)
                if not seen:
                    axes.text(0.5, 0.5, "missing", ha="center", transform=axes.transAxes, color=REFERENCE)
            shown = [
                names[data.findings[row, j]] if there[j] else "–" for j, names in enumerate(FINDINGS.values())
            ]
            middle, colour = bottom + tall / 2, INK if there[2] else REFERENCE
            figure.text(0.43, middle + 0.12 / len(rows), note[row], va="center", size=10, color=colour)
            figure.text(0.43, middle - 0.2 / len(rows), ", ".join(shown), va="center", size=9)
            figure.text(0.99, middle - 0.2 / len(rows), URGENCY[data.label[row]], va="center", ha="right",
                        weight="bold", color=TRUTH)  # fmt: skip
    return figure
