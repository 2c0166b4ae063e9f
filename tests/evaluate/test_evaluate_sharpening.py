"""A caption's entropy against the exact one, and the temperature at which two models are equally random."""

from __future__ import annotations

import pytest
import torch

from mmbook.equations import entropy, log_prob
from mmbook.evaluate import matched_temperature, sequence_entropy, sequence_kl, sharpening, sharpening_rows
from mmbook.models import VLM, TableLM, decode, load_pretrained_model
from mmbook.world import sample_scenes
from mmbook.world.caption_tree import CaptionTree


@pytest.fixture(scope="module")
def tiny() -> VLM:
    return load_pretrained_model("tiny", device="cpu")


def colder(model: VLM, temperature: float) -> VLM:
    """The same model with logits divided by a temperature: sharpening and nothing else."""
    cold = model.copy()
    head = cold.module.get_output_embeddings()
    head.weight = torch.nn.Parameter(head.weight / temperature, requires_grad=False)  # unties it
    return cold


def test_entropy_of_captions_agrees_with_that_of_their_words(tiny: VLM) -> None:
    """Both average to a caption's entropy: -log p, and the entropies of its next words along the way."""
    n = 128
    out = decode(tiny, prefix := tiny.prefix(sample_scenes(n, 2)), torch.Generator().manual_seed(9))
    z = tiny.logits(tiny.states(prefix, out.ids)[:, :-1])
    along = (entropy(z) * out.mask).sum(1)
    spread = (along + out.log_p.sum(1)).std().item() / n**0.5
    assert sequence_entropy(tiny, scenes=n, seed=2) == pytest.approx(along.mean().item(), abs=5 * spread)
    assert sequence_entropy(tiny, 0.5, 64) < sequence_entropy(tiny, 1.0, 64) < sequence_entropy(tiny, 1.4, 64)


def test_the_distance_between_captions_agrees_with_the_mean_log_ratio_of_sampled_ones(tiny: VLM) -> None:
    cold, n = colder(tiny, 0.6), 256
    out = decode(cold, prefix := cold.prefix(sample_scenes(n, 3)), torch.Generator().manual_seed(4))
    z = tiny.logits(tiny.states(prefix, out.ids)[:, :-1])
    ratio = out.log_p.sum(1) - (log_prob(z, out.ids) * out.mask).sum(1)
    kl, spread = sequence_kl(cold, tiny, 300, seed=5), ratio.std().item() / n**0.5
    assert kl > 0.2 and kl == pytest.approx(ratio.mean().item(), abs=5 * spread)
    assert sequence_kl(tiny, tiny, 32) == pytest.approx(0, abs=1e-5)


def test_the_distance_between_tables_agrees_with_the_exact_one() -> None:
    tree = CaptionTree()
    draw = torch.Generator().manual_seed(6)
    tables = [TableLM(tree, a * torch.randn(tree.mdp.r.shape, generator=draw)) for a in (1, 2)]
    p, q = (table.log_pi() for table in tables)
    exact = (p.exp() * (p - q)).sum().item()
    assert sequence_kl(*tables, scenes=4000) == pytest.approx(exact, rel=0.05)
    assert sequence_kl(*tables[::-1], scenes=4000) != pytest.approx(exact, rel=0.05)


def test_a_colder_model_is_found_to_be_merely_colder(tiny: VLM) -> None:
    cold = colder(tiny, 0.5)
    assert sequence_entropy(cold, 1.0, 64) == pytest.approx(sequence_entropy(tiny, 0.5, 64), rel=1e-3)
    assert matched_temperature(tiny, cold, scenes=256, rounds=5) == pytest.approx(0.5, abs=0.08)


def test_sharpening_explains_all_of_a_colder_model(tiny: VLM, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharpening, "matched_temperature", lambda base, tuned, seed: 0.5)
    rows = sharpening_rows(tiny, colder(tiny, 0.5), scenes=64)
    assert list(rows) == ["base", "base greedy", "base matched", "tuned", "tuned greedy"]
    assert rows["base greedy"] == rows["tuned greedy"] != rows["base"]
    assert rows["base matched"].pop("temperature") == 0.5
    assert rows["base matched"] == rows["tuned"]
