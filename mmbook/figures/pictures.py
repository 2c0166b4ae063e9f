"""Figures with sticker scenes in them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

from mmbook.figures.style import INK, POLICY, REFERENCE, WIDTH, Drawing, canvas, drawing
from mmbook.world import KINDS, Scene, SceneBatch, check, normalise, render
from mmbook.world.questions import verdict

# In points, 1/72 inch. 86.4 are 240 pixels at 200 dots an inch, so no pixel of a scene is blurred.
LETTERS, LINE, GAP, PICTURE = 12.0, 16.5, 12.0, 86.4
RESULTS = Path(__file__).parents[2] / "benchmarks" / "results" / "captions.json"

Word = tuple[
    float, str, bool, bool
]  # distance from the left, text, whether it is wrong, whether it is a note


def wrong_words(caption: str, scene: Scene) -> set[int]:
    """Which words of `normalise(caption).split()` make claims that are wrong for the scene."""
    words, verdict = normalise(caption).split(), check(caption, scene)
    named = [i for i, word in enumerate(words) if word in KINDS]
    places = [[i] for i in named]  # the words of each claim, in the order of the checker's claims
    if verdict.style == "detailed":  # "a big cat at the top left": kind, size, quarter
        places = [place for i in named for place in ([i], [i - 1], [i + 3, i + 4])]
    elif verdict.style == "relation" and len(named) == 1:
        places.append([words.index("alone")])
    elif verdict.style == "relation":
        links = {"left", "right", "of", "above", "below"}
        places += [[i for i in range(a, b) if words[i] in links] for a, b in pairwise(named)]
    return {i for place, (_, right) in zip(places, verdict.claims, strict=False) if not right for i in place}


def _length(text: str, bold: bool = False) -> float:
    font = FontProperties(family="DejaVu Sans", weight="bold" if bold else "normal", size=LETTERS)
    return float(text_to_path.get_text_width_height_descent(text, font, ismath=False)[0])


def _break(caption: str, scene: Scene, width: float) -> list[list[Word]]:
    """Break a caption into lines of `width`; a note at its end says what it leaves out."""
    wrong, words = wrong_words(caption, scene), normalise(f"{scene.question} {caption}").split()
    pieces: list[tuple[str, bool, bool]] = []
    for i, word in enumerate(words):
        if word in (".", ",", "!", "?") and pieces:
            pieces[-1] = (pieces[-1][0] + word, *pieces[-1][1:])
        else:
            mark = "× " if i in wrong and i - 1 not in wrong else ""
            pieces.append((mark + word, i in wrong, False))
    left_out = [kind for kind in scene.kinds if kind not in words]
    note = f"(leaves out: {', '.join(left_out)})" if left_out else ""
    if scene.question:
        note = f"({verdict(scene, caption)})"
    elif not check(caption, scene).grammatical:
        note = "(not in the caption language)"
    pieces += [(word, False, True) for word in note.split()]
    lines: list[list[Word]] = [[]]
    x, space = 0.0, _length("n n") - _length("nn")
    for text, bold, slanted in pieces:
        if lines[-1] and x + _length(text, bold) > width:
            lines.append([])
            x = 0.0
        lines[-1].append((x, text, bold, slanted))
        x += _length(text, bold) + space
    return lines


def _write(axes: Axes, lines: Sequence[Sequence[Word]], x: float, y: float) -> float:
    """Write lines from their top left corner; returns where the next line would start."""
    for line in lines:
        for dx, text, wrong, slanted in line:
            weight, style = "bold" if wrong else "normal", "italic" if slanted else "normal"
            axes.text(x + dx, y + LETTERS, text, size=LETTERS, weight=weight, style=style)
            if wrong:
                start, end = (x + dx + _length(part, True) for part in (text[: text.find(" ") + 1], text))
                axes.plot([start, end], [y + LETTERS + 2.5] * 2, color=INK, linewidth=1.3)
        y += LINE
    return y


def scenes(
    scenes: SceneBatch | Sequence[Scene],
    captions: Sequence[str] | None = None,
    captions_after: Sequence[str] | None = None,
    columns: int = 3,
) -> Drawing:
    """Sticker scenes with captions; words that claim something wrong are underlined, after a cross.

    Where a scene has a question, it is followed by the answer, and by what the answer is.

    Without `captions_after` a grid of `columns`; with them one scene a row, and beside it its captions before
    and after. Raises ValueError when there is no scene, or not one caption for each.
    """
    batch, given = list(scenes), [c for c in (captions, captions_after) if c is not None]
    if not batch or any(len(c) != len(batch) for c in given):
        counts = [len(c) for c in given]
        raise ValueError(f"scenes, captions: expected as many captions as scenes, got {len(batch)}, {counts}")
    beside, columns = len(given) == 2, 1 if len(given) == 2 else min(columns, len(batch))
    cell = max(PICTURE, (WIDTH * 72 + GAP) / (columns if beside else max(3, columns)) - GAP)
    width = cell - PICTURE - GAP - 8 if beside else cell
    blocks = [[_break(c[i], scene, width) for c in given] for i, scene in enumerate(batch)]
    heights = []
    for block in blocks:
        text = sum(LINE * (len(lines) + beside) + 5 for lines in block)
        heights.append(GAP + (max(PICTURE, text) if beside else PICTURE + text))
    tops = [0.0]
    for i in range(0, len(batch), columns):
        tops.append(tops[-1] + max(heights[i : i + columns]))
    said = (f"{', '.join(s.kinds)}: {' / '.join(c[i] for c in given)}" for i, s in enumerate(batch))
    size = ((tops[-1] - GAP + 4) / 72, "; ".join(said), "png", (columns * (cell + GAP) - GAP) / 72)
    with drawing(*size) as figure:
        axes = canvas(figure)
        for i, picture in enumerate(render(batch, 240)):
            x, y = i % columns * (cell + GAP), tops[i // columns]
            extent = (x, x + PICTURE, y + PICTURE, y)
            axes.imshow(picture, extent=extent, aspect="auto", interpolation="none")
            if not beside:
                for lines in blocks[i]:
                    _write(axes, lines, x, y + PICTURE + 4)
                continue
            for lines, name, colour in zip(blocks[i], ("before", "after"), (REFERENCE, POLICY), strict=True):
                left = x + PICTURE + GAP
                axes.text(left + 8, y + LETTERS, name, size=LETTERS - 1, weight="bold", color=colour)
                end = _write(axes, lines, left + 8, y + LINE)
                axes.plot(
                    [left + 1.5] * 2, [y + 1, end - 1], color=colour, linewidth=3, solid_capstyle="butt"
                )
                y = end + 5
        axes.set(xlim=(0, figure.get_figwidth() * 72), ylim=(figure.get_figheight() * 72, 0))
    return figure


def before_after(path: str | Path = RESULTS, rows: int = 3) -> Drawing:
    """Captions of the same scenes before and after fine-tuning, read from the committed captions of a run.

    Raises FileNotFoundError or ValueError that says what the file should hold.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: expected the captions of a run, which its benchmark writes")
    try:
        table = json.loads(path.read_text(encoding="utf-8"))["rows"][:rows]
        batch = [Scene.from_json(row["scene"]) for row in table]
        before, after = ([str(row[name]) for row in table] for name in ("before", "after"))
    except (ValueError, KeyError, TypeError) as error:
        expected = "{'rows': [{'scene': ..., 'before': '...', 'after': '...'}, ...]}"
        raise ValueError(f"{path}: expected {expected} ({error!r})") from None
    return scenes(batch, before, after)
