"""Checkers for the exercises: each says in words what is wrong with an answer.

A checker is a function of the answer, named by `@exercise("chapter/name")`, that raises `Mistake`.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import FunctionType
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
    changed: set[int] = set()
    try:
        EXERCISES[name](*(_watched(x, changed) if isinstance(x, FunctionType) else x for x in answer))
    except Mistake:
        raise
    except Exception as error:
        raise Mistake(f"your answer stopped with {type(error).__name__}: {error}") from error
    if changed:
        raise Mistake(
            f"right, but your answer changes what it was given (argument {min(changed) + 1}): work on a copy"
        )
    print("Right.")


def _watched(answer: Callable[..., Any], changed: set[int]) -> Callable[..., Any]:
    """The answer, which notes the places of the tensors, arrays and lists that it changes."""

    def asked(*given: Any) -> Any:
        before = [_copy(x) for x in given]
        got = answer(*given)
        changed.update(i for i, (x, was) in enumerate(zip(given, before, strict=True)) if not _same(x, was))
        return got

    return asked


def _copy(x: Any) -> Any:
    return x.detach().clone() if hasattr(x, "detach") else x.copy() if hasattr(x, "copy") else x


def _same(x: Any, was: Any) -> bool:
    same = x is was or x == was
    return same if isinstance(same, bool) else bool((same | (x != x)).all())  # NaN is NaN
