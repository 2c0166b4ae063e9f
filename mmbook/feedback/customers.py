"""A simulated customer: judges answers to questions about a picture by what they are expected to be worth."""

from __future__ import annotations

import math

from mmbook.feedback.annotators import SimulatedAnnotator
from mmbook.world import Scene
from mmbook.world.questions import answer_utility
from mmbook.world.scenes import Seed


class Customer(SimulatedAnnotator):
    """Somebody who is glad of a right answer, pays `price` for being asked back and `ell` for a wrong answer.

    Called with `(scene, answers)` as any annotator; `bt` and `noise` are a `SimulatedAnnotator`'s. An answer
    that guesses what is meant is judged by its chance, not by whether it was lucky. Raises ValueError for a
    negative price or loss.
    """

    def __init__(
        self, price: float = 0.5, ell: float = 1.0, seed: Seed = 0, noise: float = 0.0, bt: float = math.inf
    ) -> None:
        if not (price >= 0 and ell >= 0):
            raise ValueError(f"price, ell: expected numbers, 0 or more, got {price!r}, {ell!r}")
        super().__init__("utility", seed, noise, bt)
        self.price, self.ell, self.name = price, ell, f"customer-{price:g}-{ell:g}"

    def liking(self, scene: Scene, caption: str) -> tuple[float, ...]:
        """The expected utility of an answer."""
        return (answer_utility(scene, caption, self.price, self.ell),)
