"""Model classes that the training code has never seen run through it unchanged, and exactly."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from tiny_classes import CLASSES, SIZES, unseen
from torch import Tensor, nn

from mmbook import collect_human_feedback, fine_tune_with_rl, load_pretrained_model, train_reward_model
from mmbook.equations import log_prob
from mmbook.feedback import Feedback, SimulatedAnnotator
from mmbook.models import VLM, Adapted, Prefix, ScalarHead, decode
from mmbook.rlhf import RewardConfig, RewardModel
from mmbook.world import describe, render, sample_scenes, say

SCENES = sample_scenes(4, 61)
# The same scenes on pictures of different sizes, so that they have different numbers of parts.
PICTURES = [
    np.ascontiguousarray(picture[:height, :width])
    for picture, (width, height) in zip(render(SCENES, 48), SIZES, strict=True)
]
CAPTIONS = [say(describe(scene, "terse")) for scene in SCENES]
PARTS = {"idefics3": [20, 12, 12, 20], "smolvlm": [20, 12, 12, 20]}


@pytest.fixture(scope="module", params=CLASSES)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[VLM]:
    yield unseen(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def prefix(model: VLM) -> Prefix:
    return model.prefix(PICTURES)


@pytest.fixture(scope="module")
def feedback(model: VLM) -> Feedback:
    annotator = SimulatedAnnotator("faithful", seed=0)
    return collect_human_feedback(model, pairs=32, annotator=annotator, seed=0, candidates="near-miss")


@pytest.fixture(scope="module")
def looking(feedback: Feedback) -> RewardModel:
    """A reward model that was trained to check words against the picture."""
    free = RewardConfig(
        looks=True, reads=False, epochs=40, lr=1e-2, folds=2, weight_decay=0.0, match_centre=0.0
    )
    return train_reward_model(feedback, seed=0, config=free)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def inputs_of(model: VLM, pictures: list[np.ndarray], ids: Tensor | None = None) -> dict[str, Any]:
    """What the whole model takes: pictures and prompts, and the tokens that follow them."""
    inputs = dict(
        model.processor(
            images=[[picture] for picture in pictures],
            text=[model.prompt] * len(pictures),
            return_tensors="pt",
            padding=True,
            padding_side="left",
        )
    )
    for name, value in (("input_ids", ids), ("attention_mask", 1), ("mm_token_type_ids", 0)):
        if ids is not None and name in inputs:
            more = value if isinstance(value, Tensor) else torch.full_like(ids, value)
            inputs[name] = torch.cat([inputs[name], more], 1)
    return inputs


def test_pictures_of_different_sizes_have_different_numbers_of_parts(model: VLM, prefix: Prefix) -> None:
    kind = model.module.config.model_type
    assert prefix.picture.sum(1).tolist() == PARTS.get(kind, [9, 3, 3, 6])
    assert prefix.mask[:, -1].all() and not prefix.mask[:, 0].all()  # padding is on the left
    assert not (prefix.picture & (prefix.mask == 0)).any()
    assert (prefix.positions is not None) == (kind in ("qwen2_vl", "qwen2_5_vl", "qwen3_vl"))
    assert (prefix.deep is not None) == (kind == "qwen3_vl")


@torch.no_grad()
def test_logits_are_those_of_the_whole_model_and_padding_changes_nothing(model: VLM, prefix: Prefix) -> None:
    ids, mask = model.tokens(CAPTIONS)
    together = model.logits(model.states(prefix, ids))
    for i, picture in enumerate(PICTURES):
        n = int(mask[i].sum())
        whole = model.module(**inputs_of(model, [picture], ids[i : i + 1, :n])).logits[0, -n - 1 :]
        alone = model.logits(model.states(model.prefix([picture]), ids[i : i + 1, :n]))[0]
        torch.testing.assert_close(alone, whole, rtol=0, atol=2e-5)
        torch.testing.assert_close(together[i, : n + 1], whole, rtol=0, atol=2e-5)
    # Control: where a class has positions of its own, or feeds later layers, leaving them out is noticed.
    for name in ("positions", "deep"):
        if getattr(prefix, name) is not None:
            without = model.logits(model.states(replace(prefix, **{name: None}), ids))
            assert (without - together).abs().amax((1, 2)).min() > 1e-3, name


def test_greedy_captions_are_those_of_generate(model: VLM) -> None:
    pictures = [*PICTURES, *render(sample_scenes(8, 62), 48)]
    out = decode(model, model.prefix(pictures), seeded(), greedy=True)
    inputs = inputs_of(model, pictures)
    theirs = model.module.generate(**inputs, do_sample=False, max_new_tokens=model.max_words)
    assert torch.equal(theirs[:, inputs["input_ids"].shape[1] :], out.ids)
    assert len(set(map(tuple, out.ids.tolist()))) > 1 < len(set(out.mask.sum(1).tolist()))


@pytest.mark.parametrize("tau", [1.0, 0.8])
def test_the_sampler_reports_what_the_learner_finds(model: VLM, prefix: Prefix, tau: float) -> None:
    many = prefix.repeat(8)
    out = decode(model, many, seeded(3), tau)
    scored = log_prob(model.logits(model.states(many, out.ids)[:, :-1]), out.ids, tau) * out.mask
    torch.testing.assert_close(out.log_p, scored, rtol=2e-6, atol=1e-5)
    lengths = out.mask.sum(1)
    assert (lengths < lengths.max()).float().mean() > 0.5  # most rows left the batch on the way


def test_only_the_language_model_is_adapted(model: VLM) -> None:
    policy = Adapted(model, rank=2, seed=0)
    inside = [n for n, part in model.decoder.named_modules() if isinstance(part, nn.Linear)]
    names = [n for n, p in policy.model.module.named_parameters() if p.requires_grad]
    assert len(inside) == 7 * model.module.config.text_config.num_hidden_layers
    assert len(names) == 2 * len(inside) == len(policy.parameters())
    assert all(("language_model" in n or "text_model" in n) and "vis" not in n for n in names)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("cross_attention_states", torch.zeros(4, 1, 8)),
        ("attention_mask", {"full_attention": torch.zeros(4, 1, 9, 9)}),
        ("position_ids", torch.zeros(4, 9)),
    ],
)
def test_a_language_model_that_is_fed_something_else_is_refused(name: str, value: Any) -> None:
    tiny = load_pretrained_model("tiny", device="cpu")
    tiny.decoder.register_forward_pre_hook(lambda _, x, named: (x, {**named, name: value}), with_kwargs=True)
    with pytest.raises(NotImplementedError, match=f"Llava.*: expected a lang.* with {name} of its own"):
        tiny.prefix(SCENES)


@torch.no_grad()
def test_pictures_of_other_pixels_change_everything(model: VLM, looking: RewardModel) -> None:
    """Policy, reference, critic and both kinds of reward, for equal words."""
    policy = Adapted(model, rank=4, seed=0)
    for name, weight in policy.model.module.named_parameters():
        if "lora_B" in name:
            weight.copy_(0.1 * torch.randn(weight.shape, generator=seeded(1)))
    plain, critic = RewardModel(model, looks=False, seed=0), ScalarHead(model.width, seeded())
    ids, mask = model.tokens([CAPTIONS[0]] * 2)
    pictures = [PICTURES[0], 255 - PICTURES[0]]
    before, states = policy.model.prefix(pictures), []
    with policy.reference() as reference:
        states.append(reference.states(before, ids))
    states.append(policy.model.states(before, ids))
    assert (states[0] - states[1]).abs().max() > 1e-2
    for z in map(model.logits, states):
        assert (z[0] - z[1]).abs().amax(-1).min() > 1e-3
    assert (critic(states[0])[0] - critic(states[0])[1]).abs().max() > 1e-3
    for reward in (plain, looking):
        R = reward(model.prefix(pictures), ids, mask)
        assert (R[0] - R[1]).abs() > 1e-4


@torch.no_grad()
def test_a_reward_does_not_depend_on_the_parts_of_other_pictures(model: VLM, looking: RewardModel) -> None:
    plain = RewardModel(model, looks=False, seed=0)
    for reward in (plain, looking):
        together = reward(model.prefix(PICTURES), *model.tokens(CAPTIONS))
        alone = [
            reward(model.prefix([x]), *model.tokens([c])) for x, c in zip(PICTURES, CAPTIONS, strict=True)
        ]
        torch.testing.assert_close(together, torch.cat(alone), rtol=0, atol=1e-5)
        assert together.unique().numel() == len(PICTURES)


@torch.no_grad()
def test_a_reward_model_fits_what_it_was_trained_on(
    model: VLM, feedback: Feedback, looking: RewardModel
) -> None:
    assert looking.looks and looking.match is not None and looking.pairs == 32
    scenes, *sides, _ = zip(*feedback.pairs(), strict=True)
    margin, other = (
        looking.score(seen, sides[0]) - looking.score(seen, sides[1])
        for seen in (scenes, scenes[1:] + scenes[:1])
    )
    assert (margin > 0).float().mean() >= 0.75 and margin.mean() > 1.3 * other.mean()  # it was the picture


@pytest.mark.parametrize("critic", ["reward", "shared"])
def test_ppo_runs_unchanged_and_what_it_made_is_saved(
    model: VLM, looking: RewardModel, critic: str, tmp_path: Any
) -> None:
    before, reward_before = model.hash, [p.clone() for p in looking.state_dict().values()]
    looking.interval = (0.6, 0.9)
    tuned = fine_tune_with_rl(
        model,
        looking,
        updates=2,
        batch=8,
        epochs=2,
        minibatches=2,
        rank=2,
        lr=1e-2,
        critic=critic,
        progress=False,
    )
    assert type(tuned.module) is type(model.module) and model.hash == before != tuned.hash
    assert all(torch.equal(a, b) for a, b in zip(reward_before, looking.state_dict().values(), strict=True))
    assert np.isfinite([list(row.values()) for row in tuned.history]).all()
    assert abs(tuned.history[0]["kl"]) < 1e-4 < tuned.history[1]["kl"]
    ours, theirs = tuned.module.state_dict(), model.module.state_dict()
    moved = {name for name in ours if not torch.equal(ours[name], theirs[name])}
    inside = {id(p) for p in tuned.decoder.parameters()}
    assert moved == {n for n, p in tuned.module.named_parameters() if n in moved and id(p) in inside} != set()
    tuned.save(tmp_path)
    again = load_pretrained_model(tmp_path, device="cpu")
    assert again.hash == tuned.hash and type(again.processor) is type(model.processor)
    assert (again.prompt, again.picture_size, again.max_words) == (model.prompt, 48, 14)
    assert again.sample(SCENES, seed=4) == tuned.sample(SCENES, seed=4)
