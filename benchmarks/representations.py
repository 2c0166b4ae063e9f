"""Run the chapter on representations and write the numbers that its cells check.

Needs the fetched minilm, efficientnet and emoji; `speech_gap.py` makes the table of speech.
"""

from __future__ import annotations

from chapter_file import record

SHARE = "share"
SAYS: dict[str, tuple[float, str, str]] = {
    "pixels": (0.03, "one sticker, one vendor: nearest by pixels is of the same kind", SHARE),
    "across": (0.03, "one sticker, two vendors: the same", SHARE),
    "skip_part": (0.1, "skip-gram: neighbour is of the same part of speech", SHARE),
    "skip_mood": (0.25, "skip-gram: neighbour is of the same mood", SHARE),
    "label_mood": (0.15, "learned from labels: neighbour is of the same mood", SHARE),
    "left": (0.05, "states at 'left': neighbour is in the same sense", SHARE),
    "left_random": (0.05, "the same, in an untrained network", SHARE),
    "pixels_neighbour": (0.03, "unseen artwork: nearest seen drawing by pixels is of the same kind", SHARE),
    **{
        f"{name}_{what}": (0.12, f"unseen artwork, {name}: {says}", SHARE)
        for name in ("convolution", "vit")
        for what, says in (("named", "named right"), ("neighbour", "neighbour is of the same kind"))
    },
    **{
        f"sound_{name}": (0.08, f"voices: nearest by {name} is as lively", SHARE)
        for name in ("wave", "spectrogram", "mel", "gru", "80_bands")
    },
    "leaked": (0.05, "new sentences that stand among the old ones", SHARE),
    **{
        f"mirror_{style}": (0.03, f"{style} captions true of the mirrored picture", SHARE)
        for style in ("plain", "detailed", "relation")
    },
    "minilm_part": (0.05, "MiniLM: neighbour is of the same part of speech", SHARE),
    "minilm_mood": (0.05, "MiniLM: neighbour is of the same mood", SHARE),
    "emoji_pixels": (0.02, "two vendors' emoji: nearest by pixels is the same emoji", SHARE),
    "emoji_net": (0.02, "the same by EfficientNet-Lite0", SHARE),
    "emoji_net_large": (0.02, "the same, enlarged from 64 to 128 pixels", SHARE),
    "memory_gb": (1.0, "largest resident memory of the chapter's kernel", "GB"),
    "cpu_seconds": (120.0, "CPU seconds of the whole chapter's kernel", "seconds"),
}

if __name__ == "__main__":
    record("multimodal/representations", SAYS)
