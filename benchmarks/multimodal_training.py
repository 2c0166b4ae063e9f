"""Run the chapter on training and write the numbers that its cells check."""

from __future__ import annotations

from chapter_file import record

SHARE = "share"
RUNS = ("whole", "label for each", "symbol for each", "symbols learned weights")
SAYS: dict[str, tuple[float, str, str]] = {
    **{
        f"{setting}_{run.replace(' ', '_')}": (0.04, f"{setting}, {run}: right", SHARE)
        for setting in ("redundant", "synergistic")
        for run in RUNS
    },
    **{
        f"{name}_{what}": (0.06, f"redundant, {name}: right, {what.replace('_', ' ')}", SHARE)
        for name in ("plain", "contrastive", "adversarial")
        for what in ("as_they_are", "noise", "attack")
    },
    "spike_clipped": (0.1, "mean loss after a spike, clipped", "nats"),
    "spike_not": (0.1, "mean loss after a spike, not clipped", "nats"),
    "stopped": (0.05, "150 people, stopped early: right", SHARE),
    "to_the_end": (0.05, "150 people, to the end: right", SHARE),
    "watched": (0.05, "150 people: the best answer while watching", SHARE),
    "best_rate": (0.02, "the rate that halving leaves", "rate"),
    "best_coin": (0, "the best of 200 coins", SHARE),
    "same_coin": (0, "the same coin again", SHARE),
    "memory_gb": (1.0, "largest resident memory of the chapter's kernel", "GB"),
    "cpu_seconds": (120.0, "CPU seconds of the whole chapter's kernel", "seconds"),
}
for run in ("label for each", "labels learned weights"):  # near the end of the plateau, or not
    SAYS[f"synergistic_{run.replace(' ', '_')}"] = (0.15, f"synergistic, {run}: right", SHARE)

if __name__ == "__main__":
    record("multimodal/training", SAYS)
