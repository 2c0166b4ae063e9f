"""Hard scenes are hard in the way their name says, and otherwise as random as any."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from scipy.stats import binom, chisquare

from mmbook.world import HELD_OUT_ARTWORK, KINDS, TRAIN_ARTWORK, Scene, SceneBatch, Sticker, triggers
from mmbook.world.adversarial import HARD, LOOK_ALIKES, adversarial_scenes, mixed

PAIRS = {frozenset(pair) for pair in LOOK_ALIKES}
IS_HARD = {
    "crowded": lambda s: len(s.stickers) == 3,
    "confusable": lambda s: frozenset(s.kinds) in PAIRS,
    "triggers": lambda s: bool(triggers(s)),
    "held-out": lambda s: s.artwork == HELD_OUT_ARTWORK,
}


@pytest.mark.parametrize("kind", HARD)
def test_every_scene_is_of_its_hard_kind_and_exists(kind: str) -> None:
    scenes = list(adversarial_scenes(kind, 500, 1))  # making each Scene checks that it can exist
    assert len(scenes) == 500 and all(map(IS_HARD[kind], scenes))
    assert kind == "held-out" or {s.artwork for s in scenes} == set(TRAIN_ARTWORK)
    assert len(set(scenes)) > 490
    assert scenes == list(adversarial_scenes(kind, 500, 1)) != list(adversarial_scenes(kind, 500, 2))
    assert len(adversarial_scenes(kind, 0, 1)) == 0 and len(adversarial_scenes(kind, 1, 1)) == 1


def test_all_look_alikes_come_equally_often_and_in_both_orders() -> None:
    counts = Counter(s.kinds for s in adversarial_scenes("confusable", 4800, 3))
    assert len(counts) == 2 * len(LOOK_ALIKES)
    assert chisquare(list(counts.values())).pvalue > 1e-4


def test_apart_from_what_makes_them_hard_scenes_are_as_random_as_any() -> None:
    crowded = [k for s in adversarial_scenes("crowded", 3200, 4) for k in s.kinds]
    assert chisquare([crowded.count(k) for k in KINDS]).pvalue > 1e-4
    quarters = [s.quarter for scene in adversarial_scenes("confusable", 3000, 5) for s in scene.stickers]
    assert chisquare(np.bincount(quarters)).pvalue > 1e-4


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_mixed_scenes_have_the_share_that_was_asked_for(share: float) -> None:
    n, draw = 3000, mixed(share, ("confusable", "held-out"))
    scenes = draw(n, np.random.default_rng(6))
    assert isinstance(scenes, SceneBatch) and len(scenes) == n
    low, high = binom.interval(0.9999, n, share / 2)
    for kind in ("confusable", "held-out"):  # by chance hardly any scene has two look-alikes alone
        assert low <= sum(map(IS_HARD[kind], scenes)) <= high + 0.02 * n * (kind == "confusable")
    first = [IS_HARD["held-out"](s) for s in scenes[: n // 2]]
    assert share == 0 or binom.cdf(sum(first), n // 2, share / 2) > 1e-4  # the hard are not all at the end
    assert list(draw(50, np.random.default_rng(7))) == list(draw(50, np.random.default_rng(7)))


def test_by_default_no_training_scene_is_of_the_held_out_artwork() -> None:
    assert not any(map(IS_HARD["held-out"], mixed(1.0)(600, np.random.default_rng(8))))


def test_unknown_kinds_and_impossible_shares_are_refused() -> None:
    with pytest.raises(ValueError, match=r"kind: expected one of crowded, confusable, .*, got 'dark'"):
        adversarial_scenes("dark", 3, 0)
    for share, kinds in ((1.5, HARD), (0.5, ()), (0.5, ("dark",))):
        with pytest.raises(ValueError, match=r"share, kinds: expected a number in \[0, 1\] and some of"):
            mixed(share, kinds)


@pytest.mark.slow
def test_look_alikes_are_the_pairs_that_the_base_model_mixes_up() -> None:
    """The measurement behind `LOOK_ALIKES`, on other scenes than those it was made on."""
    import torch

    from mmbook.models import load_pretrained_model

    model, rng, n = load_pretrained_model("tiny", device="cpu"), np.random.default_rng(9), 24
    scenes = []
    for kind in KINDS:
        for i in range(n):
            big = bool(rng.random() < 0.5)
            dx, dy = (int(v) for v in rng.integers(3 if big else 11, size=2))
            sticker = Sticker(kind, int(rng.integers(4)), big, dx, dy)
            scenes.append(Scene((sticker,), TRAIN_ARTWORK[i % 3]))
    first = model.tokens(KINDS)[0][:, 0]
    with torch.no_grad():
        prefix = model.prefix(scenes)
        z = model.logits(model.states(prefix, torch.zeros(len(scenes), 0, dtype=torch.long)))[:, -1]
    p = z[:, first].softmax(-1).view(len(KINDS), n, -1).mean(1)
    both = ((p + p.T) / 2).numpy()
    named = [both[KINDS.index(a), KINDS.index(b)] for a, b in LOOK_ALIKES]
    rest = both[np.triu_indices(len(KINDS), 1)]
    assert min(named) > 2 * rest.mean()
    assert np.mean([sum(rest > v) < 24 for v in named]) > 0.7  # most are among the 24 most mixed of 496
