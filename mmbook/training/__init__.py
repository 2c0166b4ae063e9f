"""The training loop shared by all models, and the recipe of the tiny one."""

from mmbook.training.loop import Schedule, train

__all__ = ["Schedule", "train"]
