"""The figures of the book: each takes data and never runs a model.

In a chapter each shows itself. `python -m mmbook figure <name> [<path>]` draws any of the book again, and
`--list` names them: mmbook/publishing/chapter_figures.py.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mmbook.figures.clicks import click_rewards
from mmbook.figures.contrastive import retrieved, score_table, sphere
from mmbook.figures.diagrams import ALT, loop
from mmbook.figures.evaluation import separation
from mmbook.figures.live import explore, frames, watch
from mmbook.figures.outlook import mixtures
from mmbook.figures.pictures import before_after, scenes, wrong_words
from mmbook.figures.plots import history, scores, styles, words
from mmbook.figures.rl import bars, binned, curves, value_map
from mmbook.figures.rlhf import against_kl
from mmbook.figures.safety import maps
from mmbook.figures.scaling import roofline
from mmbook.figures.style import INK, POLICY, REFERENCE, REWARD, TRUTH, Drawing

FIGURES: dict[str, Callable[..., Drawing | str]] = {
    "loop": loop,
    "before-after": before_after,
    "scenes": scenes,
    "styles": styles,
    "history": history,
    "scores": scores,
    "words": words,
    "value-map": value_map,
    "curves": curves,
    "bars": bars,
    "against-kl": against_kl,
}

# The committed pictures of book/static, with the files of the checkout that each is drawn from.
COMMITTED: dict[str, tuple[str, ...]] = {"loop": (), "before-after": ("benchmarks/results/captions.json",)}

__all__ = [
    "COMMITTED", "FIGURES", "INK", "POLICY", "REFERENCE", "REWARD", "TRUTH", "Drawing", "against_kl", "alt",
    "bars", "before_after", "binned", "click_rewards", "curves", "explore", "frames", "history", "loop",
    "maps", "mixtures", "retrieved", "roofline", "save", "scenes", "score_table", "scores", "separation",
    "sphere", "styles", "value_map", "watch", "words", "wrong_words",
]  # fmt: skip


def alt(figure: Drawing | str) -> str:
    """The alt text of a figure: what it shows, in words and numbers."""
    return ALT if isinstance(figure, str) else figure.alt


def save(name: str, path: str | Path, *data: Any, **named: Any) -> Path:
    """Draw the figure `name` from its data into an .svg or .png file; the same data give the same bytes.

    Raises ValueError for a name or file ending that does not exist, or when data are missing.
    """
    path = Path(path)
    if name not in FIGURES:
        raise ValueError(f"figure: expected one of {', '.join(FIGURES)}, got {name!r}")
    signature = inspect.signature(FIGURES[name])
    try:
        signature.bind(*data, **named)
    except TypeError as error:
        raise ValueError(f"figure {name!r} is drawn from data, {name}{signature}: {error}") from None
    figure = FIGURES[name](*data, **named)
    kind = "svg" if isinstance(figure, str) else figure.kind
    if path.suffix != f".{kind}":
        raise ValueError(f"path: the figure {name!r} is written as .{kind}, got {path.name!r}")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(figure.encode() if isinstance(figure, str) else figure.data())
    return path
