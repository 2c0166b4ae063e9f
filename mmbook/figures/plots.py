"""Figures of numbers: styles, training curves, scores, and what each word is worth."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from mmbook.figures.style import INK, POLICY, REFERENCE, REWARD, Drawing, drawing

History = Sequence[Mapping[str, float]]


def styles(before: Mapping[str, float], after: Mapping[str, float]) -> Drawing:
    """Bars of the share of all captions in each style, before and after fine-tuning.

    Both map a style to its share, as in the "style" of `evaluate.captions`; what is missing to 1 is drawn as "(none)".
    """
    shares = {}
    for name, row in (("before", before), ("after", after)):
        shares[name] = {**row, "(none)": max(0.0, 1 - sum(row.values()))}
    names = sorted({*before, *after}, key=lambda s: -max(before.get(s, 0), after.get(s, 0)))
    if any(row["(none)"] > 0.005 for row in shares.values()):
        names.append("(none)")
    alt = "Share of all captions in each style: " + ", ".join(
        f"{s} {shares['before'].get(s, 0):.0%} before and {shares['after'].get(s, 0):.0%} after"
        for s in names
    )
    with drawing(0.55 * len(names) + 0.3, alt) as figure:
        axes = figure.add_subplot()
        for shift, name, colour in ((-0.2, "before", REFERENCE), (0.2, "after", POLICY)):
            values = [shares[name].get(s, 0.0) for s in names]
            axes.barh(np.arange(len(names)) + shift, values, 0.36, color=colour)
            for i, value in enumerate(values):
                label = f"{value:.0%}" + (f"  {name}" if i == 0 else "")
                axes.text(value + 0.01, i + shift, label, va="center", color=INK, size=9)
        axes.set(yticks=range(len(names)), yticklabels=names, xlim=(0, 1.18), xlabel="share of all captions")
        axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "25%", "50%", "75%", "100%"])
        axes.spines["bottom"].set_bounds(0, 1)
        axes.tick_params(axis="y", length=0)
        axes.invert_yaxis()
    return figure


def history(histories: Sequence[History] | History) -> Drawing:
    """Score and divergence from the reference at each update, a thin line for each seed and their mean.

    `histories` holds the `history` of one tuned model, or of several. Raises ValueError when there is no update.
    """
    runs = [histories] if histories and isinstance(histories[0], Mapping) else list(histories)
    if not runs or not all(len(run) for run in runs):
        raise ValueError("histories: expected at least one run with at least one update, got none")
    panels = (
        ("score", "score\n(standard deviations)", REWARD),
        ("kl", "distance from the\nreference (nats)", POLICY),
    )
    length = min(len(run) for run in runs)
    with drawing(3.6, "") as figure:
        parts = []
        for axes, (key, label, colour) in zip(figure.subplots(2, 1, sharex=True), panels, strict=True):
            lines = np.array([[row[key] for row in run[:length]] for run in runs])  # (seeds, updates)
            updates, mean = np.arange(1, length + 1), lines.mean(0)
            if len(lines) > 1:
                axes.plot(updates, lines.T, color=colour, linewidth=0.8, alpha=0.55)
            axes.plot(updates, mean, color=colour, marker="o" if length == 1 else None)
            axes.set_ylabel(label, color=colour, size=9.5)
            axes.annotate(
                f"{mean[-1]:.2g}",
                (length, mean[-1]),
                (5, 0),
                textcoords="offset points",
                va="center",
                color=INK,
            )
            parts.append(f"{key} from {mean[0]:.2g} to {mean[-1]:.2g}")
        axes.set_xlabel("update")
        axes.xaxis.get_major_locator().set_params(integer=True)
        figure.alt = f"Mean of {len(runs)} run(s) over {length} updates: " + " and ".join(parts)
    return figure


def scores(
    rows: Mapping[str, Mapping[str, float | Sequence[float]]],
    metrics: Sequence[str] = ("full", "coverage", "claim_precision"),
    tuned: Collection[str] | None = None,
) -> Drawing:
    """Dots of several measures for each named row: reference rows grey, tuned rows blue.

    A measure is one number or one for each seed; a large dot is the mean, small ones are seeds. `tuned` names the rows
    that are not references, by default the last. Raises ValueError for a row without one of the measures.
    """
    for name, row in rows.items():
        if missing := [m for m in metrics if m not in row]:
            raise ValueError(
                f"row {name!r}: expected {', '.join(metrics)}, and {', '.join(missing)} is missing"
            )
    names, own = list(rows), set(list(rows)[-1:] if tuned is None else tuned)
    if unknown := own - set(names):
        raise ValueError(f"tuned: expected some of {', '.join(names)}, got {', '.join(sorted(unknown))}")
    parts = []
    with drawing((0.27 * len(names) + 0.34) * len(metrics) + 0.5, "") as figure:
        panels = np.atleast_1d(figure.subplots(len(metrics), 1, sharex=True))
        for axes, metric in zip(panels, metrics, strict=True):
            said = []
            for i, name in enumerate(names):
                values = np.atleast_1d(np.asarray(rows[name][metric], float))
                colour, mark = (POLICY, "D") if name in own else (REFERENCE, "o")
                axes.plot(values, [i] * len(values), "o", color=colour, markersize=3, alpha=0.6)
                axes.plot(values.mean(), i, mark, color=colour, markersize=7.5)
                axes.text(1.04, i, f"{values.mean():.2f}", va="center", color=INK, size=9.5)
                said.append(f"{name} {values.mean():.2f}")
            axes.set_title(metric.replace("_", " "), loc="left", size=10.5, color=INK, weight="bold")
            axes.set(
                yticks=range(len(names)), yticklabels=names, xlim=(0, 1.15), ylim=(len(names) - 0.5, -0.5)
            )
            axes.hlines(range(len(names)), 0, 1, color=INK, linewidth=0.5, alpha=0.4, zorder=0)
            axes.tick_params(length=0)
            axes.spines[["left", "bottom"]].set_visible(False)
            parts.append(f"{metric.replace('_', ' ')}: {', '.join(said)}")
        axes.set_xticks([0, 0.25, 0.5, 0.75, 1])
        figure.alt = "; ".join(parts)
    return figure


def words(words: Sequence[str], scores: Sequence[float], line: int = 6) -> Drawing:
    """A caption with what each of its words adds to the reward, as bars below or above the words.

    Raises ValueError when there is not one number for each word.
    """
    if len(words) != len(scores) or not words:
        raise ValueError(
            f"scores: expected one for each word and at least one, got {len(scores)} for {len(words)}"
        )
    rows = [range(i, min(i + line, len(words))) for i in range(0, len(words), line)]
    low, high = min(0.0, *scores), max(0.0, *scores)
    room = 0.3 * ((high - low) or 1.0)  # above and below the bars, for their numbers
    alt = "What each word adds to the reward: "
    alt += ", ".join(f"{w} {s:+.2f}" for w, s in zip(words, scores, strict=True))
    with drawing(1.2 * len(rows) + 0.1, alt) as figure:
        for axes, row in zip(np.atleast_1d(figure.subplots(len(rows), 1)), rows, strict=True):
            for x, i in enumerate(row):
                value = scores[i]
                up = value >= 0
                axes.bar(x, value, 0.6, color=REWARD, fill=bool(up), edgecolor=REWARD, linewidth=1.5)
                axes.annotate(
                    f"{value:+.2f}",
                    (x, value),
                    (0, 3 if up else -3),
                    textcoords="offset points",
                    ha="center",
                    va="bottom" if up else "top",
                    size=8.5,
                )
                axes.text(
                    x,
                    1.02,
                    words[i],
                    transform=axes.get_xaxis_transform(),
                    ha="center",
                    va="bottom",
                    size=10.5,
                    weight="bold",
                )
            axes.axhline(0, color=INK, linewidth=1)
            axes.set(xlim=(-0.6, line - 0.4), ylim=(low - room, high + room), xticks=[], yticks=[])
            axes.spines[["left", "bottom"]].set_visible(False)
    return figure
