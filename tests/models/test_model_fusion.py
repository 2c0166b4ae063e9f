"""Fusions and their encoders: what reaches the answer, what must not, and what each can represent."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor

from mmbook.models.encoders import Encoded, PictureEncoder, SoundEncoder, TextEncoder, pool
from mmbook.models.fusion import ADDITIVE, FUSIONS, Flamingo, build_sentiment
from mmbook.training.sentiment import RECIPE, Schedule, accuracy, answers, drop_modalities, fit, see, tensors
from mmbook.world.sentiment import MODALITIES, SETTINGS, joint_table, sample_utterances

NAMES = list(FUSIONS)


def some(B: int = 6, D: int = 8, seed: int = 0) -> list[Encoded]:
    """Three modalities of 4, 3 and 5 tokens, the last with padding."""
    g = torch.Generator().manual_seed(seed)
    mask = (torch.arange(5) < torch.randint(1, 6, (B, 1), generator=g)).float()
    return [pool(torch.randn(B, T, D, generator=g), m) for T, m in ((4, None), (3, None), (5, mask))]


def built(name: str, D: int = 8, seed: int = 0) -> torch.nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        fusion = FUSIONS[name](D)
        for parameter in fusion.parameters():  # gates and weights that start at 0 would hide faults
            parameter.data += 0.3 * torch.randn_like(parameter)
    return fusion.eval()


ALL = torch.ones(6, 3)


@pytest.mark.parametrize("name", NAMES)
def test_the_loss_reaches_every_modality_and_every_parameter(name: str) -> None:
    fusion, seen = built(name), some()
    for one in seen:
        one.tokens.requires_grad_()
    seen = [pool(one.tokens, one.mask)._replace(tokens=one.tokens) for one in seen]
    leaves = [one.tokens for one in seen]
    present = ALL.clone()
    present[0] = torch.tensor([1.0, 0.0, 0.0])  # so that what stands in for missing words is used
    fusion.loss(seen, present, torch.arange(6) % 2).backward()
    assert all(x.grad.abs().sum() > 0 for x in leaves)
    idle = [n for n, p in fusion.named_parameters() if p.grad is None or p.grad.abs().sum() == 0]
    assert [n for n in idle if not n.endswith("k.bias")] == []  # softmax ignores what all keys share


@pytest.mark.parametrize("name", NAMES)
def test_what_is_missing_cannot_change_the_answer(name: str) -> None:
    fusion, seen = built(name), some()
    for gone in range(3):
        present = ALL.clone()
        present[:, gone] = 0
        other = [Encoded(*(x + 0 for x in one)) for one in seen]
        other[gone] = Encoded(*(torch.full_like(x, torch.nan) for x in seen[gone][:1]), seen[gone].mask,
                              torch.full_like(seen[gone].pooled, torch.nan))  # fmt: skip
        assert torch.equal(fusion(seen, present), fusion(other, present)), MODALITIES[gone]
        assert not torch.allclose(fusion(seen, present), fusion(seen, ALL)), MODALITIES[gone]


@pytest.mark.parametrize("name", NAMES)
def test_padding_and_the_order_of_the_batch_count_for_nothing(name: str) -> None:
    fusion, seen = built(name), some()
    order = torch.tensor([3, 1, 5, 0, 2, 4])
    moved = [Encoded(*(x[order] for x in one)) for one in seen]
    present = torch.tensor([[1.0, 1, 1], [1, 0, 1], [0, 1, 1], [1, 1, 0], [0, 0, 1], [1, 0, 0]])
    assert torch.allclose(fusion(seen, present)[order], fusion(moved, present[order]), atol=1e-6)
    words = seen[-1]
    noisy = words._replace(tokens=words.tokens + 9 * (1 - words.mask[..., None]))
    assert torch.allclose(fusion([*seen[:2], noisy], ALL), fusion(seen, ALL), atol=1e-6)


def test_a_shut_flamingo_is_a_text_classifier_and_an_open_one_is_not() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        fusion = Flamingo(8)
    seen, other = some(), some(seed=1)
    text = fusion.head(seen[-1].pooled)
    assert torch.allclose(fusion(seen, ALL), text, atol=1e-6)
    assert torch.equal(fusion([*other[:2], seen[-1]], ALL), fusion(seen, ALL))
    fusion.alpha.data[:] = 0.5
    assert not torch.allclose(fusion([*other[:2], seen[-1]], ALL), fusion(seen, ALL), atol=1e-3)


def scores(fusion: torch.nn.Module, seed: int) -> Tensor:
    """Scores (4,) for two voices and two wordings, the face fixed: both first, mixed, mixed, both second."""
    a, b = some(1, seed=seed), some(1, seed=seed + 1000)
    b[2] = b[2]._replace(mask=a[2].mask.clone())
    pairs = itertools.product((0, 1), repeat=2)
    logits = [fusion([a[0], (a, b)[v][1], (a, b)[w][2]], torch.ones(1, 3))[0] for v, w in pairs]
    return torch.stack(logits).diff(dim=-1)[:, 0]


@pytest.mark.parametrize("name", NAMES)
def test_additive_fusions_never_show_a_crossed_square_and_the_others_do(name: str) -> None:
    """Random weights and inputs, any threshold: among 400 draws XOR appears, or it cannot."""
    found = [scores(built(name, seed=seed), seed) for seed in range(400)]
    crossed = sum(bool(s[[0, 3]].min() > s[1:3].max() or s[[0, 3]].max() < s[1:3].min()) for s in found)
    assert (crossed == 0) == (name in ADDITIVE), crossed


def test_late_experts_learn_from_their_own_loss_alone() -> None:
    fusion, seen = built("late average"), some()
    label, present = torch.arange(6) % 2, ALL.clone()
    present[:3, 1] = 0
    own = [
        torch.nn.functional.cross_entropy(fusion.head[i](seen[i].pooled), label, reduction="none")
        for i in range(3)
    ]
    right = (torch.stack(own, 1) * present).sum() / present.sum()
    assert torch.allclose(fusion.loss(seen, present, label), right)


def test_encoders_give_tokens_of_the_common_width_and_ignore_padding() -> None:
    u = sample_utterances(10, SETTINGS["mixed"], 0)
    model, x = build_sentiment("early", 0, width=16).eval(), tensors(u)
    seen = model.encode(x)
    assert [tuple(one.tokens.shape) for one in seen] == [(10, 9, 16), (10, 16, 16), (10, 8, 16)]
    assert all(one.pooled.shape == (10, 16) for one in seen)
    longer = torch.nn.functional.pad(x["words"], (0, 3))
    assert torch.allclose(model.encoders["words"](longer).pooled, seen[2].pooled, atol=1e-6)
    model.train()
    a, b = model.encoders["words"](x["words"]), model.encoders["words"](longer)
    assert torch.allclose(a.pooled, b.pooled, atol=1e-6) and torch.allclose(
        a.tokens, b.tokens[:, :8], atol=1e-5
    )


def test_small_encoders_take_other_sizes() -> None:
    assert PictureEncoder(8)(torch.zeros(2, 48, 48, 3, dtype=torch.uint8)).tokens.shape == (2, 36, 8)
    assert SoundEncoder(8, 40)(torch.zeros(2, 50, 40)).tokens.shape == (2, 50, 8)
    assert TextEncoder(8, 20)(torch.ones(2, 3, dtype=torch.long)).tokens.shape == (2, 3, 8)


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ValueError, match=r"fusion: expected one of late average, .* got 'sum'"):
        build_sentiment("sum", 0)
    model, u = build_sentiment("early", 0).eval(), sample_utterances(4, SETTINGS["mixed"], 0)
    with pytest.raises(ValueError, match="inputs: expected face, voice, words, got no voice"):
        model({name: x for name, x in tensors(u).items() if name != "voice"})
    for shown in ((), ("smell",), "voice"):
        with pytest.raises(ValueError, match="shown: expected some of face, voice, words, got"):
            accuracy(model, u, shown)
    with pytest.raises(ValueError, match="drop: expected a number"):
        drop_modalities(4, 1.5, np.random.default_rng(0))


@pytest.mark.parametrize("name", NAMES)
def test_a_mask_of_another_shape_or_without_any_modality_is_refused(name: str) -> None:
    fusion, seen, label = built(name), some(), torch.arange(6) % 2
    for call in (fusion, lambda seen, m: fusion.loss(seen, m, label)):
        with pytest.raises(ValueError, match=r"m: expected shape \(6, 3\), .* got \(6, 2\)"):
            call(seen, ALL[:, :2])
        with pytest.raises(ValueError, match=r"m: expected at least one modality .* row\(s\) \[2\]"):
            call(seen, ALL * (torch.arange(6) != 2)[:, None])


@pytest.mark.parametrize("name", NAMES)
def test_a_broken_microphone_changes_no_answer_of_a_trained_model(name: str) -> None:
    u, model = sample_utterances(6, SETTINGS["mixed"], 0), build_sentiment(name, 0).eval()
    there = torch.tensor([[1.0, 0.0, 1.0]]).expand(6, -1)
    broken = tensors(u) | {"voice": torch.full((6, 16, 20), torch.nan)}
    assert torch.equal(model(broken, there), model(tensors(u), there))


def test_dropped_modalities_leave_at_least_one() -> None:
    there = drop_modalities(20_000, 0.6, np.random.default_rng(0))
    assert there.sum(1).min() == 1 and set(there.unique().tolist()) == {0.0, 1.0}
    assert there.mean().item() == pytest.approx(0.4 + 0.6**3 / 3, abs=0.01)
    assert drop_modalities(50, 0.0, np.random.default_rng(0)).min() == 1


def test_training_is_repeatable_and_a_frozen_encoder_stays() -> None:
    u = sample_utterances(64, SETTINGS["redundant"], 0)
    short = Schedule(steps=4, lr=1e-3)
    models = [build_sentiment("gated", 0) for _ in range(2)]
    losses = [fit(model, u, 0, short) for model in models]
    assert losses[0] == losses[1] and np.array_equal(answers(models[0], u), answers(models[1], u))
    seen = see(models[0], u)
    before = [p.clone() for p in models[0].encoders.parameters()]
    fit(models[0], u, 1, short, drop=0.3, seen=seen)
    assert all(torch.equal(p, q) for p, q in zip(models[0].encoders.parameters(), before, strict=True))
    assert accuracy(models[0], u, seen=seen) == accuracy(models[0], u)


@pytest.mark.slow
def test_gated_fusion_comes_near_the_ceiling_of_synergy_and_late_fusion_does_not() -> None:
    p = joint_table(SETTINGS["synergistic"])
    u, test = (sample_utterances(n, SETTINGS["synergistic"], s) for n, s in ((6000, 0), (2000, 1000)))
    gated, late = build_sentiment("gated", 0), build_sentiment("late average", 0)
    fit(gated, u, 0, RECIPE)
    fit(late, u, 0, RECIPE)
    assert accuracy(gated, test) > p.max(0).sum() - 0.04
    assert accuracy(late, test) < 0.6
    assert accuracy(gated, test.shuffled("voice", 0)) < 0.6
