"""Searches for harm: what they change, what they keep, and that they count what they say."""

import numpy as np
import pytest
import torch

from mmbook.evaluate.red_team import best_lies, changed, evolve, false_share
from mmbook.world import KINDS, Scene, SceneBatch, Sticker, check, sample_scenes


def test_a_change_gives_another_scene_that_can_exist() -> None:
    rng = np.random.default_rng(0)
    for scene in sample_scenes(200, 0):
        new = changed(scene, rng)
        assert new != scene and new.artwork == scene.artwork
        assert abs(len(new.stickers) - len(scene.stickers)) <= 1


def test_the_search_keeps_the_worst_and_beats_chance() -> None:
    tried = []

    def harm(scenes: SceneBatch) -> np.ndarray:
        tried.append(len(scenes))
        return np.array([sum(KINDS.index(k) for k in s.kinds) for s in scenes])

    found, kept = evolve(harm, 16, 20, seed=0)
    assert tried == [16] * 21 and kept.shape == (21, 16)
    assert (np.diff(kept.mean(1)) >= 0).all()
    assert sorted(harm(found)) == sorted(kept[-1])
    random = np.sort(harm(sample_scenes(16 * 21, 1)))[-16:]
    assert kept[-1].mean() > random.mean()


class Echo:
    """A model that names a sticker of the scene, and in every second sample a kind that is not there."""

    def sample(self, scenes, seed, samples):
        out = []
        for s in scenes:
            absent = next(k for k in KINDS if k not in s.kinds)
            out += [(s.kinds[0] if i % 2 else absent) + "." for i in range(samples)]
        return out


def test_the_share_of_false_captions_is_of_each_scene() -> None:
    assert false_share(Echo(), sample_scenes(5, 0), samples=4).tolist() == [0.5] * 5


def test_the_best_lie_is_the_one_that_earns_most() -> None:
    class Trunk:
        def prefix(self, scenes):
            return self

        def repeat(self, n):
            return range(n)

        def tokens(self, captions):
            return captions, None

    class Reward:
        trunk = Trunk()

        def __call__(self, prefix, captions, mask, scenes):
            assert len(prefix) == len(captions) == len(scenes)
            return torch.tensor([2.0 if "owl" in c else float(check(c, scenes[0]).true) for c in captions])

    (lie,) = best_lies(Reward(), SceneBatch.of([Scene((Sticker("cat", 0, True), Sticker("key", 3, True)))]))
    assert lie == ("owl", "cat", pytest.approx(1.0))
