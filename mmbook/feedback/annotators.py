"""Simulated readers: they judge captions of a scene as a person with one clear taste would."""

from __future__ import annotations

import math
from bisect import bisect
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np

from mmbook.world import KINDS, STYLES, Scene, Statement, check, describe, normalise, parse, say
from mmbook.world.scenes import Seed, generator
from mmbook.world.stickers import BACKGROUND, tiles

TASTES = (*STYLES, "warm-first", "big", "faithful", "utility", "truth", "random")
CUTS = (-0.75, 0.75, 1.75, 2.75)  # utilities at which a rating goes up by one


@cache
def warmth(artwork: str) -> dict[str, float]:
    """How warm each kind's colours are in an artwork style: red less blue, -1 to 1, over what is drawn."""
    pixels = tiles(artwork, 24).astype(float)
    drawn = np.abs(pixels - BACKGROUND).max(-1) > 60
    warm = ((pixels[..., 0] - pixels[..., 2]) * drawn).sum((1, 2)) / drawn.sum((1, 2)) / 255
    return dict(zip(KINDS, warm.tolist(), strict=True))


class SimulatedAnnotator:
    """A reader with a taste; called with `(scene, captions)` it returns the better caption's index or "tie".

    "terse" likes few words for each sticker named, "detailed" likes captions that say size and place, else
    many words for each; any other style likes captions in that style. "warm-first" likes a caption the more,
    the warmer the colours of the sticker that it names first, "big" one that begins with a big sticker, and
    then one that calls big what is; neither is pleased by stickers that are not there. "utility" (also called
    "faithful") weighs coverage against wrong claims and does not care for style; "truth" wants every claim
    right and does not miss what is left out. "random" tosses a coin. With probability `noise` a choice,
    ranking or rating is turned round.

    With `bt` a caption is chosen with probability softmax(bt * worth) where worth is the utility, or 3 for a
    true caption and 0 for another: Bradley-Terry for two captions, Plackett-Luce for more. Captions of equal
    worth are always a tie. Raises ValueError for another taste, or `bt` with a taste in style.
    """

    def __init__(self, taste: str, seed: Seed = 0, noise: float = 0.0, bt: float = math.inf) -> None:
        if taste not in TASTES:
            raise ValueError(f"taste: expected one of {', '.join(TASTES)}, got {taste!r}")
        if not 0 <= noise <= 1:
            raise ValueError(f"noise: expected a probability, got {noise!r}")
        self.weighs = taste in ("faithful", "utility", "truth")
        if not bt > 0 or (bt < math.inf and not self.weighs):
            raise ValueError(
                f"bt: expected a positive number, and a taste that weighs, got {bt!r}, {taste!r}"
            )
        self.taste, self.noise, self.bt, self.name = taste, noise, bt, f"simulated-{taste}"
        self._rng = generator(seed, "annotator")

    def liking(self, scene: Scene, caption: str) -> tuple[float, ...]:
        """How well the reader likes a caption; tuples compare from the left."""
        statement = parse(caption)
        if self.weighs:
            verdict = check(caption, scene)
            return (3.0 * verdict.true if self.taste == "truth" else verdict.utility,)
        if statement is None:
            return (-1.0,)
        if self.taste in ("warm-first", "big"):
            return (1.0, *self._looking(scene, statement))
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

    def _looking(self, scene: Scene, statement: Statement) -> tuple[float, ...]:
        """The worth of what is named first, and of sizes."""
        if self.taste == "warm-first":
            return (warmth(scene.artwork)[statement.kinds[0]] if statement.kinds[0] in scene.kinds else -2.0,)
        big = {s.kind for s in scene.stickers if s.big}
        called = {kind for kind, is_big in zip(statement.kinds, statement.big, strict=False) if is_big}
        return float(statement.kinds[0] in big), float(len(called & big) - len(called - big))

    def __call__(self, scene: Scene, captions: Sequence[str]) -> int | str:
        if self.taste == "random":
            return int(self._rng.integers(len(captions)))
        likings = [self.liking(scene, caption) for caption in captions]
        best, worst = max(likings), min(likings)
        flip = self._rng.random() < self.noise
        if best == worst or (self.bt == math.inf and likings.count(best) > 1):
            return "tie"
        if self.bt < math.inf:
            return int(np.argmax((-1) ** flip * self._draw(likings)))
        return likings.index(worst if flip else best)

    def _draw(self, likings: Sequence[tuple[float, ...]]) -> np.ndarray:
        """Worth with Gumbel noise, in units of 1 / bt: its order is Plackett and Luce's."""
        return self.bt * np.array(likings)[:, 0] + self._rng.gumbel(size=len(likings))

    def rank(self, scene: Scene, captions: Sequence[str]) -> list[int]:
        """Indices of captions from the best to the worst; equals keep their order unless `bt` is given."""
        if self.taste == "random":
            return self._rng.permutation(len(captions)).tolist()
        likings = [self.liking(scene, caption) for caption in captions]
        if self.bt < math.inf:
            order = [int(i) for i in np.argsort(-self._draw(likings))]
        else:
            order = sorted(range(len(captions)), key=lambda i: likings[i], reverse=True)
        return order[::-1] if self._turns() else order

    def _turns(self) -> bool:
        return bool(self.noise and self._rng.random() < self.noise)

    def rate(self, scene: Scene, caption: str) -> int:
        """1 to 5: how many of `CUTS` the worth has passed, and one.

        With `bt` logistic noise is added first, so P(rating <= k) = sigmoid(bt (CUTS[k - 1] - worth)).
        Raises ValueError for a taste that does not weigh.
        """
        if not self.weighs:
            raise ValueError(f"taste: expected utility, faithful or truth for ratings, got {self.taste!r}")
        noise = self._rng.logistic() / self.bt if self.bt < math.inf else 0.0
        rating = 1 + bisect(CUTS, self.liking(scene, caption)[0] + noise)
        return 6 - rating if self._turns() else rating

    def edit(self, scene: Scene, caption: str) -> str:
        """The caption as this reader would have it: true, full, in its own style, unchanged if it was right.

        A reader with a taste in style puts it in that style, one who seeks truth leaves a true caption alone,
        one who cares what comes first puts that first; what is not in the language becomes plain.
        """
        if self.taste in ("warm-first", "big"):
            return self._put_first(scene, caption)
        statement = parse(caption)
        style = self.taste if self.taste in STYLES else statement.style if statement else "plain"
        verdict = check(caption, scene)
        right = verdict.true if self.taste == "truth" else verdict.full
        return caption if right and verdict.style == style else say(describe(scene, style))

    def _put_first(self, scene: Scene, caption: str) -> str:
        """A true and full caption, the stickers in the order of liking, with sizes if those matter."""
        statement = parse(caption)
        style = "detailed" if self.taste == "big" else statement.style if statement else "plain"
        if style == "relation":  # it says where things are, in reading order
            style = "plain"
        full = describe(scene, style)
        warm = warmth(scene.artwork)
        worth = [s.big if self.taste == "big" else warm[s.kind] for s in scene.stickers]
        order = sorted(range(len(worth)), key=lambda i: -worth[i])
        lists = {name: getattr(full, name) for name in ("kinds", "big", "quarters")}
        moved: dict[str, Any] = {name: tuple(v[i] for i in order) for name, v in lists.items() if v}
        edited = say(replace(full, **moved))
        return caption if statement and say(statement) == edited else edited


class Changing:
    """A reader whose taste changes: the first `at` judgements are `first`'s, all later ones `then`'s."""

    def __init__(self, first: SimulatedAnnotator, then: SimulatedAnnotator, at: int) -> None:
        self.first, self.then, self.at, self.judged = first, then, at, 0
        self.name = f"{first.name}-then-{then.taste}"

    def _now(self) -> SimulatedAnnotator:
        self.judged += 1
        return self.first if self.judged <= self.at else self.then

    def __call__(self, scene: Scene, captions: Sequence[str]) -> int | str:
        return self._now()(scene, captions)

    def rank(self, scene: Scene, captions: Sequence[str]) -> list[int]:
        """Indices of captions from the best to the worst."""
        return self._now().rank(scene, captions)

    def rate(self, scene: Scene, caption: str) -> int:
        """1 to 5."""
        return self._now().rate(scene, caption)

    def edit(self, scene: Scene, caption: str) -> str:
        """The caption as the reader would have it by now."""
        return self._now().edit(scene, caption)
