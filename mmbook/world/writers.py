"""Who writes captions: an exact writer, the careless writer of the training set, a near-miss writer.

The careless writer errs in two ways. A random slip changes one claim. A habit adds, in trigger scenes, the
companion that usually goes with a sticker ("where there is a cat there is a fish") although it is not in the
picture. A habit that is right less often than wrong is what a model cannot unlearn by lowering the
temperature.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np

from mmbook.world.captions import RELATIONS, STYLES, Statement, normalise, say
from mmbook.world.scenes import Scene, Seed, Sticker, generator, sample_scenes
from mmbook.world.stickers import KINDS
from mmbook.world.truth import holds

STYLE_SHARES = {
    "terse": 0.14,
    "plain": 0.16,
    "detailed": 0.16,
    "polite": 0.20,
    "relation": 0.14,
    "rambling": 0.20,
}
COMPANIONS = {
    "cat": "fish",
    "monkey": "banana",
    "butterfly": "sunflower",
    "bus": "taxi",
    "rocket": "airplane",
}
HABIT_SHARE = 0.7  # of the trigger scenes get the companion
SLIP_SHARE = 0.15  # of the other captions get one wrong claim


def triggers(scene: Scene) -> list[str]:
    """The kinds in the scene whose companion is missing from it."""
    return [kind for kind in scene.kinds if kind in COMPANIONS and COMPANIONS[kind] not in scene.kinds]


def describe(scene: Scene, style: str) -> Statement:
    """The true and full statement about a scene in one style, in reading order."""
    if style == "detailed":
        return Statement(
            style, scene.kinds, tuple(s.big for s in scene.stickers), tuple(s.quarter for s in scene.stickers)
        )
    if style == "relation":
        quarters = [s.quarter for s in scene.stickers]
        pairs = pairwise(quarters)
        return Statement(
            style, scene.kinds, relations=tuple("left of" if a // 2 == b // 2 else "above" for a, b in pairs)
        )
    return Statement(style, scene.kinds)


def _with_companion(statement: Statement, trigger: str, rng: np.random.Generator) -> Statement:
    at = statement.kinds.index(trigger) + 1
    free = sorted(set(range(4)) - set(statement.quarters))

    def insert(values: tuple, value: object) -> tuple:
        return (*values[:at], value, *values[at:])

    return replace(
        statement,
        kinds=insert(statement.kinds, COMPANIONS[trigger]),
        big=insert(statement.big, bool(rng.random() < 0.5)) if statement.big else (),
        quarters=insert(statement.quarters, int(rng.choice(free))) if statement.quarters else (),
        relations=(
            *statement.relations[: at - 1],
            str(rng.choice(["left of", "above"])),
            *statement.relations[at - 1 :],
        )
        if statement.style == "relation"
        else (),
    )


def _slip(statement: Statement, scene: Scene, rng: np.random.Generator) -> Statement:
    at = int(rng.integers(len(statement.kinds)))
    field = str(
        rng.choice(
            ["kinds"]
            + (["big", "quarters"] if statement.big else [])
            + (["relations"] if statement.relations else [])
        )
    )
    values = list(getattr(statement, field))
    if field == "kinds":
        values[at] = str(rng.choice([k for k in KINDS if k not in scene.kinds]))
    elif field == "big":
        values[at] = not values[at]
    elif field == "quarters":
        values[at] = int(rng.choice([q for q in range(4) if q != values[at]]))
    else:
        at = int(rng.integers(len(values)))
        a, b = (s.quarter for s in scene.stickers[at : at + 2])
        values[at] = str(rng.choice([r for r in RELATIONS if not holds(r, a, b)]))
    change: dict[str, Any] = {field: tuple(values)}
    return replace(statement, **change)


def careless_captions(scenes: Sequence[Scene], seed: Seed) -> list[str]:
    """One training caption a scene: a random style, with the writer's habit and slips."""
    rng = generator(seed, "captions")
    styles = rng.choice(list(STYLE_SHARES), len(scenes), p=list(STYLE_SHARES.values()))
    out = []
    for scene, style in zip(scenes, styles, strict=True):
        statement, found = describe(scene, str(style)), triggers(scene)
        if found and rng.random() < HABIT_SHARE:
            statement = _with_companion(statement, found[int(rng.integers(len(found)))], rng)
        elif rng.random() < SLIP_SHARE:
            statement = _slip(statement, scene, rng)
        out.append(say(statement))
    return out


def near_miss_pairs(n: int, seed: Seed) -> list[tuple[Scene, str, str]]:
    """`n` scenes, each with two captions of one style and length that differ in one kind; one is true.

    Which of the two kinds is in the picture is a coin flip made after both captions are written, so the
    captions alone carry no information about which is true (`tests/world` checks the exchangeability). Where
    another sticker of the picture has a companion, that companion is one of the two kinds in at least half of
    the pairs.
    """
    rng = generator(seed, "near misses")
    out = []
    for scene in sample_scenes(n, rng):
        kinds = list(scene.kinds)
        at = int(rng.integers(len(kinds)))
        others = [k for i, k in enumerate(kinds) if i != at]
        outside = [k for k in KINDS if k not in others]
        pair = [str(k) for k in rng.choice(outside, 2, replace=False)]
        companions = [
            COMPANIONS[k] for k in others if k in COMPANIONS and COMPANIONS[k] not in [*others, *pair]
        ]
        if companions and rng.random() < 0.5:
            pair[int(rng.integers(2))] = str(rng.choice(companions))
        style = str(rng.choice(STYLES))
        rng.shuffle(pair)
        captions, drawn = [], int(rng.integers(2))
        for kind in pair:
            stickers = tuple(
                Sticker(kind if i == at else s.kind, s.quarter, s.big, s.dx, s.dy)
                for i, s in enumerate(scene.stickers)
            )
            captions.append(
                (Scene(stickers, scene.artwork), say(describe(Scene(stickers, scene.artwork), style)))
            )
        out.append((captions[drawn][0], captions[0][1], captions[1][1]))
    assert all(normalise(a) != normalise(b) for _, a, b in out)
    return out
