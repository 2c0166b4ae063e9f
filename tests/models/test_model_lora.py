"""Adapters start as nothing, never touch the reference, and merge into a plain model."""

from __future__ import annotations

import pytest
import torch

from mmbook.models import VLM, Adapted, load_pretrained_model
from mmbook.world import careless_captions, sample_scenes

SCENES = sample_scenes(8, 51)


def logits(model: VLM) -> torch.Tensor:
    ids, _ = model.tokens(careless_captions(SCENES, 52))
    with torch.no_grad():
        return model.logits(model.states(model.prefix(SCENES), ids))


def move(adapted: Adapted, seed: int = 0) -> None:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in adapted.parameters():
            p.add_(torch.randn(p.shape, generator=generator) * 0.05)


def test_untrained_adapters_change_nothing(tiny: VLM) -> None:
    adapted = Adapted(tiny, rank=4, seed=0)
    expected = logits(tiny)
    assert torch.equal(logits(adapted.model), expected)
    with adapted.reference() as reference:
        assert torch.equal(logits(reference), expected)


def test_the_reference_stays_what_it_was_while_the_policy_moves(tiny: VLM) -> None:
    frozen, adapted = logits(tiny.copy()), Adapted(tiny, rank=4, seed=0)
    move(adapted)
    assert (logits(adapted.model) - frozen).abs().max() > 0.1
    with adapted.reference() as reference:
        assert torch.equal(logits(reference), frozen)
        assert reference.sample(SCENES, seed=1) == tiny.sample(SCENES, seed=1)
    assert (logits(adapted.model) - frozen).abs().max() > 0.1  # and comes back
    with pytest.raises(RuntimeError, match="inside"), adapted.reference():
        raise RuntimeError("inside")
    assert (logits(adapted.model) - frozen).abs().max() > 0.1  # after an error, too


def test_merging_keeps_the_function_and_leaves_no_adapter(tiny: VLM) -> None:
    before = tiny.hash
    adapted = Adapted(tiny, rank=4, seed=0)
    adapted.model.module.double()  # so that only a real difference shows
    move(adapted)
    expected = logits(adapted.model)
    merged = adapted.merged()
    torch.testing.assert_close(logits(merged), expected, rtol=0, atol=1e-10)
    merged.module.float()
    torch.testing.assert_close(logits(merged), expected.float(), rtol=1e-5, atol=1e-4)
    assert [name for name, _ in merged.module.named_parameters()] == [
        name for name, _ in tiny.module.named_parameters()
    ]
    assert merged.module.num_parameters() == tiny.module.num_parameters()
    assert tiny.hash == before != merged.hash
    assert not any(p.requires_grad for p in merged.module.parameters())


def test_a_merged_model_is_saved_and_adapted_again(tiny: VLM, tmp_path) -> None:
    adapted = Adapted(tiny, rank=2, seed=0)
    move(adapted)
    merged = adapted.merged()
    merged.save(tmp_path)
    assert load_pretrained_model(tmp_path, device="cpu").hash == merged.hash
    assert torch.equal(logits(Adapted(merged, rank=2, seed=1).model), logits(merged))


def test_only_the_language_model_carries_adapters(tiny: VLM) -> None:
    adapted = Adapted(tiny, rank=4, seed=0)
    names = [name for name, p in adapted.model.module.named_parameters() if p.requires_grad]
    assert names and all("language_model" in name and "lora_" in name for name in names)
    assert len(adapted.parameters()) == len(names)
    linear = 7 * tiny.module.config.text_config.num_hidden_layers  # q, k, v, o, gate, up, down
    assert len(names) == 2 * linear


def test_a_seed_fixes_the_adapters_and_leaves_the_global_generator_alone(tiny: VLM) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    a, b, c = (Adapted(tiny, rank=4, seed=seed).parameters() for seed in (0, 0, 1))
    assert torch.equal(torch.rand(3), expected)
    assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))
    assert any(not torch.equal(x, y) for x, y in zip(a, c, strict=True))


@pytest.mark.parametrize("rank", [0, -1])
def test_a_rank_that_is_not_positive_is_refused(tiny: VLM, rank: int) -> None:
    with pytest.raises(ValueError, match=f"rank: expected 1 or more, got {rank}"):
        Adapted(tiny, rank=rank, seed=0)
