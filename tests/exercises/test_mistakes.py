"""All checked exercises: the solution passes, every mistake has a message of its own, every hint is heard."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from types import ModuleType

import numpy as np
import pytest
import torch
from collected import (
    GENERIC,
    ROOT,
    answer_of,
    faults,
    hints,
    message,
    messages,
    mistakes,
    registered,
    solutions,
    unreached,
)

from mmbook.exercises import EXERCISES, Mistake, check, exercise

RESULTS = json.loads((ROOT / "benchmarks" / "results" / "exercises.json").read_text("utf-8"))
SOLUTIONS, MISTAKES = solutions(), mistakes()


@pytest.fixture(scope="module")
def benchmarks() -> Iterator[dict[str, ModuleType]]:
    """The scripts that try the checkers, as modules."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    import exercises
    import mutants

    yield {"exercises": exercises, "mutants": mutants}
    sys.path.remove(str(ROOT / "benchmarks"))


@pytest.fixture(scope="module")
def said() -> dict[str, dict[str, str]]:
    """Exercise -> words -> message of all mistakes."""
    return {name: messages(name, rows) for name, rows in MISTAKES.items()}


def test_every_exercise_has_a_solution_and_mistakes():
    assert registered() == sorted(SOLUTIONS) == sorted(MISTAKES) == sorted(RESULTS["table"])


@pytest.mark.parametrize("name", SOLUTIONS)
def test_the_published_solution_is_right(name, capsys):
    cell, _ = SOLUTIONS[name]
    exec(cell, {"np": np, "torch": torch, "check": check, "check_answer": check})
    assert capsys.readouterr().out == "Right.\n"


def test_every_mistake_has_a_message_that_no_other_has(said):
    assert [x for name, rows in said.items() for x in faults(name, rows)] == []
    own = {name: [x for x in rows.values() if not GENERIC.search(x)] for name, rows in said.items()}
    assert all(len(rows) >= 3 for rows in own.values()), {n: len(rows) for n, rows in own.items()}
    assert len(own) >= 40 and sum(map(len, own.values())) >= 120


def test_every_hint_is_heard(said):
    assert unreached(said) == {}
    assert sum(map(len, hints().values())) == RESULTS["values"]["hints"]["value"]


def test_the_results_are_those_of_the_code(said):
    table, values = RESULTS["table"], {key: x["value"] for key, x in RESULTS["values"].items()}
    for name, rows in said.items():
        told = {words for words, x in rows.items() if not GENERIC.search(x)}
        assert table[name]["mistakes"].keys() == told, f"{name}: run benchmarks/exercises.py"
        assert table[name]["generic"] == sorted(rows.keys() - told), f"{name}: run benchmarks/exercises.py"
    assert values["exercises"] == len(said)
    for key in values.keys() - {"exercises", "least", "hints"}:
        assert values[key] == sum(x if isinstance(x := row[key], int) else len(x) for row in table.values())
    assert values["mutants"] == values["killed"] + values["equivalent"]
    assert values["survived"] == 0


def test_the_mutants_of_the_results_are_those_of_the_solutions(benchmarks):
    for name, (cell, function) in SOLUTIONS.items():
        code = benchmarks["exercises"].CHECKED.sub("", cell)
        made = sum(1 for _ in benchmarks["mutants"].mutants(code, function))
        spoilt = RESULTS["table"][name]["mutants"] - made  # those that change an argument in place
        most = answer_of(cell, function).__code__.co_argcount
        assert 0 <= spoilt <= most, f"{name}: run benchmarks/exercises.py"


@pytest.mark.slow
def test_no_mutant_is_called_right_that_is_a_mistake(benchmarks):
    rows = json.loads((ROOT / "benchmarks" / "equivalent_mutants.json").read_text("utf-8")).values()
    for name, (cell, function) in SOLUTIONS.items():
        passed = [x for x, told in benchmarks["exercises"].tried(name, cell, function) if told is None]
        assert sorted(passed) == sorted(x for reason in rows for x in reason.get(name, ()))


def test_mutants_are_single_changes(benchmarks):
    code = "def f(x, y):\n    if x > 1:\n        y = y.abs()\n    return x - 2 * y"
    found = dict(benchmarks["mutants"].mutants(code, "f"))
    assert {
        "return x - 2 * y -> return x + 2 * y",
        "return x - 2 * y -> return 2 * y - x",
        "return x - 2 * y -> return x - y",
        "return x - 2 * y -> return x - 3 * y",
        "return x - 2 * y -> return y - 2 * y",
        "if x > 1: -> if x >= 1:",
        "y = y.abs() -> y = y",
        "y = y.abs() -> pass",
    } <= found.keys()
    assert all(text != code and compile(text, "f", "exec") for text in found.values())
    assert len(set(found.values())) == len(found)


def test_an_answer_that_changes_its_arguments_is_told(monkeypatch):
    monkeypatch.setitem(EXERCISES, "no/such", lambda answer: None)

    @exercise("no/such")
    def checker(answer):
        nan = torch.tensor([1.0, torch.nan])
        if answer([1, 2], np.array([True, False]), nan, "word", 3) != 6:
            raise Mistake("that is not 6")

    def spoil(place):
        def answer(*given):
            given[place][0] = 0
            return 6

        return answer

    assert message("no/such", lambda *given: 6) is None
    assert message("no/such", lambda *given: 7) == "that is not 6"
    for place in range(3):
        assert re.search(rf"argument {place + 1}\): work on a copy$", message("no/such", spoil(place)))
