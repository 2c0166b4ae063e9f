"""Figures with sticker scenes in them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

from mmbook.figures.style import INK, POLICY, REFERENCE, WIDTH, Drawing, canvas, drawing
from mmbook.world import KINDS, Scene, SceneBatch, check, normalise, render

SIZE, LEADING = 10.5, 15.0  # points: letters and lines
PICTURE = 86.4  # points: 240 pixels at 200 dots an inch, so that no pixel of a scene is blurred
GAP = 12.0
_CLOSE = {".", ",", "!"}  # written without a space before them
_RELATIONS = {"left", "right", "of", "above", "below"}


def wrong_words(caption: str, scene: Scene) -> set[int]:
    """Which words of `normalise(caption).split()` make claims that are wrong for the scene."""
    words = normalise(caption).split()
    named = [i for i, word in enumerate(words) if word in KINDS]
    verdict = check(caption, scene)
    places = [[i] for i in named]
    if verdict.style == "detailed":  # "a big cat at the top left": the kind, its size, its quarter
        places = [place for i in named for place in ([i], [i - 1], [i + 3, i + 4])]
    elif verdict.style == "relation":
        for a, b in zip(named, named[1:], strict=False):
            places.append([i for i in range(a, b) if words[i] in _RELATIONS])
        if len(named) == 1:
            places.append([words.index("alone")])
    if not verdict.grammatical:
        return set()
    return {i for place, (_, right) in zip(places, verdict.claims, strict=True) if not right for i in place}


def _width(text: str, bold: bool = False) -> float:
    font = FontProperties(family="DejaVu Sans", weight="bold" if bold else "normal", size=SIZE)
    return float(text_to_path.get_text_width_height_descent(text, font, ismath=False)[0])


Piece = tuple[str, bool, str]  # a word, whether it is wrong, how it is set: "normal" or "italic"


def _pieces(caption: str, scene: Scene) -> list[Piece]:
    """A caption word by word with its punctuation; a note in italics says what it leaves out."""
    wrong, out = wrong_words(caption, scene), []
    for i, word in enumerate(normalise(caption).split()):
        if word in _CLOSE and out:
            out[-1] = (out[-1][0] + word, *out[-1][1:])
        else:
            out.append((word, i in wrong, "normal"))
    verdict = check(caption, scene)
    left_out = [kind for kind in scene.kinds if kind not in normalise(caption).split()]
    note = f"(leaves out: {', '.join(left_out)})" if left_out else ""
    if not verdict.grammatical:
        note = "(not a sentence of the caption language)"
    return out + [(word, False, "italic") for word in note.split()]


def _lines(pieces: Sequence[Piece], width: float) -> list[list[tuple[float, Piece]]]:
    """Break words into lines of at most `width` points; each word with its distance from the left."""
    lines: list[list[tuple[float, Piece]]] = [[]]
    x, space = 0.0, _width("n n") - _width("nn")
    for piece in pieces:
        length = _width(("× " if piece[1] else "") + piece[0], piece[1])
        if lines[-1] and x + length > width:
            lines.append([])
            x = 0.0
        lines[-1].append((x, piece))
        x += length + space
    return lines


def _write(axes: Axes, lines: Sequence[Sequence[tuple[float, Piece]]], x: float, y: float) -> float:
    """Write broken lines with their top left corner at (x, y); returns where the next line would start."""
    for line in lines:
        for dx, (word, wrong, slant) in line:
            text, weight = (f"× {word}", "bold") if wrong else (word, "normal")
            axes.text(x + dx, y + SIZE, text, size=SIZE, color=INK, weight=weight, style=slant, va="baseline")
            if wrong:
                start = x + dx + _width("× ", True)
                axes.plot(
                    [start, x + dx + _width(text, True)], [y + SIZE + 2.5] * 2, color=INK, linewidth=1.3
                )
        y += LEADING
    return y


def _said(scene: Scene, captions: Sequence[str]) -> str:
    verdicts = []
    for caption in captions:
        words = normalise(caption).split()
        wrong = [words[i] for i in sorted(wrong_words(caption, scene))]
        verdicts.append(f"“{caption}”" + (f" (wrong: {' '.join(wrong)})" if wrong else ""))
    return f"{', '.join(scene.kinds)}: " + " then ".join(verdicts) if captions else ", ".join(scene.kinds)


def scenes(
    scenes: SceneBatch | Sequence[Scene],
    captions: Sequence[str] | None = None,
    captions_after: Sequence[str] | None = None,
    columns: int = 3,
) -> Drawing:
    """Sticker scenes with their captions; words that claim something wrong are underlined and have a cross before them.

    Without `captions_after` a grid of `columns`; with them one scene a row, its captions before and after beside it.
    Raises ValueError when there is not one caption for each scene.
    """
    batch = list(scenes)
    for name, given in (("captions", captions), ("captions_after", captions_after)):
        if given is not None and len(given) != len(batch):
            raise ValueError(f"{name}: expected one for each of {len(batch)} scenes, got {len(given)}")
    if not batch or (captions is None and captions_after is not None):
        raise ValueError("scenes: expected at least one, and captions wherever there are captions_after")
    texts = [[c[i] for c in (captions, captions_after) if c is not None] for i in range(len(batch))]
    alt = "; ".join(_said(scene, said) for scene, said in zip(batch, texts, strict=True))
    beside = captions_after is not None
    columns = 1 if beside else min(columns, len(batch))
    cell = (WIDTH * 72 + GAP) / columns - GAP if beside else PICTURE + GAP / 2
    width = cell - PICTURE - GAP - 8 if beside else cell
    blocks = [
        [_lines(_pieces(c, scene), width) for c in said] for scene, said in zip(batch, texts, strict=True)
    ]
    heights = [
        max(PICTURE, sum(LEADING * (len(b) + 1) + 5 for b in block)) + GAP
        if beside
        else PICTURE + sum(LEADING * len(b) + 4 for b in block) + GAP
        for block in blocks
    ]
    rows = [heights[i : i + columns] for i in range(0, len(batch), columns)]
    total = sum(max(row) for row in rows) - GAP + 4
    with drawing(total / 72, alt, "png", (columns * (cell + GAP) - GAP) / 72) as figure:
        axes, y = canvas(figure), 0.0
        for i, picture in enumerate(render(batch, 240)):
            x = i % columns * (cell + GAP)
            axes.imshow(picture, extent=(x, x + PICTURE, y + PICTURE, y), aspect="auto", interpolation="none")
            if beside:
                _beside(axes, blocks[i], x + PICTURE + GAP, y)
            elif blocks[i]:
                _write(axes, blocks[i][0], x, y + PICTURE + 4)
            if (i + 1) % columns == 0:
                y += max(heights[i + 1 - columns : i + 1])
        axes.set(xlim=(0, figure.get_figwidth() * 72), ylim=(total, 0))
    return figure


def _beside(axes: Axes, blocks: Sequence[Any], x: float, y: float) -> None:
    """Two captions, each under its name and beside a line in its colour."""
    for lines, name, colour in zip(blocks, ("before", "after"), (REFERENCE, POLICY), strict=True):
        axes.text(x + 8, y + SIZE, name, size=SIZE - 1, color=colour, weight="bold", va="baseline")
        end = _write(axes, lines, x + 8, y + LEADING)
        axes.plot([x + 1.5] * 2, [y + 1, end - 1], color=colour, linewidth=3, solid_capstyle="butt")
        y = end + 5


def before_after(path: str | Path | None = None, rows: int = 3) -> Drawing:
    """Captions of the same scenes before and after fine-tuning, from a committed run (`benchmarks/results/captions.json`).

    Raises FileNotFoundError or ValueError that says what the file should hold.
    """
    path = Path(path or Path(__file__).parents[2] / "benchmarks" / "results" / "captions.json")
    if not path.is_file():
        raise FileNotFoundError(f"{path}: expected the captions of a run; its benchmark writes them")
    try:
        table = json.loads(path.read_text(encoding="utf-8"))["rows"][:rows]
        batch = [Scene.from_json(row["scene"]) for row in table]
        before, after = ([str(row[name]) for row in table] for name in ("before", "after"))
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path}: expected {{'rows': [{{'scene', 'before', 'after'}}, ...]}} ({error!r})"
        ) from None
    return scenes(batch, before, after)
