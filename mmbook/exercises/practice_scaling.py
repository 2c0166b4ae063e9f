"""Checkers of the chapter on speed and size."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from mmbook.equations import clip_gradient, quantise
from mmbook.equations import lora as right_lora
from mmbook.exercises import Mistake, exercise
from mmbook.exercises.comparing import compare


@exercise("practice-scaling/lora")
def lora(answer: Callable[..., Tensor]) -> None:
    """`answer(x, W, A, B, alpha)` is a layer with an adapter; x (N, D), W (O, D), A (r, D), B (O, r)."""
    g = torch.Generator().manual_seed(1)
    x, W, A, B = (torch.randn(*shape, generator=g) for shape in ((4, 6), (5, 6), (2, 6), (5, 2)))
    A.requires_grad_(), B.requires_grad_()
    more, plain = (x @ A.T @ B.T).detach(), x @ W.T
    got = answer(x, W, A, B, 3.0)
    compare(
        got,
        right_lora(x, W, A, B, 3.0).detach(),
        {
            "the adapter's product is multiplied by alpha / r: it is missing": plain + more,
            "divide alpha by the rank r, the number of rows of A": plain + 3.0 * more,
            "r is the number of rows of A, not of its columns": plain + 3.0 / 6 * more,
            "the frozen layer's own output W x is missing": 1.5 * more,
            "this is the frozen layer alone: add the adapter": plain,
            "the scale belongs to the adapter alone, not to W x": 1.5 * (plain + more),
        },
        atol=1e-5,
    )
    if not (isinstance(got, Tensor) and got.requires_grad):
        raise Mistake("no gradient reaches A and B: do not detach them")


@exercise("practice-scaling/unscale")
def unscale(answer: Callable[..., Tensor | None]) -> None:
    """`answer(g, s, c)` is the loss's gradient, of length c at most, or None where the step is left out."""
    s, c = 2.0**10, 0.5
    for bad in (float("inf"), float("nan")):
        if answer(torch.tensor([1.0, bad]).half(), s, c) is not None:
            raise Mistake(f"with {bad} in the gradient the result should be None: this step is left out")
    g = (s * torch.tensor([0.6, -0.8, 2e-7, 1e-3])).half()
    got, wide = answer(g.clone(), s, c), g.float()
    if got is not None and got.dtype != torch.float32:
        raise Mistake("divide in float32: in float16 small numbers vanish again when they are divided by s")
    mistakes = {
        "divide by s before you clip: the bound is that of the true gradient": clip_gradient(wide, c) / s,
        "divide in float32: in float16 small numbers vanish again": clip_gradient((g / s).float(), c),
        "the gradient is still s times too large": wide,
        "it is longer than c: clip it": wide / s,
    }
    compare(got, clip_gradient(wide / s, c), mistakes, atol=1e-9)
    short = answer((g.float() / 10).half(), s, c)
    if short is None or not torch.allclose(short, wide / s / 10, rtol=1e-2):
        raise Mistake("divided by s, a gradient that is shorter than c keeps its length")


@exercise("practice-scaling/quantise")
def weights(answer: Callable[..., Tensor]) -> None:
    """`answer(W, k)` are the weights (O, D) that k bits leave of W (O, D)."""
    W = torch.tensor([[0.9, -0.31, 0.02, 0.44], [-0.05, 0.012, 0.034, -0.021]])
    q, s = quantise(W, 4)
    one, column = W.abs().max() / 7, W.abs().amax(0, keepdim=True) / 7
    eight = W.abs().amax(-1, keepdim=True) / 8
    compare(
        answer(W.clone(), 4),
        q * s,
        {
            "these are the whole numbers q: multiply them by their scale": q.float(),
            "one scale serves the whole matrix: small rows vanish; take one a row": torch.round(W / one)
            * one,
            "each column has a scale: take one a row, over the inputs": torch.round(W / column) * column,
            "round to the nearest: cutting off moves every weight towards 0": torch.trunc(W / s) * s,
            "the largest whole number is 2^(k - 1) - 1, so that both signs fit": torch.round(W / eight)
            * eight,
            "nothing was rounded": W,
        },
    )
