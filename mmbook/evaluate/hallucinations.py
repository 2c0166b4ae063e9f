"""Two ways to invent: the habit of the training captions, and slips."""

from __future__ import annotations

from collections.abc import Sequence

from mmbook.world import COMPANIONS, Scene, SceneBatch, check, parse, triggers


def hallucinations(captions: Sequence[str], scenes: Sequence[Scene] | SceneBatch) -> dict[str, float]:
    """How often captions invent, and how.

    "habit" is the share of trigger scenes whose caption names the companion that is not there, "slip" the
    share of all other scenes whose caption makes a wrong claim or is not in the language.
    """
    habit, slip = list[bool](), list[bool]()
    for caption, scene in zip(captions, scenes, strict=True):
        statement, found = parse(caption), triggers(scene)
        if found:
            named = statement.kinds if statement else ()
            habit.append(any(COMPANIONS[kind] in named for kind in found))
        else:
            slip.append(not check(caption, scene).true)
    return {"habit": sum(habit) / max(1, len(habit)), "slip": sum(slip) / max(1, len(slip))}
