"""Figures of learning from people: what a policy gained against how far it has moved."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from mmbook.figures.rl import COLOURS, _name
from mmbook.figures.style import REWARD, TRUTH, Drawing, drawing

GOLD = {"gold": TRUTH, "proxy": REWARD}


def against_kl(
    rows: Sequence[Mapping[str, Any]],
    by: str,
    ylabel: str = "gain (standard deviations)",
    show: Collection[str] = ("gold", "proxy"),
    bounds: Collection[str] = (),
    colours: Mapping[str, str] | None = None,
    height: float = 1.9,
) -> Drawing:
    """What runs gained against their nats a caption from the reference; seeds thin, their mean thick.

    Rows with "kl", "seed" and the columns to `show` stand in the order of their run; those that agree in the
    column `by` are one setting. The mean is over the i-th rows of all seeds, in both directions. With two or
    more columns each setting has a panel, with one all share it. The KL of settings in `bounds` is an upper
    bound: dashed, with arrows to the left. KL has a square-root scale, as distances have. Without rows the
    picture is empty. Raises ValueError for seeds with different numbers of rows.
    """
    runs: dict[str, dict[Any, list[Mapping[str, Any]]]] = {}
    for row in rows:
        runs.setdefault(str(row[by]), {}).setdefault(row["seed"], []).append(row)
    for name, seeds in runs.items():
        lengths = {seed: len(run) for seed, run in seeds.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"{name}: expected equally many rows for each seed, got {lengths}")
    colours, apart = colours or {}, len(show) > 1
    lines = [[(key, name, key) for key in show] for name in runs]
    panels = lines if apart and runs else [[(name, name, key) for name in runs for key in show]]
    with drawing(height * len(panels) + 0.4 + 1.1 * (not apart), f"{ylabel} against KL:") as figure:
        every = figure.subplots(len(panels), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
        ends: list[list[tuple[float, str, str]]] = [[] for _ in panels]
        for axes, panel, named in zip(every, panels, ends, strict=True):
            for i, (label, name, key) in enumerate(panel):
                colour = colours.get(label, GOLD.get(label, COLOURS[i % 4]))
                x, y = (np.array([[r[k] for r in run] for run in runs[name].values()]) for k in ("kl", key))
                _draw(axes, x, y, colour, "--" if name in bounds else ("-", ":")[i // 4 % 2])
                x, y = x.mean(0), y.mean(0)
                named.append((float(y[-1]), label, colour))
                figure.alt += f" {name + ', ' if apart else ''}{label} from {y[0]:.2f} at {x[0]:.0f}"
                figure.alt += f" to {y.max():.2f} at most and {y[-1]:.2f} at {x[-1]:.1f} nats;"
            axes.set_title(panel[0][1] if apart and runs else "", size=10.5)
        end = max((row["kl"] for row in rows), default=1.0)
        every[-1].set_xscale("function", functions=(lambda x: np.sqrt(np.maximum(x, 0)), np.square))
        ticks = [0.0]
        for t in (0.1, 0.5, 1, 2, 3, 5, 10, 20, 30, 50, 100, 200):  # as many as have room
            if t <= end and np.sqrt(t) - np.sqrt(ticks[-1]) > 0.1 * np.sqrt(end):
                ticks.append(t)
        every[-1].set_xticks(ticks, labels=[f"{t:g}" for t in ticks])
        every[-1].set(xlabel="KL from the reference (nats a caption)", xlim=(0, 1.05 * max(end, 0.1)))
        figure.supylabel(ylabel, size=10.5)
        for axes, named in zip(every, ends, strict=True):  # all have one scale, known only now
            _name(axes, named)
    return figure


def _draw(axes: Axes, x: np.ndarray, y: np.ndarray, colour: str, dash: str) -> None:
    if len(y) > 1:
        axes.plot(x.T, y.T, dash, color=colour, linewidth=0.7, alpha=0.45)
    axes.plot(x.mean(0), y.mean(0), dash, color=colour, marker="<" if dash == "--" else "", markersize=5)
