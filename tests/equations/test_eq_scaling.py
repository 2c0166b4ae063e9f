"""Speed and size: bytes against tensors that are counted, and each equation against another evaluation."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from transformers import DynamicCache, LlamaConfig, LlamaModel

from mmbook.equations import (
    activation_bytes,
    cache_bytes,
    distillation_loss,
    lora,
    quantise,
    roofline,
    state_bytes,
    update_seconds,
)
from mmbook.models import Speed
from mmbook.models.compress import kept_bytes, tensor_bytes
from mmbook.models.speed import recomputed
from mmbook.rlhf import PPOConfig, ppo

B, T = 4, 40
SHAPES = {"tiny": (128, 128, 256), "grouped": (96, 48, 192), "wide": (64, 64, 512)}


def layers(D: int, K: int, F: int, L: int) -> LlamaModel:
    config = LlamaConfig(
        hidden_size=D, num_hidden_layers=L, num_attention_heads=4, num_key_value_heads=4 * K // D,
        intermediate_size=F, vocab_size=8,
    )  # fmt: skip
    return LlamaModel(config).eval()


def kept(D: int, K: int, F: int, L: int, again: bool = False) -> int:
    """Bytes that L layers keep for the gradients of their weights and of what they read."""
    model, x = layers(D, K, F, L), torch.randn(B, T, D, requires_grad=True)
    with recomputed(model, again):
        return kept_bytes(lambda: model(inputs_embeds=x, use_cache=False)[0], model.parameters())[0]


def test_state_is_counted() -> None:
    frozen, learns = torch.randn(1000), torch.nn.Parameter(torch.randn(300, 2))
    optimizer = torch.optim.AdamW([learns])
    learns.square().sum().backward()
    optimizer.step()
    moments = [x for x in optimizer.state[learns].values() if x.shape == learns.shape]
    assert state_bytes(1000, 600) == tensor_bytes([frozen, learns, learns.grad, *moments])
    assert state_bytes(1000, 600, b=2) == state_bytes(1000, 600) - 2000


@pytest.mark.parametrize("shape", SHAPES)
def test_a_layer_keeps_what_the_formula_says(shape: str) -> None:
    D, K, F = SHAPES[shape]
    counted = kept(D, K, F, 3) - kept(D, K, F, 2)
    assert counted == pytest.approx(activation_bytes(B, T, 1, D, K, F), rel=0.01)
    assert counted > activation_bytes(B, T, 1, D, K, F)  # one number a token in each norm and head


def test_recomputed_layers_keep_their_inputs() -> None:
    """Checks id:checkpointing-memory: an input for each layer, and one layer's activations at a time."""
    D, K, F = SHAPES["grouped"]
    assert kept(D, K, F, 5, again=True) - kept(D, K, F, 3, again=True) == 2 * 4 * B * T * D
    model, most = layers(D, K, F, 1), []  # what is computed again for one layer
    x = torch.randn(B, T, D, requires_grad=True)
    with recomputed(model, True):
        out = model(inputs_embeds=x, use_cache=False)[0]
    with torch.autograd.graph.saved_tensors_hooks(lambda t: most.append(t) or t, lambda t: t):
        out.sum().backward()
    theirs = {p.untyped_storage().data_ptr() for p in model.parameters()}
    again = tensor_bytes(t for t in most if t.untyped_storage().data_ptr() not in theirs)
    assert again <= 1.02 * activation_bytes(B, T, 1, D, K, F)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_cache_is_counted(shape: str) -> None:
    D, K, F = SHAPES[shape]
    cache = DynamicCache()
    with torch.no_grad():
        layers(D, K, F, 2)(inputs_embeds=torch.randn(B, T, D), past_key_values=cache, use_cache=True)
    found = tensor_bytes(x for layer in cache.layers for x in (layer.keys, layer.values))
    assert cache_bytes(B, T, 2, K) == found


def test_logits_kept_for_the_gradient() -> None:
    """Checks id:logits-memory: V numbers a token, or with chunks next to nothing and the same gradient."""
    V, D = 5000, 16
    head = torch.nn.Linear(D, V, bias=False).requires_grad_(False)
    states = torch.randn(B, T + 1, D, requires_grad=True)
    ids, m = torch.randint(V, (B, T)), (torch.arange(T) < torch.tensor([[T], [7], [1], [30]])).float()
    found = {}
    for chunk in (0, 16):
        config = PPOConfig(speed=Speed.plain(chunk=chunk))
        size, (log_p, _) = kept_bytes(
            lambda c=config: ppo.read_off(SimpleNamespace(logits=head, head=head.weight), states, ids, m, c),
            head.parameters(),
        )
        found[chunk] = size, torch.autograd.grad(log_p.sum(), states)[0]
    assert found[0][0] == pytest.approx(4 * B * T * V, rel=0.01) and found[16][0] < 0.02 * found[0][0]
    torch.testing.assert_close(found[0][1], found[16][1], rtol=1e-5, atol=1e-6)


def test_lora_adds_a_product_and_can_be_merged() -> None:
    """Checks id:lora-merge: the adapter, added into the matrix, gives the same output."""
    g = torch.Generator().manual_seed(0)
    x, W, A, B_ = (
        torch.randn(*s, generator=g, dtype=torch.float64) for s in ((7, 5), (6, 5), (2, 5), (6, 2))
    )
    one_by_one = torch.stack([W @ row + 3 / 2 * (B_ @ (A @ row)) for row in x])
    torch.testing.assert_close(lora(x, W, A, B_, 3), one_by_one)
    torch.testing.assert_close(x @ (W + 3 / 2 * B_ @ A).T, lora(x, W, A, B_, 3))
    with pytest.raises(ValueError, match="B: expected rank 2"):
        lora(x, W, A, B_[:, :1], 3)


@pytest.mark.parametrize("k", [2, 4, 8])
def test_whole_numbers_are_the_nearest(k: int) -> None:
    W = torch.randn(5, 9, generator=torch.Generator().manual_seed(k))
    W[3] = 0
    q, s = quantise(W, k)
    levels = torch.arange(-(2 ** (k - 1)) + 1, 2 ** (k - 1)).float()
    nearest = (W[..., None] / s[..., None] - levels).abs().argmin(-1)
    assert q.dtype == torch.int8 and torch.equal(q.float(), levels[nearest])
    assert ((q * s - W).abs() <= s / 2 + 1e-7).all() and (q * s)[3].eq(0).all()
    largest = W[:3].abs().argmax(-1)  # the largest weight of a row comes back
    torch.testing.assert_close((q * s)[range(3), largest], W[range(3), largest])
    with pytest.raises(ValueError, match="k: expected a number >= 2 and <= 8, got 9"):
        quantise(W, 9)


def test_distillation_is_a_divergence_whose_gradient_is_the_students() -> None:
    g = torch.Generator().manual_seed(0)
    z_teacher, z = (torch.randn(3, 4, 5, generator=g).requires_grad_() for _ in range(2))
    m = torch.tensor([[1, 1, 0, 0], [1, 1, 1, 1], [1, 0, 0, 0]]).float()
    slow = sum(
        torch.nn.functional.kl_div(z[i, t].log_softmax(-1), z_teacher[i, t].softmax(-1), reduction="sum")
        for i, t in m.nonzero().tolist()
    )
    loss = distillation_loss(z_teacher, z, m)
    torch.testing.assert_close(loss, slow / 7)
    ours, theirs = torch.autograd.grad(loss, (z, z_teacher), allow_unused=True)
    expected = (z.softmax(-1) - z_teacher.softmax(-1)) * m[..., None] / 7
    torch.testing.assert_close(ours, expected)
    assert theirs is None and distillation_loss(z, z, m).item() == pytest.approx(0)


def test_the_roof_has_a_slope_and_a_ceiling() -> None:
    P = roofline(torch.tensor([0.5, 8.0, 10.0, 400.0]).double(), 1e11, 1e10)
    assert P.tolist() == [5e9, 8e10, 1e11, 1e11]


def test_the_plan_counts_the_messages_of_a_ring() -> None:
    for W in (1, 2, 8, 64):
        spent = 0.3 + 128 * 0.01 / W
        for _ in range(5):  # steps
            for _ in range(2 * (W - 1)):  # scatter, then gather, each block to the next in the ring
                spent += 1e6 / W / 1e9 + 1e-5
        assert update_seconds(0.3, 0.01, 128, W, 5, 1e6, 1e9, 1e-5) == pytest.approx(spent)
