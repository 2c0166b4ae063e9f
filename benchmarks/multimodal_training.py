"""Run the chapter on training and write the numbers that its cells check."""

from __future__ import annotations

from chapter_file import record

SHARE = "share"
SAYS: dict[str, tuple[float, str, str]] = {
    "redundant_whole": (0.04, "redundant, one loss: right", SHARE),
    "redundant_label_for_each": (0.04, "redundant, the label for each modality too: right", SHARE),
    "synergistic_whole": (0.08, "synergistic, one loss: right", SHARE),
    "synergistic_label_for_each": (0.15, "synergistic, the label for each modality too: right", SHARE),
    "synergistic_symbol_for_each": (0.04, "synergistic, its symbol for each modality: right", SHARE),
    "synergistic_symbols_learned_weights": (0.04, "the same with learned weights", SHARE),
    "synergistic_labels_learned_weights": (0.15, "labels for each, learned weights", SHARE),
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

if __name__ == "__main__":
    record("multimodal/training", SAYS)
