"""Multimodal learning and RLHF, hands on: the package behind the book.

The four names of the quickstart and the rooms load on first use, so that `import mmbook` stays light.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mmbook.feedback import collect_human_feedback as collect_human_feedback
    from mmbook.models import load_pretrained_model as load_pretrained_model
    from mmbook.rlhf import fine_tune_with_rl as fine_tune_with_rl
    from mmbook.rlhf import train_reward_model as train_reward_model

__version__ = "0.1.0"

_HOME = {
    "load_pretrained_model": "models",
    "collect_human_feedback": "feedback",
    "train_reward_model": "rlhf",
    "fine_tune_with_rl": "rlhf",
}
_ROOMS = ("equations", "evaluate", "exercises", "feedback", "figures", "models", "rl", "rlhf", "world")

__all__ = ["__version__", *_HOME, *_ROOMS]


def __getattr__(name: str) -> Any:
    """Import a public name or a room the first time that it is asked for (PEP 562)."""
    if name in _HOME:
        value = getattr(import_module(f"mmbook.{_HOME[name]}"), name)
    elif name in _ROOMS:
        value = import_module(f"mmbook.{name}")
    else:
        raise AttributeError(f"module 'mmbook' has no attribute {name!r}; it has {', '.join(__all__)}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
