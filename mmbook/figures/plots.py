"""Figures of numbers: styles, training curves, scores, and what each word is worth."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from mmbook.figures.style import INK, POLICY, REFERENCE, REWARD, Drawing, drawing

QUARTERS = ([0, 0.25, 0.5, 0.75, 1], ["0", "25%", "50%", "75%", "100%"])


def styles(before: Mapping[str, float], after: Mapping[str, float]) -> Drawing:
    """Bars of the share of all captions in each style, before and after fine-tuning.

    Both map styles to shares, as `evaluate.captions` does in "style"; "(none)" is what is missing to 1.
    """
    rows = {"before": dict(before), "after": dict(after)}
    for row in rows.values():
        row["(none)"] = max(0.0, 1 - sum(row.values()))
    names = sorted({**before, **after}, key=lambda s: -max(before.get(s, 0), after.get(s, 0)))
    if any(row["(none)"] > 0.005 for row in rows.values()):
        names.append("(none)")
    alt = ", ".join(f"{s} {before.get(s, 0):.0%} before and {after.get(s, 0):.0%} after" for s in names)
    with drawing(0.5 * len(names) + 0.5, f"Share of all captions in each style: {alt}") as figure:
        axes = figure.add_subplot()
        for shift, name, colour in ((-0.2, "before", REFERENCE), (0.2, "after", POLICY)):
            for i, style in enumerate(names):
                share = rows[name].get(style, 0.0)
                axes.barh(i + shift, share, 0.36, color=colour)
                label = f"{share:.0%} {name if i == 0 else ''}"
                axes.text(share + 0.01, i + shift, label, va="center", size=9)
        axes.set(yticks=range(len(names)), yticklabels=names, xlim=(0, 1.18), xlabel="share of all captions")
        axes.set_xticks(*QUARTERS)
        axes.spines["bottom"].set_bounds(0, 1)
        axes.tick_params(axis="y", length=0)
        axes.invert_yaxis()
    return figure


def history(*histories: Sequence[Mapping[str, float]]) -> Drawing:
    """Score and divergence from the reference at each update: a thin line for each seed, and their mean.

    Each argument is the `history` of one tuned model. Raises ValueError when there is no update.
    """
    length = min(map(len, histories), default=0)
    if not length:
        raise ValueError("histories: expected at least one run with at least one update, got none")
    panels = (
        ("score", "score\n(standard deviations)", REWARD),
        ("kl", "distance from the\nreference (nats)", POLICY),
    )
    with drawing(3.6, f"Mean of {len(histories)} run(s) over {length} updates:") as figure:
        for axes, (key, label, colour) in zip(figure.subplots(2, 1, sharex=True), panels, strict=True):
            lines = np.array([[row[key] for row in run[:length]] for run in histories])  # (seeds, updates)
            updates, mean = np.arange(1, length + 1), lines.mean(0)
            if len(lines) > 1:
                axes.plot(updates, lines.T, color=colour, linewidth=0.8, alpha=0.55)
            axes.plot(updates, mean, color=colour, marker="o" if length == 1 else None)
            end = (length, mean[-1])
            axes.annotate(f"{mean[-1]:.2g}", end, (6, 0), textcoords="offset points", va="center")
            axes.set_ylabel(label, color=colour, size=9.5)
            figure.alt += f" {key} from {mean[0]:.2g} to {mean[-1]:.2g}."
        axes.set_xlabel("update")
        axes.xaxis.get_major_locator().set_params(integer=True)
    return figure


def scores(
    rows: Mapping[str, Mapping[str, Any]],
    metrics: Sequence[str] = ("full", "coverage", "claim_precision"),
    tuned: Collection[str] | None = None,
) -> Drawing:
    """Dots of several measures for each named row: reference rows grey and round, tuned rows blue diamonds.

    A measure is one number, or one for each seed: then a large mark is the mean and small dots are seeds.
    `tuned`: rows that are not references, by default the last. Raises ValueError if a measure is missing.
    """
    names = list(rows)
    own = set(names[-1:] if tuned is None else tuned)
    for name, row in rows.items():
        if missing := set(metrics) - set(row):
            raise ValueError(f"row {name!r}: expected {', '.join(metrics)}; missing: {', '.join(missing)}")
    if unknown := own - set(names):
        raise ValueError(f"tuned: expected some of {', '.join(names)}, got {', '.join(sorted(unknown))}")
    with drawing((0.27 * len(names) + 0.34) * len(metrics) + 0.5, "") as figure:
        panels = figure.subplots(len(metrics), 1, sharex=True, squeeze=False)[:, 0]
        for axes, metric in zip(panels, metrics, strict=True):
            title = metric.replace("_", " ")
            values = [np.atleast_1d(np.asarray(rows[name][metric], float)) for name in names]
            for i, (name, seeds) in enumerate(zip(names, values, strict=True)):
                colour, mark = (POLICY, "D") if name in own else (REFERENCE, "o")
                axes.plot(seeds, np.full(len(seeds), i), "o", color=colour, markersize=3, alpha=0.6)
                axes.plot(seeds.mean(), i, mark, color=colour, markersize=7.5)
                axes.text(1.04, i, f"{seeds.mean():.2f}", va="center", size=9.5)
            axes.set_title(title, loc="left", size=10.5, weight="bold")
            axes.set(yticks=range(len(names)), yticklabels=names, xlim=(0, 1.15))
            axes.set_ylim(len(names) - 0.5, -0.5)
            axes.hlines(range(len(names)), 0, 1, color=INK, linewidth=0.5, alpha=0.4, zorder=0)
            axes.tick_params(length=0)
            axes.spines[["left", "bottom"]].set_visible(False)
            said = (f"{name} {seeds.mean():.2f}" for name, seeds in zip(names, values, strict=True))
            figure.alt += f"{title}: {', '.join(said)}. "
        axes.set_xticks(QUARTERS[0])
    return figure


def words(words: Sequence[str], scores: Sequence[float], line: int = 6) -> Drawing:
    """A caption with what each of its words adds to the reward: full bars add, hollow bars take away.

    Raises ValueError when there is not one number for each word.
    """
    if len(words) != len(scores) or not words:
        raise ValueError(
            f"scores: expected one for each of {len(words)} words (at least 1), got {len(scores)}"
        )
    low, high = min(0.0, *scores), max(0.0, *scores)
    room = 0.3 * ((high - low) or 1.0)  # above and below the bars, for their numbers
    said = ", ".join(f"{word} {score:+.2f}" for word, score in zip(words, scores, strict=True))
    rows = -(-len(words) // line)
    with drawing(1.2 * rows + 0.1, f"What each word adds to the reward: {said}") as figure:
        panels = figure.subplots(rows, 1, squeeze=False)[:, 0]
        for axes in panels:
            axes.axhline(0, color=INK, linewidth=1)
            axes.set(xlim=(-0.6, line - 0.4), ylim=(low - room, high + room), xticks=[], yticks=[])
            axes.spines[["left", "bottom"]].set_visible(False)
        for i, (word, score) in enumerate(zip(words, scores, strict=True)):
            axes, x, up = panels[i // line], i % line, score >= 0
            axes.bar(x, score, 0.6, color=REWARD, fill=bool(up), edgecolor=REWARD, linewidth=1.5)
            number = {"xytext": (0, 3 if up else -3), "ha": "center", "va": "bottom" if up else "top"}
            axes.annotate(f"{score:+.2f}", (x, score), textcoords="offset points", size=8.5, **number)
            axes.text(x, high + room, word, ha="center", va="bottom", weight="bold")
    return figure
