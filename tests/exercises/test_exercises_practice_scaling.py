"""The exercises on speed and size: published solutions pass, typical mistakes get their own words."""

from __future__ import annotations

import torch

from mmbook.equations import clip_gradient, quantise


def adapter(x, A, B):
    return x @ A.T @ B.T


ADAPTERS = {
    "it is missing": lambda x, W, A, B, alpha: x @ W.T + adapter(x, A, B),
    "divide alpha by the rank": lambda x, W, A, B, alpha: x @ W.T + alpha * adapter(x, A, B),
    "not of its columns": lambda x, W, A, B, alpha: x @ W.T + alpha / A.shape[1] * adapter(x, A, B),
    "own output W x is missing": lambda x, W, A, B, alpha: alpha / len(A) * adapter(x, A, B),
    "frozen layer alone": lambda x, W, A, B, alpha: x @ W.T,
    "adapter alone, not to W x": lambda x, W, A, B, alpha: alpha / len(A) * (x @ W.T + adapter(x, A, B)),
    "no gradient reaches": lambda x, W, A, B, alpha: x @ W.T + alpha / len(A) * adapter(x, A, B).detach(),
    r"shape \(4, 5\), got shape \(5, 4\)": lambda x, W, A, B, alpha: (x @ W.T + 1.5 * adapter(x, A, B)).T,
    "stopped with RuntimeError": lambda x, W, A, B, alpha: x @ W.T + x @ A @ B,
}


def unless_bad(of):
    return lambda g, s, c: of(g, s, c) if g.isfinite().all() else None


UNSCALED = {
    "with inf in the gradient": lambda g, s, c: clip_gradient(g.float() / s, c),
    "with nan in the gradient": lambda g, s, c: None if g.isinf().any() else clip_gradient(g.float() / s, c),
    "before you clip": unless_bad(lambda g, s, c: clip_gradient(g.float(), c) / s),
    "still s times too large": unless_bad(lambda g, s, c: g.float()),
    "longer than c": unless_bad(lambda g, s, c: g.float() / s),
    "divide in float32": unless_bad(lambda g, s, c: clip_gradient(g / s, c)),
    "shorter than c keeps its length": unless_bad(lambda g, s, c: c * g.float() / g.float().norm()),
    "got nothing": lambda g, s, c: None,
}


def scaled(of, dim=-1, top=None, by=torch.round):
    def weights(W, k):
        largest = W.abs().amax(dim, keepdim=True) if dim is not None else W.abs().max()
        s = largest / (top or 2 ** (k - 1) - 1)
        return of(by(W / s), s)

    return weights


WEIGHTS = {
    "whole numbers q": lambda W, k: quantise(W, k)[0],
    "one scale serves the whole": scaled(torch.mul, dim=None),
    "each column": scaled(torch.mul, dim=0),
    "cutting off": scaled(torch.mul, by=torch.trunc),
    "so that both signs fit": scaled(torch.mul, top=8),
    "nothing was rounded": lambda W, k: W,
    "where .* is right": lambda W, k: torch.zeros_like(W),
}


MISTAKES = {
    "practice-scaling/lora": ADAPTERS,
    "practice-scaling/unscale": UNSCALED,
    "practice-scaling/quantise": WEIGHTS,
}
