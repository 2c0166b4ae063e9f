"""Scenes that are hard on purpose: to measure how robust a policy is, and to train it on."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from mmbook.world.scenes import SceneBatch, Seed, generator, sample_scenes
from mmbook.world.stickers import HELD_OUT_ARTWORK, KINDS
from mmbook.world.writers import triggers

# The twelve pairs that the tiny base model mixes up most: its probability of beginning with one kind, given
# that it begins with a kind, where a lone sticker of seen artwork shows the other (mean of both ways 0.017 to
# 0.021; 0.005 over all pairs). The test of this module measures it again.
LOOK_ALIKES = (
    ("airplane", "umbrella"), ("octopus", "umbrella"), ("owl", "umbrella"), ("panda", "bicycle"),
    ("octopus", "apple"), ("cat", "dog"), ("apple", "airplane"), ("apple", "strawberry"), ("owl", "apple"),
    ("tiger", "fox"), ("bus", "taxi"), ("panda", "penguin"),
)  # fmt: skip
HARD = ("crowded", "confusable", "triggers", "held-out")


def adversarial_scenes(kind: str, n: int, seed: Seed) -> SceneBatch:
    """`n` random scenes of one hard kind.

    "crowded" has three stickers, "confusable" two look-alikes and nothing else, "triggers" a sticker whose
    usual companion is missing, "held-out" the artwork that no model was trained on. Raises ValueError.
    """
    if kind not in HARD:
        raise ValueError(f"kind: expected one of {', '.join(HARD)}, got {kind!r}")
    rng = generator(seed, f"adversarial {kind}")
    if kind == "held-out":
        return sample_scenes(n, rng, HELD_OUT_ARTWORK)
    found = [sample_scenes(0, rng)]
    while sum(map(len, found)) < n:
        drawn = sample_scenes(4 * n, rng)
        count = (drawn.kind >= 0).sum(1)
        if kind == "triggers":
            hard = np.array([bool(triggers(scene)) for scene in drawn])
        else:
            hard = count == (3 if kind == "crowded" else 2)
        found.append(drawn[hard])
    scenes = _joined(found)[:n]
    if kind == "confusable":
        pairs = np.array([[KINDS.index(k) for k in pair] for pair in LOOK_ALIKES])
        scenes.kind[:, :2] = rng.permuted(pairs[rng.integers(len(pairs), size=n)], axis=1)
    return scenes


def mixed(share: float, kinds: Sequence[str] = HARD[:3]) -> Callable[[int, np.random.Generator], SceneBatch]:
    """Training scenes `(n, rng)` of which `share` are hard, equally many of each of `kinds` on average.

    Raises ValueError for a share outside [0, 1], an unknown kind, or none.
    """
    if not 0 <= share <= 1 or not kinds or not set(kinds) <= set(HARD):
        raise ValueError(
            f"share, kinds: expected a number in [0, 1] and some of {', '.join(HARD)}, "
            f"got {share!r}, {kinds!r}"
        )

    def scenes(n: int, rng: np.random.Generator) -> SceneBatch:
        hard = rng.random(n) < share
        counts = rng.multinomial(hard.sum(), [1 / len(kinds)] * len(kinds))
        parts = [adversarial_scenes(kind, int(c), rng) for kind, c in zip(kinds, counts, strict=True)]
        drawn = _joined([sample_scenes(int((~hard).sum()), rng), *parts])
        return drawn[rng.permutation(n)]

    return scenes


def _joined(batches: Sequence[SceneBatch]) -> SceneBatch:
    return SceneBatch(**{name: np.concatenate([vars(b)[name] for b in batches]) for name in vars(batches[0])})
