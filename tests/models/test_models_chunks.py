"""The output layer a few tokens at a time, beside all at once: values, gradients and memory."""

import pytest
import torch

from mmbook.equations import entropy, log_prob
from mmbook.models.chunks import Said


@pytest.mark.parametrize("chunk", [1, 8, 37, 100])
@pytest.mark.parametrize("tau", [1.0, 0.7])
def test_chunks_equal_the_whole(chunk: int, tau: float) -> None:
    draw = torch.Generator().manual_seed(0)
    h, W = (torch.randn(n, 16, generator=draw, dtype=torch.float64).requires_grad_() for n in (37, 50))
    ids, c, k = torch.randint(50, (37,), generator=draw), *torch.randn(2, 37, generator=draw)
    z = (h @ W.T)[None]
    whole = log_prob(z, ids[None], tau)[0], entropy(z, tau)[0]
    parts = Said.apply(h, W, ids, tau, chunk, True)
    for a, b in zip(whole, parts, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)
    for of_H in (0.0, 1.0):
        expected, found = (torch.autograd.grad((c * x + of_H * k * H).sum(), (h, W), retain_graph=True)
                           for x, H in (whole, parts))  # fmt: skip
        for a, b in zip(expected, found, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def test_the_gradient_is_that_of_finite_differences() -> None:
    draw = torch.Generator().manual_seed(1)
    h, W = (torch.randn(n, 3, generator=draw, dtype=torch.float64).requires_grad_() for n in (5, 7))
    ids = torch.randint(7, (5,), generator=draw)
    assert torch.autograd.gradcheck(lambda h, W: Said.apply(h, W, ids, 0.7, 2, True), (h, W))


def test_a_frozen_layer_gets_no_gradient_and_half_precision_is_widened() -> None:
    draw = torch.Generator().manual_seed(2)
    h, W = torch.randn(9, 8, generator=draw), torch.randn(30, 8, generator=draw)
    ids = torch.randint(30, (9,), generator=draw)
    exact = log_prob((h @ W.T)[None], ids[None])[0]
    half = h.bfloat16().requires_grad_()
    log_p, _ = Said.apply(half, W.bfloat16(), ids, 1.0, 4, False)
    assert log_p.dtype == torch.float32 and (log_p - exact).abs().max() < 0.1
    log_p.sum().backward()
    assert half.grad.dtype == torch.bfloat16 and half.grad.isfinite().all()


def test_tokens_that_are_ruled_out_count_for_nothing() -> None:
    h = torch.tensor([[1.0, 0.0]], requires_grad=True)
    W = torch.tensor([[1.0, 0.0], [0.5, 0.0], [-float("inf"), 0.0]])
    log_p, H = Said.apply(h, W, torch.tensor([0]), 1.0, 4, True)
    z = torch.tensor([[[1.0, 0.5]]])
    assert log_p.item() == pytest.approx(log_prob(z, torch.tensor([[0]])).item())
    assert H.item() == pytest.approx(entropy(z).item())


def test_what_is_kept_for_the_gradient_does_not_grow_with_the_vocabulary() -> None:
    kept = []
    for V in (100, 10_000):
        h, W, ids = (
            torch.randn(64, 8, requires_grad=True),
            torch.randn(V, 8),
            torch.zeros(64, dtype=torch.long),
        )
        count: list[int] = []
        with torch.autograd.graph.saved_tensors_hooks(
            lambda x, n=count: n.append(x.nbytes) or x, lambda x: x
        ):
            Said.apply(h, W, ids, 1.0, 16, True)
        kept.append(sum(count) - W.nbytes)
    assert kept[0] == kept[1]
