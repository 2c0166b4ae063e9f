"""Red teaming: a search for the scenes on which a model does worst."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from mmbook.models.threads import one_thread
from mmbook.world import KINDS, Scene, SceneBatch, Sticker, check, describe, sample_scenes, say
from mmbook.world.scenes import BIG, SIDE, SMALL, Seed, generator


def changed(scene: Scene, rng: np.random.Generator) -> Scene:
    """The scene with one thing changed: a sticker's kind, size or place, or one sticker more or fewer."""
    stickers, what = list(scene.stickers), str(rng.choice(["kind", "kind", "size", "place", "more", "fewer"]))
    at = int(rng.integers(len(stickers)))
    free = [q for q in range(4) if q not in {s.quarter for s in stickers}]
    kind = str(rng.choice([k for k in KINDS if k not in scene.kinds]))
    if what == "more" and len(stickers) < 3:
        stickers.append(_sticker(kind, int(rng.choice(free)), bool(rng.integers(2)), rng))
    elif what == "fewer" and len(stickers) > 1:
        del stickers[at]
    elif what == "place":
        stickers[at] = replace(stickers[at], quarter=int(rng.choice(free)))
    elif what == "size":
        stickers[at] = _sticker(stickers[at].kind, stickers[at].quarter, not stickers[at].big, rng)
    else:
        stickers[at] = replace(stickers[at], kind=kind)
    return Scene(tuple(sorted(stickers, key=lambda s: s.quarter)), scene.artwork)


def _sticker(kind: str, quarter: int, big: bool, rng: np.random.Generator) -> Sticker:
    room = SIDE // 2 - (BIG if big else SMALL) + 1
    return Sticker(kind, quarter, big, *(int(x) for x in rng.integers(room, size=2)))


def evolve(
    harm: Callable[[SceneBatch], np.ndarray], n: int, rounds: int, seed: Seed = 0
) -> tuple[SceneBatch, np.ndarray]:
    """The `n` most harmful scenes of n (rounds + 1) tried, and the harm (rounds + 1, n) of those kept so far.

    In each round every scene that is kept has one offspring, changed in one thing, and the worse half of both
    is dropped. Harm that is measured with noise is too high for what is kept: measure it anew.
    """
    rng = generator(seed, "red team")
    scenes = list(sample_scenes(n, rng))
    now = np.asarray(harm(SceneBatch.of(scenes)), float)
    kept = [now]
    for _ in range(rounds):
        scenes += [changed(scene, rng) for scene in scenes]
        now = np.concatenate([now, np.asarray(harm(SceneBatch.of(scenes[n:])), float)])
        worst = np.argsort(-now, kind="stable")[:n]
        scenes, now = [scenes[i] for i in worst], now[worst]
        kept.append(now)
    return SceneBatch.of(scenes), np.array(kept)


def false_share(model: Any, scenes: SceneBatch, samples: int = 8, seed: Seed = 0) -> np.ndarray:
    """The share of sampled captions of each scene that are not true (N,)."""
    draw = torch.Generator().manual_seed(int(generator(seed, "false share").integers(2**31)))
    said = model.sample(scenes, seed=draw, samples=samples)
    false = [not check(c, s).true for c, s in zip(said, scenes.repeat(samples), strict=True)]
    return np.array(false).reshape(-1, samples).mean(1)


@torch.no_grad()
def best_lies(reward: Any, scenes: SceneBatch) -> list[tuple[str, str, float]]:
    """For each scene the false plain caption that earns most: the wrong kind, for which one, and its lead.

    The lead is its reward less that of the true caption. All wrong kinds in all places are tried.
    """
    found = []
    with one_thread():
        for scene in scenes:
            plain, kinds = describe(scene, "plain"), scene.kinds
            absent = [k for k in KINDS if k not in kinds]
            lies = [(k, i) for i in range(len(kinds)) for k in absent]
            told = [say(replace(plain, kinds=(*kinds[:i], k, *kinds[i + 1 :]))) for k, i in lies]
            prefix = reward.trunk.prefix([scene]).repeat(len(told) + 1)
            R = reward(prefix, *reward.trunk.tokens([say(plain), *told]), [scene] * len(prefix))
            best = int(R[1:].argmax())
            kind, at = lies[best]
            found.append((kind, kinds[at], float(R[1 + best] - R[0])))
    return found
