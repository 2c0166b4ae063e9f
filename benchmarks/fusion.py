"""Every fusion on four settings of the constructed people, against the best that can be known: 5 seeds.

`python benchmarks/fusion.py runs` writes results/fusion-runs.json (about a quarter of an hour of computing),
`chapter` runs the chapter and writes results/fusion.json with the numbers that its cells check. Without
arguments both run.
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from chapter_file import record
from results_file import number, write

from mmbook.equations import additive_accuracy, bayes_accuracy
from mmbook.models.fusion import FUSIONS, build_sentiment
from mmbook.training.sentiment import HEAD_RECIPE, RECIPE, accuracy, fit, see
from mmbook.world.sentiment import MODALITIES, SETTINGS, joint_table, sample_utterances

SEEDS, TRAIN, TEST = range(5), 6000, 2000
END_TO_END = ("late average", "early", "bilinear", "attention")  # beside gated, on the synergistic setting
DROP = 0.3
EASY = {"unique"}  # one modality says it all: half the people, half the steps


def shown_without(name: str) -> tuple[str, ...]:
    """All modalities but one."""
    return tuple(other for other in MODALITIES if other != name)


def key(*parts: str) -> str:
    """A key of the results file."""
    return "_".join(part.replace(" ", "_") for part in parts)


def one_setting(setting: str, seed: int) -> list[dict[str, Any]]:
    """Rows of one seed: encoders learn once, with gated fusion; then each fusion on what they say."""
    rows: list[dict[str, Any]] = []
    share = 2 if setting in EASY else 1
    whole, head = (replace(recipe, steps=recipe.steps // share) for recipe in (RECIPE, HEAD_RECIPE))
    people = ((TRAIN // share, seed), (TEST, 1000 + seed))
    train, test = (sample_utterances(n, SETTINGS[setting], s) for n, s in people)
    mixed_up = test.shuffled("voice", seed)

    def note(
        fusion: str, shown: str, right: float, drop: float = 0.0, frozen: bool = True, cpu: float = 0.0
    ) -> None:
        rows.append({"setting": setting, "seed": seed, "fusion": fusion, "shown": shown, "drop": drop,
                     "frozen": frozen, "right": round(right, 4), "cpu_seconds": round(cpu, 2)})  # fmt: skip

    start = time.process_time()
    base = build_sentiment("gated", seed)
    fit(base, train, seed, whole)
    note("gated", "all", accuracy(base, test), frozen=False, cpu=time.process_time() - start)
    seen = {name: see(base, data) for name, data in (("train", train), ("all", test), ("shuffled", mixed_up))}
    for fusion in FUSIONS:
        for drop in (0.0, DROP) if setting == "mixed" else (0.0,):
            start, model = time.process_time(), build_sentiment(fusion, seed)
            fit(model, train, seed, head, drop, seen["train"])
            note(
                fusion, "all", accuracy(model, test, seen=seen["all"]), drop, cpu=time.process_time() - start
            )
            note(fusion, "voices shuffled", accuracy(model, mixed_up, seen=seen["shuffled"]), drop)
            for name in MODALITIES:
                right = accuracy(model, test, shown_without(name), seen["all"])
                note(fusion, f"no {name}", right, drop)
                if fusion == "late average" or drop:
                    note(fusion, f"{name} alone", accuracy(model, test, (name,), seen["all"]), drop)
    if setting == "synergistic":
        for fusion in END_TO_END:
            start, model = time.process_time(), build_sentiment(fusion, seed)
            fit(model, train, seed, whole)
            note(fusion, "all", accuracy(model, test), frozen=False, cpu=time.process_time() - start)
    return rows


def chosen(shown: str) -> tuple[int, ...]:
    """Which modalities are meant by "all", "no voice", "voice alone"."""
    alone = tuple(i for i, name in enumerate(MODALITIES) if shown == f"{name} alone")
    return alone or tuple(i for i, name in enumerate(MODALITIES) if shown != f"no {name}")


def runs() -> None:
    """All settings and seeds, and the ceilings beside them."""
    begun, rows, values = time.process_time(), list[dict[str, Any]](), {}
    for setting in SETTINGS:
        for seed in SEEDS:
            rows += one_setting(setting, seed)
            print(setting, seed, f"{time.process_time() - begun:.0f} s", flush=True)
    for setting, dials in SETTINGS.items():
        p = torch.from_numpy(joint_table(dials))
        values[key(setting, "additive")] = number(
            additive_accuracy(p), 1e-6, f"{setting}: best additive rule"
        )
        for shown in ["all", *(f"no {m}" for m in MODALITIES), *(f"{m} alone" for m in MODALITIES)]:
            ceiling, says = bayes_accuracy(p, chosen(shown)), f"{setting}: Bayes, {shown}"
            values[key(setting, "bayes", shown)] = number(ceiling, 1e-6, says)
    groups: dict[tuple, list[dict[str, Any]]] = {}
    for row in rows:
        what = tuple(row[k] for k in ("setting", "fusion", "shown", "drop", "frozen"))
        groups.setdefault(what, []).append(row)
    for (setting, fusion, shown, drop, frozen), each in groups.items():
        how = [*(["dropout"] if drop else []), *([] if frozen else ["end to end"])]
        name, says = key(setting, fusion, shown, *how), ", ".join([setting, fusion, shown, *how])
        right = [row["right"] for row in each]
        values[name] = number(np.mean(right), 0.03, f"{says}: right, mean of {len(each)} seeds")
        if shown == "all":
            values[f"{name}_worst"] = number(min(right), 0.06, f"{says}: right, worst seed")
            seconds = np.mean([row["cpu_seconds"] for row in each])
            values[f"{name}_seconds"] = number(seconds, 30, f"{says}: CPU seconds a run", unit="seconds")
    seconds = sum(row["cpu_seconds"] for row in rows)
    values["seconds"] = number(seconds, 900, "CPU seconds of all training", unit="seconds")
    write("fusion-runs", values, rows=[row for row in rows if row["shown"] == "all"])


SHARE = "share"
SAYS: dict[str, tuple[float, str, str]] = {
    **{f"best_{s}": (1e-6, f"{s}: the best possible with everything", SHARE) for s in SETTINGS},
    **{f"additive_{s}": (1e-6, f"{s}: the best sum of scores", SHARE) for s in SETTINGS},
    "best_mixed_face": (1e-6, "mixed: the best possible with the face alone", SHARE),
    "best_mixed_voice_words": (1e-6, "mixed: the best possible without the face", SHARE),
    **{
        f"exact_{s}_{which}": (tolerance, f"{s}, on the symbols: {says}", SHARE)
        for s in ("synergistic", "mixed")
        for which, tolerance, says in (
            ("sums", 0.23 if s == "synergistic" else 0.06, "the best of the sums"),
            ("others", 0.03, "the worst of the others"),
        )
    },
    "gated": (0.03, "gated, end to end, synergistic", SHARE),
    **{f"gated_{m}_shuffled": (0.03, f"the same, {m} shuffled", SHARE) for m in MODALITIES},
    "live_late": (0.05, "late average on the same encoders", SHARE),
    "live_sums": (0.23, "the best of the sums on the same encoders", SHARE),
    "live_others": (0.08, "the worst of the others on the same encoders", SHARE),
    "live_best": (0.03, "the best of the fusions on the same encoders", SHARE),
    **{
        f"{fusion}_{how}_{shown}": (0.05, f"{fusion}, mixed, {how}, shown: {shown}", SHARE)
        for fusion in ("early", "flamingo")
        for how in ("plain", "dropout")
        for shown in ("face_voice", "voice_words", "all")
    },
    "standardised": (0.03, "early fusion, end to end, synergistic", SHARE),
    "raw": (0.05, "early fusion without standardised encoders, new people", SHARE),
    "raw_train": (0.15, "the same, on the people it was trained on", SHARE),
    "real_reviews": (0.02, "film reviews, from their words: rank correlation with people", "correlation"),
    **{
        f"real_{what}": (0.02, f"emoji, from {what}: rank correlation with people", "correlation")
        for what in ("picture", "words", "late", "early")
    },
    "real_count": (0.5, "emoji with at least twenty labels", "emoji"),
    "real_lead_low": (0.02, "lead of words over early fusion on emoji, 2.5 % of resamplings", "correlation"),
    "real_lead_high": (0.02, "the same, 97.5 %", "correlation"),
    "memory_gb": (1.0, "largest resident memory of the chapter's kernel", "GB"),
    "cpu_seconds": (120.0, "CPU seconds of the whole chapter's kernel", "seconds"),
}

if __name__ == "__main__":
    torch.set_num_threads(1)
    parts = {"runs": runs, "chapter": lambda: record("multimodal/fusion", SAYS)}
    for part in sys.argv[1:] or parts:
        parts[part]()
