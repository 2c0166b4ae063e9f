"""The shipped metrics are what the shipped weights do, and they leave something to learn from feedback."""

from __future__ import annotations

import json

import numpy as np
import pytest

from mmbook.models import VLM
from mmbook.models.load import TINY
from mmbook.training.pretrain import tower_accuracy
from mmbook.world import (
    HELD_OUT_ARTWORK,
    TRAIN_ARTWORK,
    SceneBatch,
    check,
    sample_scenes,
    score,
    triggers,
)

ARTWORK = {"seen": TRAIN_ARTWORK, "held_out": (HELD_OUT_ARTWORK,)}


@pytest.fixture(scope="module")
def shipped() -> dict:
    return json.loads((TINY / "metrics.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def fresh(tiny: VLM, shipped: dict) -> dict[str, tuple[SceneBatch, list[str], list[str]]]:
    """Scenes, sampled captions and greedy captions, drawn as the recipe draws them."""
    n, seed = shipped["evaluation_scenes"], shipped["evaluation_seed"]
    out = {}
    for name, artwork in ARTWORK.items():
        scenes = sample_scenes(n, seed, artwork)
        out[name] = scenes, tiny.sample(scenes, seed=seed), tiny.sample(scenes, greedy=True)
    return out


def flat(values: dict) -> dict[str, float]:
    return {**{k: v for k, v in values.items() if k != "style"}, **values["style"]}


@pytest.mark.parametrize("name", ARTWORK)
def test_the_metrics_are_measured_again(tiny: VLM, shipped: dict, fresh: dict, name: str) -> None:
    scenes, sampled, greedy = fresh[name]
    assert flat(score(sampled, scenes)) == pytest.approx(flat(shipped[name]["sampled"]), abs=0.02)
    assert flat(score(greedy, scenes)) == pytest.approx(flat(shipped[name]["greedy"]), abs=0.02)
    again = tower_accuracy(tiny, ARTWORK[name], shipped["evaluation_seed"], shipped["evaluation_scenes"])
    assert again == pytest.approx(shipped[name]["tower"], abs=0.01)


def test_the_metrics_are_of_these_weights(tiny: VLM, shipped: dict) -> None:
    assert shipped["weights"] == tiny.hash
    assert shipped["parameters"] == tiny.module.num_parameters()
    assert shipped["cpu_seconds"] <= 15 * 60


def test_the_model_is_good_enough_to_start_from_and_bad_enough_to_need_it(shipped: dict) -> None:
    sampled, greedy = shipped["seen"]["sampled"], shipped["seen"]["greedy"]
    assert shipped["seen"]["tower"] > 0.97
    assert sampled["grammatical"] >= 0.97 and greedy["grammatical"] >= 0.97
    assert 0.45 <= sampled["true"] <= 0.75
    assert 0.60 <= greedy["true"] <= 0.85
    assert sampled["style"]["polite"] + sampled["style"]["rambling"] >= 0.3
    assert shipped["held_out"]["sampled"]["full"] < sampled["full"]


def test_a_lower_temperature_does_not_cure_the_habit(fresh: dict) -> None:
    scenes, _, greedy = fresh["seen"]
    right = np.array([check(caption, scene).full for caption, scene in zip(greedy, scenes, strict=True)])
    trigger = np.array([bool(triggers(scene)) for scene in scenes])
    assert trigger.mean() >= 0.25
    assert right[trigger].mean() < 0.4
    assert right[~trigger].mean() > 0.9
