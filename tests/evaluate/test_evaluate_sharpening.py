"""A caption's entropy against the exact one, and the temperature at which two models are equally random."""

from __future__ import annotations

import pytest
import torch

from mmbook.equations import entropy
from mmbook.evaluate import matched_temperature, sequence_entropy, sharpening, sharpening_rows
from mmbook.models import VLM, decode, load_pretrained_model
from mmbook.world import sample_scenes


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
