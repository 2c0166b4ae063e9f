"""Caption metrics counted by hand on a model without weights, intervals against their formula."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest

from mmbook import evaluate
from mmbook.evaluate import wilson
from mmbook.world import (
    HELD_OUT_ARTWORK,
    KINDS,
    STYLES,
    TRAIN_ARTWORK,
    Scene,
    Statement,
    describe,
    sample_scenes,
    say,
)


class Speaker:
    """Says in turn: everything tersely, the first sticker politely, a wrong kind plainly, and nonsense."""

    def __init__(self) -> None:
        self.calls: list[tuple] = []
        self.seen: list[Scene] = []

    def sample(
        self, scenes: Sequence[Scene], temperature: float = 1.0, seed: int = 0, greedy: bool = False
    ) -> list[str]:
        self.calls.append((temperature, seed, greedy))
        self.seen = list(scenes)
        return [self.say(i, scene) for i, scene in enumerate(scenes)]

    def say(self, i: int, scene: Scene) -> str:
        first = Statement("polite", scene.kinds[:1])
        absent = next(kind for kind in KINDS if kind not in scene.kinds and kind[0] not in "aeiou")
        return [
            say(describe(scene, "terse")),
            say(first),
            f"a {absent}.",
            "cat cat cat",
        ][i % 4]


def test_metrics_are_what_a_person_counts() -> None:
    speaker, n = Speaker(), 40
    out = evaluate.captions(speaker, scenes=n, seed=7)
    first = [len(scene.kinds) for scene in speaker.seen[0::4]]
    second = [len(scene.kinds) for scene in speaker.seen[1::4]]
    claims = sum(first) + len(second) + n // 4  # the wrong kind is a claim, too; nonsense claims nothing
    coverage = (n / 4 + sum(1 / k for k in second)) / n
    assert out.pop("style") == {
        style: 1 / 4 if style in ("terse", "polite", "plain") else 0.0 for style in STYLES
    }
    assert out == pytest.approx(
        {
            "grammatical": 3 / 4,
            "true": 2 / 4,
            "full": (n / 4 + second.count(1)) / n,
            "coverage": coverage,
            "claim_precision": 1 - (n / 4) / claims,
            "utility": 3 * coverage - 1.5 / 4 - 3 / 4,
        }
    )


def test_the_model_is_asked_as_one_wishes() -> None:
    speaker = Speaker()
    evaluate.captions(speaker, scenes=8, seed=5, temperature=0.3, greedy=True)
    assert speaker.calls == [(0.3, 5, True)]
    assert speaker.seen == list(sample_scenes(8, 5, TRAIN_ARTWORK))
    evaluate.captions(speaker, scenes=8, artwork=HELD_OUT_ARTWORK)
    assert {scene.artwork for scene in speaker.seen} == {HELD_OUT_ARTWORK}
    assert speaker.calls[-1] == (1.0, 1, False)
    given = list(sample_scenes(5, 9))
    assert evaluate.captions(speaker, scenes=given)["true"] == pytest.approx(3 / 5)
    assert speaker.seen == given


def test_no_scenes_are_refused() -> None:
    with pytest.raises(ValueError, match="scenes: expected one scene or more, got none"):
        evaluate.captions(Speaker(), scenes=0)


@pytest.mark.parametrize(("hits", "trials"), [(0, 10), (10, 10), (7, 10), (500, 1000), (1, 1)])
@pytest.mark.parametrize(("confidence", "z"), [(0.95, 1.959963984540054), (0.99, 2.5758293035489004)])
def test_wilson_equals_its_formula(hits: int, trials: int, confidence: float, z: float) -> None:
    p = hits / trials
    middle = (p + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z / (1 + z * z / trials) * math.sqrt(p * (1 - p) / trials + z * z / (4 * trials**2))
    assert wilson(hits, trials, confidence) == pytest.approx((middle - half, middle + half), abs=1e-9)


@pytest.mark.parametrize(("hits", "trials"), [(0, 0), (-1, 5), (6, 5)])
def test_wilson_refuses_impossible_counts(hits: int, trials: int) -> None:
    with pytest.raises(ValueError, match=f"successes, trials: expected .* got {hits} of {trials}"):
        wilson(hits, trials)
