"""The numbers of the chapter on the outlook: python benchmarks/outlook.py     (25 CPU seconds)"""

from __future__ import annotations

import torch
from chapter_file import record

Says = tuple[float, str, str]


def says() -> dict[str, Says]:
    """Key of the chapter: (tolerance, what it is, unit)."""
    out: dict[str, Says] = {
        "last_beats_first": (1e-6, "votes for the style of the lowest score against the highest", "share"),
        "first_score": (1e-3, "highest Bradley-Terry score of a style", "nats"),
        "last_score": (1e-3, "lowest Bradley-Terry score of a style", "nats"),
        "terse_exploited": (1e-6, "exploitability of always writing terse captions", "votes"),
        "gradient_first": (1e-3, "exploitability of the policy gradient at its start", "payment"),
        "gradient_last": (0.05, "exploitability of the policy gradient after 2,000 steps", "payment"),
        "regret_last": (0.3, "exploitability of regret matching in round 2,000", "payment"),
        "regret_mean": (0.01, "exploitability of the mean of 2,000 rounds of regret matching", "payment"),
        "steps_sweeps": (0, "sweeps of single steps until all values are right within 0.1", "sweeps"),
        "options_sweeps": (0, "sweeps with options until all values are right within 0.1", "sweeps"),
        "start_exact": (1e-6, "value of the start of the rooms", "reward"),
        "steps_after_6": (1e-6, "value of the start after 6 sweeps of single steps", "reward"),
        "options_after_6": (1e-6, "value of the start after 6 sweeps with options", "reward"),
        "options_differ": (1e-9, "largest difference of the values with and without options", "reward"),
        "semi_pseudo_gain": (0.015, "gain by pseudo-labels over 40 labels", "share"),
        "semi_pseudo_error": (0.01, "its standard error over ten seeds", "share"),
        "semi_directions_gain": (0.015, "gain by eight directions of unjudged captions", "share"),
        "semi_directions_error": (0.01, "its standard error over ten seeds", "share"),
        "hint_best": (1e-6, "what the best policy of the rooms earns", "reward"),
        "hint_plain_most": (0.02, "most earned after 3,000 steps without a hint in ten runs", "reward"),
        "hint_differs": (1e-9, "largest error of Q less the potential", "reward"),
        "circling": (1e-3, "earned by the best policy for a bonus that is no potential", "reward"),
        "effect_exact": (1e-9, "effect of a long caption from the exact table", "share"),
        "cpu_seconds": (60, "CPU seconds of the whole chapter's kernel", "seconds"),
        "memory_gb": (1, "largest resident memory of the chapter's kernel", "GB"),
    }  # fmt: skip
    for style in ("terse", "detailed", "polite"):
        out[f"nash_{style}"] = (
            1e-6,
            f"share of {style} captions in the mixture that loses to nobody",
            "share",
        )
    for key in ("labels", "pseudo", "coins", "directions", "random", "all"):
        out[f"semi_{key}"] = (0.02, f"held-out pairs ranked right, {key}, ten seeds", "share")
    for key, steps in {"plain": 6, "guess": 3, "backwards": 6, "backwards_early": 3}.items():
        out[f"hint_{key}"] = (0.06, f"earned after {steps},000 steps, hint {key}, ten runs", "reward")
    for key in ("naive", "adjusted", "blind", "coin"):
        out[f"effect_{key}"] = (0.01, f"effect of a long caption, {key}, twenty logs", "share")
    return out


if __name__ == "__main__":
    torch.set_num_threads(1)
    record("practice/outlook", says())
