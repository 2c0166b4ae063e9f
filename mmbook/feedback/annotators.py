"""Simulated readers: they judge two captions of a scene as a person with one clear taste would."""

from __future__ import annotations

from collections.abc import Sequence

from mmbook.world import STYLES, Scene, check, normalise, parse
from mmbook.world.scenes import Seed, generator

TASTES = (*STYLES, "faithful", "random")


class SimulatedAnnotator:
    """A reader with a taste; called with `(scene, captions)` it returns the better caption's index or "tie".

    "terse" likes few words for each sticker named, "detailed" likes captions that say size and place, else
    many words for each; any other style likes captions in that style. "faithful" weighs coverage against
    wrong claims and does not care for style. "random" tosses a coin. With probability `noise` a judgement is
    turned round. Raises ValueError for another taste.
    """

    def __init__(self, taste: str, seed: Seed = 0, noise: float = 0.0) -> None:
        if taste not in TASTES:
            raise ValueError(f"taste: expected one of {', '.join(TASTES)}, got {taste!r}")
        if not 0 <= noise <= 1:
            raise ValueError(f"noise: expected a probability, got {noise!r}")
        self.taste, self.noise, self.name = taste, noise, f"simulated-{taste}"
        self._rng = generator(seed, "annotator")

    def liking(self, scene: Scene, caption: str) -> tuple[float, ...]:
        """How well the reader likes a caption; tuples compare from the left."""
        statement = parse(caption)
        if self.taste == "faithful":
            return (check(caption, scene).utility,)
        if statement is None:
            return (-1.0,)
        mentions = len(statement.kinds)
        words = len(normalise(caption).split()) / mentions
        if self.taste == "terse":
            return (1.0, float(statement.style == "terse"), -words if statement.style != "terse" else 0.0)
        if self.taste == "detailed":
            return (
                1.0,
                float(statement.style == "detailed"),
                words if statement.style != "detailed" else 0.0,
            )
        return (1.0, float(statement.style == self.taste))

    def __call__(self, scene: Scene, captions: Sequence[str]) -> int | str:
        if self.taste == "random":
            return int(self._rng.integers(len(captions)))
        likings = [self.liking(scene, caption) for caption in captions]
        best = max(likings)
        flip = self._rng.random() < self.noise
        if likings.count(best) > 1:
            return "tie"
        return likings.index(min(likings) if flip else best)
