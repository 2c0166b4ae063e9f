"""One look for all figures: the palette, the figure class, and how a figure becomes a file."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Each colour means one thing in the whole book. White text is readable on all four, they stand out from a
# dark page, and they differ for readers with any of the three colour deficiencies.
POLICY, REFERENCE, REWARD, TRUTH = "#0b6fb3", "#6b6f76", "#b55a0a", "#17794a"
INK = "#7b7b7b"  # text and axes: equally readable on a white and on a dark page
WIDTH = 5.0  # inches; narrow, so that text is still readable when a phone shrinks it
DPI = 200  # of pictures

_RC: Any = {
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same letters on every machine
    "font.size": 10.5,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "lines.linewidth": 2.0,
    "svg.hashsalt": "mmbook",
    "svg.fonttype": "none",
}


class Drawing(Figure):
    """A matplotlib figure that shows itself in a notebook, without pyplot, at its own size."""

    kind = "svg"  # "png" for a figure with pictures in it
    alt = ""

    def data(self, kind: str = "", dpi: int = DPI) -> bytes:
        """The file, "svg" or "png": the same figure always gives the same bytes."""
        file, kind = io.BytesIO(), kind or self.kind
        nothing = {"Date": None, "Creator": None} if kind == "svg" else {"Software": None}
        with mpl.rc_context(_RC):
            self.savefig(file, format=kind, dpi=dpi, metadata=nothing)
        return file.getvalue()

    def _repr_mimebundle_(self, **_: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        if self.kind == "svg":
            return {"image/svg+xml": self.data().decode(), "text/plain": self.alt}, {}
        size = {"width": round(self.get_figwidth() * 96)}
        return {"image/png": self.data(), "text/plain": self.alt}, {"image/png": size}


@contextmanager
def drawing(height: float, alt: str, kind: str = "svg", width: float = WIDTH) -> Iterator[Drawing]:
    """A new figure of `width` x `height` inches, in the book's style while the block runs."""
    with mpl.rc_context(_RC):
        figure = Drawing(figsize=(width, height), layout="constrained" if kind == "svg" else None)
        figure.kind, figure.alt = kind, alt
        yield figure


def canvas(figure: Figure) -> Axes:
    """Axes over the whole figure, in points (1/72 inch) from its top left corner."""
    width, height = figure.get_size_inches() * 72
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.set_axis_off()
    return axes
