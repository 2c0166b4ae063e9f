"""Measurements: what captions say and how sure one can be of it."""

from mmbook.evaluate.captions import captions
from mmbook.evaluate.intervals import wilson

__all__ = ["captions", "wilson"]
