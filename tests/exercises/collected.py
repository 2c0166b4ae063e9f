"""All checked exercises in one form: solutions of the chapters, MISTAKES of the test files, messages."""

from __future__ import annotations

import ast
import io
import re
from collections.abc import Callable, Iterable
from contextlib import redirect_stdout, suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch

import mmbook.exercises
from mmbook.exercises import EXERCISES, Mistake, check

FOLDER = Path(__file__).parent
ROOT = FOLDER.parents[1]
CELL = re.compile(r"^```\{code-cell\}[^\n]*\n(.*?)^```$", re.M | re.S)
CALL = re.compile(r'^check(?:_answer)?\("([\w-]+/[\w-]+)", (\w+)\)', re.M)
CHECKED = re.compile(r"^(from mmbook\.exercises import .*|check(_answer)?\(.*)\n", re.M)
ASKED = re.compile(r'check\("([\w-]+/[\w-]+)", (\w+)\[words\]\)')
# What a checker says to an answer that is wrong in a way it does not know: it stopped, it has another shape
# or type, or its numbers stand beside the right ones.
GENERIC = re.compile(
    r"^your answer stopped with|, got (nothing|shape|None|a?n? ?\w+$)|^expected |"
    r"^the result (is|should be) |^row \d|^your interval is|^for KL = |where .* is right|"
    r"a tensor \(B, T\)|one number, a tensor|^give two numbers|yours is another one|"
    r"^right, but your answer changes|; it is off by|should have the shape|"
    r"^the value is right and the gradients are not"
)


def mistakes() -> dict[str, dict[str, Callable[..., Any]]]:
    """Exercise -> words of the message, a regular expression -> wrong answer.

    They are MISTAKES of each test file, or what it asks in the form `check("<page>/<name>", ROWS[words])`.
    """
    found: dict[str, dict[str, Callable[..., Any]]] = {}
    for path in sorted(FOLDER.glob("test_exercises_*.py")):
        module, asked = import_module(path.stem), ASKED.findall(path.read_text("utf-8"))
        found |= getattr(module, "MISTAKES", None) or {name: getattr(module, rows) for name, rows in asked}
    return dict(sorted(found.items()))


def solutions() -> dict[str, tuple[str, str]]:
    """Exercise -> the cell that solves it, as far as the check, and the name that it gives to the answer."""
    pages = sorted((ROOT / "book").rglob("*.md"))
    cells = (cell for page in pages for cell in CELL.findall(page.read_text("utf-8")))
    return {call[1]: (cell[: call.end()] + "\n", call[2]) for cell in cells if (call := CALL.search(cell))}


def answer_of(cell: str, name: str) -> Callable[..., Any]:
    """What a solution's cell calls `name`; nothing is checked."""
    scope: dict[str, Any] = {"np": np, "torch": torch}
    exec(CHECKED.sub("", cell), scope)
    return scope[name]


def message(name: str, answer: Any) -> str | None:
    """What the checker says to the answer, None if it is right."""
    with redirect_stdout(io.StringIO()):
        try:
            check(name, answer)
        except Mistake as mistake:
            return str(mistake)
    return None


def messages(name: str, rows: dict[str, Callable[..., Any]]) -> dict[str, str]:
    """Words -> message of an exercise's mistakes, "" for one that is called right."""
    return {words: message(name, answer) or "" for words, answer in rows.items()}


def faults(name: str, said: dict[str, str]) -> list[str]:
    """What is wrong with the messages of an exercise: passes, foreign words, one message for two mistakes."""
    found = [f"{name}: {words!r} is called right" for words, told in said.items() if not told]
    for words, told in said.items():
        fits = [x for x in said if re.search(x, told)]
        same = [x for x in said if x != words and said[x] == told and not GENERIC.search(told)]
        if told and fits != [words]:
            found.append(f"{name}: {told!r} should fit {words!r} alone, but fits {fits}")
        elif same:
            found.append(f"{name}: {words!r} and {same} have one message")
    return found


def hints() -> dict[str, list[str]]:
    """Exercise -> every sentence in its checker's source, as a regular expression that a message holds.

    Sentences of functions that belong to no exercise stand under the module's name.
    """
    found: dict[str, list[str]] = {}
    for path in sorted(Path(mmbook.exercises.__file__).parent.glob("[a-z]*.py")):
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.FunctionDef):
                calls = [d for d in node.decorator_list if isinstance(d, ast.Call)]
                name = ast.literal_eval(calls[0].args[0]) if calls else path.stem
                found.setdefault(name, []).extend(_sentences(node))
    return {name: list(dict.fromkeys(rows)) for name, rows in found.items() if rows}


def _sentences(function: ast.FunctionDef) -> Iterable[str]:
    """Keys, values and arguments of a function that are texts of four words or more."""
    for node in ast.walk(function):
        texts: list[ast.expr | None] = []
        if isinstance(node, ast.Dict):
            texts = [*node.keys, *node.values]
        elif isinstance(node, ast.Call):
            texts = [*node.args]
        elif isinstance(node, ast.Subscript):
            texts = [node.slice]
        elif isinstance(node, ast.Assign):
            texts = [node.value]
        for text in texts:
            if isinstance(text, ast.Constant) and isinstance(text.value, str):
                parts = [re.escape(text.value)]
            elif isinstance(text, ast.JoinedStr):
                parts = [re.escape(x.value) if isinstance(x, ast.Constant) else ".*" for x in text.values]
            else:
                continue
            if len(" ".join(parts).replace("\\", "").split()) > 3:
                yield "".join(parts)


def unreached(said: dict[str, dict[str, str]]) -> dict[str, list[str]]:
    """Sentences of the checkers that no mistake has heard; `said` has the messages of each exercise."""
    every = [told for rows in said.values() for told in rows.values()]
    heard = {name: list(rows.values()) for name, rows in said.items()}
    missing = {
        name: [hint for hint in rows if not any(re.search(hint, told) for told in heard.get(name, every))]
        for name, rows in hints().items()
    }
    return {name: rows for name, rows in missing.items() if rows}


def registered() -> list[str]:
    """Names of all exercises that have a checker."""
    with suppress(KeyError):
        check("no/such-exercise")
    return sorted(EXERCISES)
