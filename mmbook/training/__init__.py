"""The training loop shared by all models."""

from mmbook.training.loop import Schedule, one_thread, train

__all__ = ["Schedule", "one_thread", "train"]
