"""Measurements: what captions say, how sure one can be of it, and how much of a gain is mere sharpening."""

from mmbook.evaluate.captions import captions
from mmbook.evaluate.sharpening import matched_temperature, sequence_entropy, sequence_kl, sharpening_rows
from mmbook.feedback.intervals import wilson

__all__ = [
    "captions",
    "matched_temperature",
    "sequence_entropy",
    "sequence_kl",
    "sharpening_rows",
    "wilson",
]
