"""The exercises on fusion: published solutions pass, typical mistakes get their own words."""

from __future__ import annotations

import torch


def kept(p, A):
    drop = [1 + i for i in range(p.dim() - 1) if i not in A]
    return (p.sum(drop) if drop else p).reshape(len(p), -1)


CEILINGS = {
    "used what is hidden": lambda p, A: p.amax(0).sum(),
    "modalities that are hidden": lambda p, A: kept(p, [i for i in range(3) if i not in A]).amax(0).sum(),
    "how often a cell occurs": lambda p, A: kept(p, A).amax(0).mean(),
    "use joint probabilities": lambda p, A: (kept(p, A) / kept(p, A).sum(0)).amax(0).mean(),
    "not the best cell for each label": lambda p, A: kept(p, A).amax(1).sum(),
    "one place too far to the left": lambda p, A: (
        p.sum([i for i in range(3) if i not in A]).amax(0).sum() if len(A) < 3 else p.amax(0).sum()
    ),
    "an empty list of dimensions": lambda p, A: p.sum([1 + i for i in range(3) if i not in A]).amax(0).sum(),
    "one label for all cells": lambda p, A: p.flatten(1).sum(1).amax(),
    r"one number, got shape \(3,\)": lambda p, A: kept(p, A).amax(0),
    "where .* is right": lambda p, A: kept(p, A).amax(0).sum() + 0.1,
    "stopped with IndexError": lambda p, A: p[A[7]],
}


def inside(a, m, axis=1):
    return a.expand_as(m).masked_fill(m == 0, -torch.inf).softmax(axis)[..., None]


AVERAGES = {
    "mask is not used": lambda h, a, m: (a.softmax(0)[:, None] * h).sum(1),
    "mask before the softmax": lambda h, a, m: (a.softmax(0)[:, None] * h * m[..., None]).sum(1),
    "minus infinity, not 0": lambda h, a, m: ((a * m).softmax(1)[..., None] * h * m[..., None]).sum(1),
    "weights are not used": lambda h, a, m: (h * m[..., None]).sum(1) / m.sum(1, keepdim=True),
    "further division": lambda h, a, m: (inside(a, m) * h).sum(1) / m.sum(1, keepdim=True),
    "not over the batch": lambda h, a, m: (inside(a, m, 0) * h).sum(1),
    "take their softmax": lambda h, a, m: (a[:, None] * h * m[..., None]).sum(1),
    "NaN times 0 is NaN": lambda h, a, m: (inside(a, m) * h).sum(1),
    "stay in torch": lambda h, a, m: (inside(a.detach(), m) * h.masked_fill(m[..., None] == 0, 0.0)).sum(1),
    r"shape \(4, 2\), got shape \(4, 3\)": lambda h, a, m: (inside(a, m) * h).sum(2),
}


PRODUCTS = {
    "its factor should be 1": lambda h, m: ((1 + h) * m[..., None]).prod(1),
    "is 0 as soon as one modality is": lambda h, m: (h * m[..., None]).prod(1),
    "no modality speaks for itself": lambda h, m: h.masked_fill(m[..., None] == 0, 1.0).prod(1),
    "not beside their product": lambda h, m: 1 + (h * m[..., None]).prod(1),
    "and what is missing is a factor of 1": lambda h, m: 1 + h.masked_fill(m[..., None] == 0, 1.0).prod(1),
    "this is a sum": lambda h, m: (1 + h * m[..., None]).sum(1),
    "stay in torch": lambda h, m: (1 + h.detach().masked_fill(m[..., None] == 0, 0.0)).prod(1),
    "mask is not used": lambda h, m: (1 + h).prod(1),
    "NaN times 0 is NaN": lambda h, m: (1 + h * m[..., None]).prod(1),
}


MISTAKES = {
    "multimodal-fusion/ceiling": CEILINGS,
    "multimodal-fusion/average": AVERAGES,
    "multimodal-fusion/product": PRODUCTS,
}
