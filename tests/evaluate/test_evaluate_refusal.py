"""Refusing: confidence is that of the least likely sticker, risk and cost are counted by hand."""

import numpy as np
import pytest
import torch

from mmbook.evaluate.refusal import answers, cheapest_threshold, risk_coverage
from mmbook.models import load_pretrained_model
from mmbook.world import KINDS, sample_scenes


def test_confidence_is_the_least_likely_name() -> None:
    model, scenes = load_pretrained_model("tiny", device="cpu"), sample_scenes(6, 0)
    captions, sure = answers(model, scenes)
    assert captions == model.sample(scenes, greedy=True)
    for i, caption in enumerate(captions):
        ids, _ = model.tokens([caption])
        with torch.no_grad():
            p = model.logits(model.states(model.prefix(scenes[i : i + 1]), ids)).softmax(-1)[0]
        words = model.tokenizer.convert_ids_to_tokens(ids[0].tolist())
        named = [p[t, ids[0, t]].item() for t, w in enumerate(words) if w in KINDS]
        assert sure[i] == pytest.approx(min(named), abs=1e-4)


def test_risk_and_coverage_by_hand() -> None:
    coverage, risk = risk_coverage(np.array([0.2, 0.9, 0.5]), np.array([False, True, False]))
    assert coverage.tolist() == pytest.approx([1 / 3, 2 / 3, 1])
    assert risk.tolist() == pytest.approx([0, 1 / 2, 2 / 3])
    with pytest.raises(ValueError, match="a verdict for each"):
        risk_coverage(np.zeros(2), np.zeros(3, bool))


def test_a_calibrated_model_answers_above_chows_threshold() -> None:
    rng = np.random.default_rng(0)
    sure = rng.random(20_000)
    right = rng.random(20_000) < sure
    assert cheapest_threshold(sure, right, wrong=4.0, refused=1.0) == pytest.approx(0.75, abs=0.03)
    assert cheapest_threshold(sure, right, wrong=1.0, refused=2.0) == sure.min()
    assert cheapest_threshold(sure, np.zeros(20_000, bool), wrong=1.0, refused=0.5) == np.inf
