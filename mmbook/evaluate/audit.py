"""Audits: which groups of scenes a captioner serves worse, and what a reward pays for besides the truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from mmbook.evaluate.judges import restyled
from mmbook.evaluate.preferences import Reward
from mmbook.feedback.intervals import wilson
from mmbook.world import COMPANIONS, KINDS, QUARTERS, Scene, SceneBatch, describe, say
from mmbook.world.scenes import Seed, generator


class Group(NamedTuple):
    """A group of scenes: how many of how many are right, the interval, and the adjusted p of a difference."""

    name: str
    right: int
    n: int
    interval: tuple[float, float]
    p: float


def groups_of(scene: Scene) -> list[str]:
    """The groups that a scene belongs to: its kinds, sizes, places, number of stickers and artwork."""
    found = [f"artwork {scene.artwork}", f"{len(scene.stickers)} sticker(s)"]
    for s in scene.stickers:
        found += [s.kind, "big" if s.big else "small", QUARTERS[s.quarter]]
    return list(dict.fromkeys(found))


def by_group(scenes: Sequence[Scene] | SceneBatch, right: Sequence[bool]) -> list[Group]:
    """Each group with its share that is right, the least likely to be chance first.

    `p` is Fisher's exact test of the group against all other scenes, adjusted for the number of groups by
    `holm`. Raises ValueError for another number of verdicts.
    """
    from scipy.stats import fisher_exact  # slow to import

    if len(right) != len(scenes) or not len(scenes):
        raise ValueError(f"right: expected a verdict for each of {len(scenes)} scenes, got {len(right)}")
    counts: dict[str, list[int]] = {}
    for scene, r in zip(scenes, right, strict=True):
        for name in groups_of(scene):
            of = counts.setdefault(name, [0, 0])
            of[0], of[1] = of[0] + bool(r), of[1] + 1
    hits, total = int(np.sum(np.asarray(right, bool))), len(scenes)
    tables = [[[k, n - k], [hits - k, total - n - hits + k]] for k, n in counts.values()]
    adjusted = holm(np.array([fisher_exact(t)[1] for t in tables]))
    rows = zip(counts.items(), adjusted, strict=True)
    found = [Group(name, k, n, wilson(k, n), float(p)) for (name, (k, n)), p in rows]
    return sorted(found, key=lambda group: (group.p, group.right / group.n))


def holm(p: np.ndarray) -> np.ndarray:
    """p-values (m,) adjusted so that the chance of any false alarm among them is kept.

    Source: {cite}`holm1979simple`.
    """
    order, m = np.argsort(p), len(p)
    steps = np.maximum.accumulate(np.asarray(p)[order] * (m - np.arange(m)))
    out = np.empty(m)
    out[order] = np.minimum(steps, 1.0)
    return out


def counterfactuals(scene: Scene, rng: np.random.Generator) -> dict[str, str]:
    """A true, full caption in plain words, and others that differ from it in one thing each.

    "polite", "rambling", "terse" and "other order" say the same; "one left out" (of two or more) says less,
    "a lie" names a kind that is not there in one's place, "a companion" invents what often goes with one.
    """
    plain, kinds = describe(scene, "plain"), scene.kinds
    out = {style: restyled(say(plain), style) for style in ("plain", "polite", "rambling", "terse")}
    absent = [kind for kind in KINDS if kind not in kinds]
    at, lie = int(rng.integers(len(kinds))), str(rng.choice(absent))
    told = {"a lie": (*kinds[:at], lie, *kinds[at + 1 :])}
    if len(kinds) > 1:
        told |= {"other order": kinds[::-1], "one left out": kinds[:at] + kinds[at + 1 :]}
    for i, kind in enumerate(kinds):
        if COMPANIONS.get(kind) in absent:
            told["a companion"] = (*kinds[: i + 1], COMPANIONS[kind], *kinds[i + 1 :])
    out |= {name: say(replace(plain, kinds=said)) for name, said in told.items()}
    return {name: caption for name, caption in out.items() if caption}


def prices(
    reward: Reward, scenes: Sequence[Scene] | SceneBatch, seed: Seed = 0
) -> dict[str, tuple[float, float]]:
    """What each counterfactual earns over the plain caption: mean, and half of its 95 % interval.

    Both in standard deviations of the reward over all these captions.
    """
    rng = generator(seed, "counterfactuals")
    rows = [(i, name, c) for i, s in enumerate(scenes) for name, c in counterfactuals(s, rng).items()]
    pictures = [scenes[i] for i, _, _ in rows]
    R = np.asarray(reward.score(pictures, [c for _, _, c in rows]), float)
    plain = {i: r for (i, name, _), r in zip(rows, R, strict=True) if name == "plain"}
    gains: dict[str, list[float]] = {}
    for (i, name, _), r in zip(rows, R, strict=True):
        if name != "plain":
            gains.setdefault(name, []).append((r - plain[i]) / R.std())
    return {k: (float(np.mean(v)), float(1.96 * np.std(v) / len(v) ** 0.5)) for k, v in gains.items()}
