"""Figures of learning from reward: a gridworld with its values and policy, learning curves, bars of seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke

from mmbook.figures.style import INK, POLICY, REFERENCE, REWARD, TRUTH, WIDTH, Drawing, drawing
from mmbook.world.stickers import BACKGROUND

COLOURS = (POLICY, REWARD, TRUTH, REFERENCE)  # of lines that are given none; the fifth is the first, dashed
MOVES = {name: np.array(by) for name, by in dict(up=(0, -1), right=(1, 0), down=(0, 1), left=(-1, 0)).items()}
LIGHT, GOOD, BAD = np.array(BACKGROUND), np.array([181, 90, 10]), np.array([60, 64, 70])  # GOOD is REWARD
SHADE = 0.6  # of the best value; more would swallow the number


def _short(v: float) -> str:
    """A number in at most four letters: .53, -.07, 1.2, -13."""
    if abs(v) >= 9.95:
        return f"{v:.0f}"
    text = f"{v:.1f}" if abs(v) >= 0.995 else f"{v:.2f}".replace("0.", ".", 1)
    return ("0" if text in (".00", "-.00") else text).replace("-", "−")


def value_map(
    grid: Any, V: Any, pi: Any = None, title: str = "", limit: float | None = None, agent: int | None = None
) -> Drawing:
    """A gridworld with each state's value V (S,) as shade and number, and arrows for the policy pi (S, A).

    `grid` comes from `mmbook.world.gridworld`. Arrows are as long as the action is likely; orange is good,
    grey is bad. `limit`, the value of the full shade, keeps several pictures comparable. The start has a
    green frame, the state `agent` a blue one. Raises ValueError when V or pi does not fit.
    """
    V, pi = np.asarray(V, float), None if pi is None else np.asarray(pi, float)
    for name, array, shape in (
        ("V", V, (len(grid.cells),)),
        ("pi", pi, (len(grid.cells), len(grid.actions))),
    ):
        if array is not None and array.shape != shape:
            raise ValueError(f"{name}: expected shape {shape}, got {array.shape}")
    live, rows, columns = np.flatnonzero(~grid.terminal), len(grid.rows), len(grid.rows[0])
    full = limit or float(np.abs(V[live]).max()) or 1.0
    side, head = min(WIDTH / columns, 0.75), 0.3 if title else 0.0
    said = ", ".join(f"row {grid.cells[s][0]} column {grid.cells[s][1]} {V[s]:.2f}" for s in live)
    height, points = rows * side + head, side * 72
    with drawing(height, f"{title or 'Values'}: {said}", "png", columns * side) as figure:
        axes = figure.add_axes((0, 0, 1, 1 - head / height))
        axes.set_axis_off()
        figure.text(0.5, 1 - 0.13 / height, title, ha="center", va="center", size=11, weight="bold")
        axes.imshow(grid.draw(None, 96), extent=(-0.5, columns - 0.5, rows - 0.5, -0.5), aspect="auto")
        for s in live:
            y, x = grid.cells[s]
            shade, corner = SHADE * min(1.0, abs(V[s]) / full), (x - 0.48, y - 0.48)
            colour = tuple(((1 - shade) * LIGHT + shade * (GOOD if V[s] > 0 else BAD)) / 255)
            axes.add_patch(Rectangle(corner, 0.96, 0.96, facecolor=colour, edgecolor="none"))
            middle = y if pi is None else y - 0.28
            axes.text(x, middle, _short(V[s]), size=points * 0.2, ha="center", va="center", color="#111")
            if s == agent or grid.rows[y][x] == "S":
                edge = POLICY if s == agent else TRUTH
                axes.add_patch(
                    Rectangle((x - 0.45, y - 0.45), 0.9, 0.9, fill=False, linewidth=2, edgecolor=edge)
                )
            for a, p in enumerate(() if pi is None else pi[s]):
                if p > 0.02:
                    _arrow(axes, x, y + 0.13, 0.33 * p * MOVES[grid.actions[a]], points)
    return figure


def _arrow(axes: Axes, x: float, y: float, by: np.ndarray, points: float) -> None:
    long = float(np.abs(by).max())
    back = 0.7 * by if long > 0.3 else 0 * by  # a sure step has the whole cell
    head = f"-|>,head_width={points * 0.003:.3f},head_length={points * 0.005:.3f}" if long > 0.08 else "-"
    line: dict[str, Any] = {"arrowstyle": head, "shrinkA": 0, "shrinkB": 0, "color": POLICY}
    line |= {"linewidth": points * 0.05, "path_effects": [withStroke(linewidth=3, foreground="white")]}
    axes.annotate("", (x + by[0], y + by[1]), (x - back[0], y - back[1]), arrowprops=line)


def binned(episodes: Sequence[Any], points: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Curves from runs' `episodes` (n, 2), steps and return: x (points,) and mean return Y (runs, points).

    A stretch in which no episode ended repeats the one before it. Raises ValueError for a run without any.
    """
    empty = [i for i, run in enumerate(episodes) if len(run) == 0]
    if empty or not len(episodes):
        raise ValueError(
            f"episodes: expected ended ones in each run, got none in {empty or 'any'}; play longer"
        )
    x = np.linspace(0, max(float(e[-1][0]) for e in episodes), points + 1)[1:]
    Y = np.full((len(episodes), points), np.nan)
    for y, run in zip(Y, map(np.asarray, episodes), strict=True):
        where = np.searchsorted(x, run[:, 0] - 1e-9).clip(max=points - 1)
        counts = np.bincount(where, minlength=points)
        np.divide(np.bincount(where, run[:, 1], points), counts, out=y, where=counts > 0)
        last = np.maximum.accumulate(np.where(counts > 0, np.arange(points), -1))
        y[:] = np.where(last >= 0, y[last], np.nan)
    return x, Y


def curves(
    lines: Mapping[str, tuple[Any, Any]],
    xlabel: str,
    ylabel: str,
    colours: Mapping[str, str] | None = None,
    reference: Mapping[str, float] | None = None,
    log: str = "",
    height: float = 3.0,
    bands: Mapping[str, tuple[Any, Any]] | None = None,
) -> Drawing:
    """Named curves (x (n,), Y (n,) or (seeds, n)): thin lines for seeds, their mean with its name at its end.

    `reference` are named levels, dashed; `log` is "", "x", "y" or "xy"; `bands` are the lower and upper ends
    (n,) of intervals of named curves, shaded. Raises ValueError when x and Y differ.
    """
    colours, reference, ends = colours or {}, reference or {}, []
    with drawing(height, f"{ylabel} against {xlabel}:") as figure:
        axes = figure.add_subplot()
        axes.set(xlabel=xlabel, ylabel=ylabel)
        for axis in log:
            getattr(axes, f"set_{axis}scale")("log")
        for i, (name, (x, Y)) in enumerate(lines.items()):
            x, Y = np.asarray(x, float), np.atleast_2d(np.asarray(Y, float))
            if Y.shape[1] != len(x):
                raise ValueError(f"{name}: expected {len(x)} values for each seed, as in x, got {Y.shape[1]}")
            colour, dash = colours.get(name, COLOURS[i % 4]), ("-", "--", ":")[i // 4 % 3]
            held = np.isfinite(Y).any(0)
            x, Y = x[held], Y[:, held]
            mean = np.nanmean(Y, 0)
            if len(Y) > 1:
                axes.plot(x, Y.T, dash, color=colour, linewidth=0.7, alpha=0.45)
            axes.plot(x, mean, dash, color=colour)
            if bands and name in bands:
                axes.fill_between(x, *bands[name], color=colour, alpha=0.15, linewidth=0)
            ends.append((mean[-1], name, colour))
            figure.alt += f" {name} from {mean[0]:.3g} at {x[0]:.3g} to {mean[-1]:.3g} at {x[-1]:.3g};"
        for name, level in reference.items():
            axes.axhline(level, color=(colour := colours.get(name, REFERENCE)), linewidth=1.2, linestyle="--")
            ends.append((level, name, colour))
            figure.alt += f" {name} {level:.3g};"
        _name(axes, ends)
    return figure


def _name(axes: Axes, ends: list[tuple[float, str, str]]) -> None:
    """Write names at the right edge, each as close to its line's end as the others leave room."""
    axes.figure.canvas.draw()
    to_axes = axes.transData + axes.transAxes.inverted()
    gap = 13 * axes.figure.dpi / 72 / axes.get_window_extent().height
    ends = sorted((float(to_axes.transform((axes.get_xlim()[1], y))[1]), n, c) for y, n, c in ends)
    places = list[float]()
    for height, _, _ in ends:
        places.append(max(height, places[-1] + gap) if places else height)
    top = 1.04
    for i in range(len(places) - 1, -1, -1):
        places[i] = min(places[i], top)
        top = places[i] - gap
    for place, (_, name, colour) in zip(places, ends, strict=True):
        axes.text(1.015, place, name, color=colour, size=9.5, va="center", transform=axes.transAxes)


def bars(
    rows: Mapping[str, Any],
    xlabel: str,
    colours: Mapping[str, str] | None = None,
    reference: Mapping[str, float] | None = None,
    intervals: Mapping[str, tuple[float, float]] | None = None,
    log: bool = False,
) -> Drawing:
    """A bar for each name, as long as its number or the mean of its seeds, which are dots.

    `reference` are named levels, dashed; `intervals` give (low, high) of a name's mean, drawn as a line.
    """
    colours, reference, intervals = colours or {}, reference or {}, intervals or {}
    values = {name: np.atleast_1d(np.asarray(v, float)) for name, v in rows.items()}
    said = [f"{name} {np.mean(v):.3g}" for name, v in list[Any]([*values.items(), *reference.items()])]
    with drawing(0.36 * len(rows) + 0.95, f"Bars of {xlabel}: {', '.join(said)}") as figure:
        axes = figure.add_subplot()
        for i, (name, v) in enumerate(values.items()):
            axes.barh(i, v.mean(), 0.6, color=colours.get(name, POLICY))
            axes.plot(intervals.get(name, ()), [i] * len(intervals.get(name, ())), color=INK, linewidth=3)
            if len(v) > 1:
                axes.plot(v, np.full(len(v), i), "o", color=INK, markersize=4, markeredgecolor="white")
            end = max(0.0, v.max(), *intervals.get(name, ()))
            axes.annotate(f"{v.mean():.3g}", (end, i), (6, 0), textcoords="offset points", va="center")
        for name, level in reference.items():
            colour = colours.get(name, REFERENCE)
            axes.axvline(level, color=colour, linewidth=1.2, linestyle="--", zorder=0)
            axes.text(level, -0.6, name, ha="center", va="bottom", size=9, color=colour)
        axes.set(yticks=range(len(rows)), yticklabels=list(rows), xlabel=xlabel)
        axes.set_ylim(len(rows) - 0.5, -0.55)
        axes.set_xscale("log" if log else "linear")
        axes.margins(x=0.14)
        axes.tick_params(axis="y", length=0)
    return figure
