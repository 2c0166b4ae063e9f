"""CLIP's own classes: the book's equations are what they compute, and a checkpoint comes back as it was."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from mmbook.equations import clip_loss, similarity
from mmbook.models.clip import clip_vectors, load_clip, save_clip, tiny_clip
from mmbook.world import render, sample_scenes

TEXTS = ["a cat.", "a bus and an apple.", "a fox, a crown and a very long list of other things."]


@pytest.fixture(scope="module")
def clip():
    return tiny_clip(TEXTS, seed=0)


def pictures():
    return render(sample_scenes(3, seed=0))


def test_the_scores_are_the_equations(clip):
    model, processor = clip
    u, v, scores = clip_vectors(model, processor, pictures(), TEXTS)
    assert torch.allclose(similarity(u, v, 1 / model.logit_scale.exp()), scores, atol=1e-4)
    images = list(pictures())
    inputs = processor(text=TEXTS, images=images, return_tensors="pt", padding=True)
    with torch.no_grad():
        assert model(**inputs, return_loss=True).loss.item() == pytest.approx(
            clip_loss(scores).item(), abs=1e-5
        )


def test_padding_and_company_do_not_change_a_text(clip):
    model, processor = clip
    together = clip_vectors(model, processor, pictures(), TEXTS)[1]
    alone = clip_vectors(model, processor, pictures(), TEXTS[:1])[1]
    assert torch.allclose(together[:1], alone, atol=1e-5)
    assert (together[0] - together[1]).abs().max() > 1e-3


def test_every_pixel_counts_and_every_word(clip):
    model, processor = clip
    seen = pictures()
    seen[0, :8] = 255 - seen[0, :8]
    before, after = (clip_vectors(model, processor, p, TEXTS)[0] for p in (pictures(), seen))
    assert (before[0] - after[0]).abs().max() > 1e-4 and torch.equal(before[1], after[1])


def test_a_checkpoint_comes_back_as_it_was(clip, tmp_path):
    save_clip(*clip, tmp_path)
    loaded = load_clip(tmp_path)
    for a, b in zip(
        clip_vectors(*clip, pictures(), TEXTS), clip_vectors(*loaded, pictures(), TEXTS), strict=True
    ):
        assert torch.equal(a, b)


def test_one_step_of_training_lowers_the_loss(clip):
    model, processor = tiny_clip(TEXTS, seed=1)
    inputs = processor(text=TEXTS, images=list(pictures()), return_tensors="pt", padding=True)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    losses = []
    for _ in range(2):
        loss = model(**inputs, return_loss=True).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[1] < losses[0]


def test_the_same_seed_gives_the_same_weights_and_draws_nothing_globally():
    state = torch.get_rng_state()
    a, b, c = (tiny_clip(TEXTS, seed)[0].visual_projection.weight for seed in (0, 0, 1))
    assert torch.equal(a, b) and not torch.equal(a, c)
    assert torch.equal(state, torch.get_rng_state())


def test_another_kind_of_checkpoint_is_refused(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(ValueError, match="expected a checkpoint of model_type 'clip', got 'bert'"):
        load_clip(tmp_path)
    with pytest.raises(OSError):
        load_clip(tmp_path / "nothing here")


@pytest.mark.parametrize("wrong", [(pictures() / 255, TEXTS), (pictures(), TEXTS[0])])
def test_wrong_pictures_and_texts_are_named(clip, wrong):
    with pytest.raises(ValueError, match=r"expected uint8 \(B, H, W, 3\) and a list of texts, got \w+ \(3"):
        clip_vectors(*clip, *wrong)


def test_pictures_are_prepared_as_clip_wants_them(clip):
    _, processor = clip
    grey = np.full((1, 48, 48, 3), 128, np.uint8)
    x = processor(images=list(grey), return_tensors="pt")["pixel_values"][0, :, 0, 0]
    mean, deviation = (
        torch.tensor([0.48145466, 0.4578275, 0.40821073]),
        torch.tensor([0.26862954, 0.26130258, 0.27577711]),
    )
    assert torch.allclose(x, (128 / 255 - mean) / deviation, atol=1e-3)
