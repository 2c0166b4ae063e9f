"""The numbers of the chapter on evaluation: python benchmarks/evaluation.py     (90 CPU seconds)"""

from __future__ import annotations

import torch
from chapter_file import record

Says = tuple[float, str, str]


def says() -> dict[str, Says]:
    """Key of the chapter: (tolerance, what it is, unit)."""
    out: dict[str, Says] = {
        "lie_bleu": (0.01, "BLEU of a false caption beside a plain reference", "score"),
        "detailed_bleu": (0.01, "BLEU of a true detailed caption beside it", "score"),
        "rambling_bleu": (0.01, "BLEU of a true rambling caption beside it", "score"),
        "nothing_accuracy": (0.01, "quarters right if nothing is said everywhere", "share"),
        "tower_accuracy": (0.02, "quarters right, tower, unseen drawings", "share"),
        "tower_stickers": (0.02, "stickers right, tower, unseen drawings", "share"),
        "nothing_macro": (0.01, "macro F1 of nothing everywhere", "share"),
        "tower_macro": (0.02, "macro F1 of the tower, unseen drawings", "share"),
        "tower_iou": (0.02, "mean IoU of the tower, unseen drawings", "share"),
    }
    sources = {"words": ["few"], "stickers": ["f1"]}
    sources |= {of: ["bleu", "rouge", "chrf"] for of in ("one", "careless", "six")}
    for of, names in sources.items():
        for name in names:
            out[f"{of}_{name}"] = (0.05, f"true captions ranked above false ones, {name}, {of}", "share")
            out[f"{of}_{name}_rank"] = (0.1, f"rank correlation with utility, {name}, {of}", "correlation")
    for who in ("liar", "rambler"):
        for name in ("bleu", "rouge", "chrf"):
            out[f"{who}_{name}"] = (0.01, f"{name} of the {who}, 500 captions", "score")
    out |= {
        "choices": (25, "choices among 200 blind comparisons of base and tuned", "choices"),
        "chosen": (0.15, "of them for the tuned model", "share"),
        "chosen_low": (0.15, "lower end of its Wilson interval", "share"),
        "chosen_high": (0.15, "upper end of its Wilson interval", "share"),
        "win_rate": (0.08, "win rate of the tuned model with ties", "share"),
        "win_low": (0.08, "lower end of its bootstrap interval", "share"),
        "win_high": (0.08, "upper end of its bootstrap interval", "share"),
        "clicks": (1, "choices to see 55 % with a power of 80 %", "choices"),
        "clicks_two": (1, "choices to see 52 % with a power of 80 %", "choices"),
        "power_100": (0.04, "studies of 100 choices that see 55 %", "share"),
        "power_783": (0.03, "studies of 783 choices that see 55 %", "share"),
        "false_783": (0.02, "studies of 783 choices that see what is not there", "share"),
        "peeked": (0.05, "false alarms with a look every 20 of 783 choices", "share"),
    }
    for who in ("base", "base_greedy", "base_matched", "tuned", "tuned_greedy"):
        for what in ("rating", "low", "high"):
            out[f"{who}_{what}"] = (0.25, f"Bradley-Terry {what} of {who}, 240 pictures", "nats")
        for what in ("true", "full", "coverage", "claim_precision", "bleu"):
            out[f"{who}_{what}"] = (0.1, f"{what} of {who}, 240 pictures", "share")
    for who in ("fair", "first", "wordy", "base", "tuned"):
        for what in ("first", "changed", "padded", "base_wins"):
            out[f"judge_{who}_{what}"] = (0.1, f"{what}, judge {who}", "share")
    out |= {
        "proxy_start": (0.1, "mean reward of the base's captions", "reward"),
        "proxy_end": (0.4, "mean reward at the end of PPO", "reward"),
        "best_rate": (0.06, "highest win rate of a checkpoint, 240 pictures", "share"),
        "last_rate": (0.2, "win rate of the last checkpoint, 240 pictures", "share"),
        "curse_looks": (0.05, "win rate of the best of 13 checkpoints on 20 pictures, as measured", "share"),
        "curse_is": (0.05, "the same checkpoint's win rate on all pictures", "share"),
        "fresh_proxy": (0.2, "fresh win rate of the checkpoint picked by the proxy", "share"),
        "fresh_reader": (0.06, "fresh win rate of the checkpoint picked by the reader", "share"),
        "fresh_low": (0.06, "lower end of its 95 % interval", "share"),
        "fresh_high": (0.06, "upper end of its 95 % interval", "share"),
        "cpu_seconds": (120, "CPU seconds of the whole chapter's kernel", "seconds"),
        "memory_gb": (1, "largest resident memory of the chapter's kernel", "GB"),
    }
    return out


if __name__ == "__main__":
    torch.set_num_threads(1)
    record("practice/evaluation", says())
