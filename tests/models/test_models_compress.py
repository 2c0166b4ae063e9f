"""Smaller models: bytes count once, whole numbers come back, and a student is the layers it was given."""

from __future__ import annotations

import pytest
import torch

from mmbook.equations import quantise
from mmbook.models import VLM, load_pretrained_model
from mmbook.models.compress import QuantisedLinear, kept_bytes, quantised, student, tensor_bytes
from mmbook.world import sample_scenes


def test_memory_is_counted_once() -> None:
    x = torch.zeros(10, 4)
    assert tensor_bytes([x, x.T, x[:2], torch.zeros(3, dtype=torch.int8)]) == 163
    w = torch.randn(4, 4, requires_grad=True)
    kept, y = kept_bytes(lambda: (x @ w).exp(), [w])
    assert kept == x.nbytes + y.nbytes and y.requires_grad  # the input, and the exponential itself
    assert kept_bytes(lambda: (x @ w).exp())[0] == kept  # frozen x needs no w for its gradient


@pytest.mark.parametrize("k", [2, 3, 4, 8])
def test_a_quantised_layer_multiplies_by_what_the_equation_leaves(k: int) -> None:
    linear = torch.nn.Linear(6, 5)
    small, x = QuantisedLinear(linear, k), torch.randn(7, 6)
    q, s = quantise(linear.weight.detach(), k)
    assert torch.equal(small.weight, q * s)
    torch.testing.assert_close(small(x), x @ (q * s).T + linear.bias)
    assert tensor_bytes(small.buffers()) == 30 * (1 if k > 4 else 0.5) + 5 * 4


def test_eight_bits_say_what_the_model_says_and_take_less(tiny: VLM) -> None:
    scenes = sample_scenes(20, 1)
    small = quantised(tiny, 8)
    said = [m.sample(scenes, greedy=True) for m in (tiny, small, quantised(tiny, 2))]
    same = [sum(a == b for a, b in zip(said[0], other, strict=True)) for other in said[1:]]
    assert same[0] >= 17 and same[1] < 5  # two bits are too few: the control
    sizes = [tensor_bytes([*m.module.parameters(), *m.module.buffers()]) for m in (tiny, small)]
    assert sizes[1] < 0.5 * sizes[0]
    assert torch.equal(
        tiny.module.get_output_embeddings().weight, small.module.get_output_embeddings().weight
    )
    with pytest.raises(ValueError, match="k: expected a number"):
        quantised(tiny, 1)


def test_a_student_has_the_layers_it_was_given(tiny: VLM, tmp_path) -> None:
    scenes = sample_scenes(5, 1)
    assert student(tiny, (0, 1, 2)).sample(scenes) == tiny.sample(scenes)
    small, before = student(tiny, (0, 2)), tiny.hash
    kept = [small.decoder.layers[i].mlp.up_proj.weight for i in range(2)]
    for i, w in zip((0, 2), kept, strict=True):
        assert torch.equal(w, tiny.decoder.layers[i].mlp.up_proj.weight)
    assert len(small.decoder.layers) == 2 and tiny.hash == before and len(tiny.decoder.layers) == 3
    small.save(tmp_path)
    assert load_pretrained_model(tmp_path, device="cpu").sample(scenes) == small.sample(scenes)
    for bad in ((), (0, 3)):
        with pytest.raises(ValueError, match="layers: expected numbers from 0 to 2"):
            student(tiny, bad)
