"""Checkers for the exercises: each says in words what is wrong with an answer.

A checker is a function of the answer, named by `@exercise("chapter/name")`, that raises `Mistake`.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

Checker = TypeVar("Checker", bound=Callable[..., None])
EXERCISES: dict[str, Callable[..., None]] = {}


class Mistake(Exception):
    """What is wrong with an answer, in one sentence; a notebook shows the sentence and no traceback."""

    def _render_traceback_(self) -> list[str]:
        return [f"Not yet: {self}"]


def exercise(name: str) -> Callable[[Checker], Checker]:
    """Register a checker under the name that readers give to `check`."""

    def register(checker: Checker) -> Checker:
        EXERCISES[name] = checker
        return checker

    return register


def check(name: str, *answer: Any) -> None:
    """Print that an answer is right; raises Mistake, or KeyError for no such exercise."""
    for path in sorted(Path(__file__).parent.glob("[a-z]*.py")):
        import_module(f"{__name__}.{path.stem}")
    if name not in EXERCISES:
        raise KeyError(f"exercise: expected one of {', '.join(sorted(EXERCISES))}, got {name!r}")
    try:
        EXERCISES[name](*answer)
    except Mistake:
        raise
    except Exception as error:
        raise Mistake(f"your answer stopped with {type(error).__name__}: {error}") from error
    print("Right.")
