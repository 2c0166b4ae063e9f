"""The exercises on generation: published solutions pass, typical mistakes get their own words."""

from __future__ import annotations

import torch


def apart(z, e):
    return (z[:, None] - e).square().sum(-1)


CODES = {
    "return their numbers": lambda z, e: e[apart(z, e).argmin(-1)],
    "the farthest": lambda z, e: apart(z, e).argmax(-1),
    "favours long codes": lambda z, e: (z @ e.T).argmax(-1),
    "smallest dot product": lambda z, e: (z @ e.T).argmin(-1),
    "this is the cosine": lambda z, e: (z @ (e / e.norm(dim=-1, keepdim=True)).T).argmax(-1),
    "square them": lambda z, e: (z[:, None] - e).abs().sum(-1).argmin(-1),
    "factor 2": lambda z, e: (e.square().sum(-1) - z @ e.T).argmin(-1),
    "each code looks": lambda z, e: apart(z, e).argmin(0),
    "not min": lambda z, e: apart(z, e).amin(-1),
    r"shape \(40,\), got shape \(40, 12\)": lambda z, e: apart(z, e),
    "where .* is right": lambda z, e: torch.zeros(40, dtype=torch.long),
    "stopped with TypeError": lambda z: z,
}


def square(a, b):
    return (a - b).square().sum(-1)


LOSSES = {
    "commitment is missing": lambda z, e, beta: square(z.detach(), e).mean(),
    "codebook's term is missing": lambda z, e, beta: beta * square(z, e.detach()).mean(),
    "beta weighs both": lambda z, e, beta: beta * (square(z.detach(), e) + square(z, e.detach())).mean(),
    "has no gradient": lambda z, e, beta: ((1 + beta) * square(z, e)).mean().detach(),
    "both terms have weight 1": lambda z, e, beta: (square(z.detach(), e) + square(z, e.detach())).mean(),
    "mean over coordinates": lambda z, e, beta: (
        (z.detach() - e).square().mean() + beta * (z - e.detach()).square().mean()
    ),
    "sum over vectors": lambda z, e, beta: (square(z.detach(), e) + beta * square(z, e.detach())).sum(),
    "not their squares": lambda z, e, beta: (
        square(z.detach(), e).sqrt() + beta * square(z, e.detach()).sqrt()
    ).mean(),
    "before the wrong term": lambda z, e, beta: (square(z, e.detach()) + beta * square(z.detach(), e)).mean(),
    "stopped nowhere": lambda z, e, beta: (1 + beta) * square(z, e).mean(),
    "no gradient reaches": lambda z, e, beta: (1 + beta) * square(z, e.detach()).mean(),
    "look at what is detached": lambda z, e, beta: (
        (z - e).square().sum(-1) + beta * square(z.detach(), e)
    ).mean(),
    "one number, got shape": lambda z, e, beta: (1 + beta) * square(z, e),
}


READERS = {
    "prior is missing": lambda p, prior: p.softmax(-1),
    "sums to 1 over pictures": lambda p, prior: (p + prior).softmax(0),
    "these are logarithms": lambda p, prior: (p + prior).log_softmax(-1),
    "not normalised": lambda p, prior: p + prior,
    "prior is taken off": lambda p, prior: (p - prior).softmax(-1),
    "look at the picture": lambda p, prior: prior.softmax(-1).expand(6, 4),
    "0 / 0 is not a number": lambda p, prior: (p + prior).exp() / (p + prior).exp().sum(-1, keepdim=True),
    r"shape \(6, 4\), got shape \(6,\)": lambda p, prior: (p + prior).argmax(-1),
}


MISTAKES = {
    "multimodal-generation/nearest-code": CODES,
    "multimodal-generation/vq-loss": LOSSES,
    "multimodal-generation/read-by-painting": READERS,
}
