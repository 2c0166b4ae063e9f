"""Try the checkers of all code exercises: solutions, typical mistakes, hints and mutants of the solutions.

The mistakes are those of tests/exercises/test_exercises_*.py. A mutant is a published solution with one small
change (benchmarks/mutants.py), or one that changes an argument in place. A mutant that a checker calls right
stands in benchmarks/equivalent_mutants.json under the reason why it is no mistake; others are survivors.
Writes benchmarks/results/exercises.json. Run `python benchmarks/exercises.py`, about half a minute.
"""

from __future__ import annotations

import json
import signal
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import results_file
from mutants import mutants, spoiling

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "exercises"))

from collected import (
    CHECKED,
    GENERIC,
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

EQUIVALENT = Path(__file__).parent / "equivalent_mutants.json"
SECONDS = 20  # a mutant that takes longer runs for ever


def tried(name: str, cell: str, function: str) -> Iterator[tuple[str, str | None]]:
    """Yield what was changed in each mutant of a solution, and the checker's message, None for right."""
    code = CHECKED.sub("", cell)
    for change, text in mutants(code, function):
        signal.alarm(SECONDS)
        try:
            yield change, message(name, answer_of(text, function))
        except TimeoutError:
            yield change, "your answer stopped with TimeoutError"
        finally:
            signal.alarm(0)
    right = answer_of(code, function)
    for place in range(right.__code__.co_argcount):
        answer, done = spoiling(right, place)
        told = message(name, answer)
        if done:
            yield f"argument {place + 1} is changed in place", told


def too_long(*_: object) -> None:
    """End a mutant that runs for ever."""
    raise TimeoutError


def main() -> None:
    """Run everything and write the results."""
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGALRM, too_long)
    reasons = json.loads(EQUIVALENT.read_text(encoding="utf-8"))
    known = {(name, x) for rows in reasons.values() for name, changes in rows.items() for x in changes}
    wrong, solved, said, table, alive = mistakes(), solutions(), {}, {}, set()
    every = {*registered(), *solved, *wrong}
    problems = [
        f"{name}: it has no {what}"
        for what, have in {"checker": registered(), "solution": solved, "mistakes": wrong}.items()
        for name in sorted(every.difference(have))
    ]
    for name, (cell, function) in sorted(solved.items()):
        if told := message(name, answer_of(cell, function)):
            problems.append(f"{name}: the published solution is told: {told}")
        said[name] = messages(name, wrong.get(name, {}))
        problems += faults(name, said[name])
        found = list(tried(name, cell, function))
        passed = [change for change, told in found if told is None]
        alive |= {(name, change) for change in passed}
        general = sorted(words for words, told in said[name].items() if GENERIC.search(told))
        table[name] = {
            "mistakes": {words: told for words, told in said[name].items() if words not in general},
            "generic": general,
            "mutants": len(found),
            "killed": len(found) - len(passed),
            "stopped": sum("your answer stopped with" in (told or "") for _, told in found),
            "named": sum(bool(told) and not GENERIC.search(told) for _, told in found),
            "equivalent": sorted(x for x in passed if (name, x) in known),
            "survived": sorted(x for x in passed if (name, x) not in known),
        }
        counts = {key: x if isinstance(x, int) else len(x) for key, x in table[name].items()}
        print(name, *(f"{key} {count}" for key, count in counts.items()), flush=True)
        print(*(f"  survives: {x}\n" for x in table[name]["survived"]), sep="", end="")
    problems += [f"{name}: no mistake hears {x!r}" for name, rows in unreached(said).items() for x in rows]
    problems += [f"{name}: {EQUIVALENT.name} has a mutant that is caught: {x}" for name, x in known - alive]
    if problems:
        raise SystemExit("\n".join(problems))
    says = {
        "mistakes": "typical mistakes that have a message of their own",
        "generic": "wrong answers that are told their error, their shape or the right numbers",
        "mutants": "mutants of the published solutions",
        "killed": "mutants that a checker calls wrong",
        "stopped": "of these, mutants that end with an error",
        "named": "of these, mutants that get a typical mistake's message",
        "equivalent": "mutants that are no mistakes",
        "survived": "mutants that are mistakes and are called right",
    }

    def total(key: str) -> int:
        return sum(x if isinstance(x := row[key], int) else len(x) for row in table.values())

    counts = {key: results_file.number(total(key), 0, text, unit="count") for key, text in says.items()}
    least = min(len(row["mistakes"]) for row in table.values())
    values = {
        "exercises": results_file.number(len(table), 0, "code exercises with a checker", unit="count"),
        "least": results_file.number(least, 0, "typical mistakes of the exercise with fewest", unit="count"),
        "hints": results_file.number(
            sum(map(len, hints().values())), 0, "sentences in the checkers", unit="count"
        ),
        **counts,
    }
    results_file.write("exercises", values, table=table)
    print({key: value["value"] for key, value in values.items()})


if __name__ == "__main__":
    main()
