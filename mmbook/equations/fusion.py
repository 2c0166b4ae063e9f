"""How several modalities become one decision, and the best that any decision could be.

Letters: M modalities, D their common width, Y labels. The mask m is 1 where a modality, or a token, is there.
A table p (Y, S_1, ..., S_M) holds the probability of each label with each symbol of each modality.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from math import log

import torch
from torch import Tensor

from ._arguments import Number, check_present, check_shapes, keep, widen


def _kept(p: Tensor, A: Sequence[int]) -> Tensor:
    """p (Y, cells): the table summed over the modalities that are not in A."""
    p, count = widen(p), p.dim() - 1
    if len(set(A)) != len(A) or not set(A) <= set(range(count)):
        raise ValueError(f"A: expected different modalities from 0 to {count - 1}, got {list(A)}")
    if (p < 0).any() or not abs(p.sum().item() - 1) <= 1e-6:  # a sum that is NaN too
        raise ValueError(f"p: expected probabilities that add up to 1, got a sum of {p.sum().item():g}")
    drop = [1 + i for i in range(count) if i not in A]
    return (p.sum(drop) if drop else p).flatten(1) if A else p.flatten(1).sum(1, keepdim=True)


def bayes_accuracy(p: Tensor, A: Sequence[int]) -> Tensor:
    """The accuracy that nobody who sees only the modalities A of the table p can exceed.

    Implements {eq}`eq:bayes-accuracy`. Raises ValueError for unknown modalities or a table that is none.
    """
    return _kept(p, A).amax(0).sum()


def information(p: Tensor, A: Sequence[int]) -> Tensor:
    """What the modalities A of the table p tell about the label, in bits.

    Implements {eq}`eq:information`. Raises ValueError as `bayes_accuracy` does. Source: Shannon 1948.
    """
    joint = _kept(p, A)
    independent = joint.sum(0) * joint.sum(1, keepdim=True)
    return (torch.xlogy(joint, joint) - torch.xlogy(joint, independent)).sum() / log(2)


def additive_accuracy(p: Tensor) -> Tensor:
    """The best accuracy on the table p (2, 2, ..., 2) of any rule that adds up one score for each modality.

    Implements {eq}`eq:additive-accuracy`. All rules are listed: on two symbols a score is a weight, and for
    up to three modalities the weights -2 to 2 and thresholds between them give every rule there is. Raises
    ValueError for more labels, symbols or modalities, or a table that is none.
    """
    count = p.dim() - 1
    if not 1 <= count <= 3 or set(p.shape) != {2}:
        raise ValueError(f"p: expected shape (2, 2), (2, 2, 2) or (2, 2, 2, 2), got {tuple(p.shape)}")
    table = _kept(p, range(count))
    g = torch.tensor(list(product(range(-2, 3), repeat=count)), dtype=p.dtype)
    x = torch.tensor(list(product((-1, 1), repeat=count)), dtype=p.dtype)
    threshold = torch.arange(-6.5, 7, dtype=p.dtype)
    positive = (g @ x.T)[:, None] > threshold[:, None]  # (weights, thresholds, cells)
    return torch.where(positive, table[1], table[0]).sum(-1).max()


def weighted_average(h: Tensor, a: Tensor, m: Tensor) -> Tensor:
    """The average (B, D) of h (B, M, D) with weights softmax(a), a (M,), over the modalities that are there.

    Implements {eq}`eq:weighted-average`. m (B, M). With a = 0 it is the plain average of late fusion. Raises
    ValueError for another shape of a or m, and when a row of m is empty.
    """
    check_present(m, h.shape[:-1])
    if a.shape != m.shape[-1:]:
        raise ValueError(f"a: expected a number for each of {m.shape[-1]} modalities, got {tuple(a.shape)}")
    w = widen(a).masked_fill(m == 0, -torch.inf).softmax(-1)
    return (w[..., None] * keep(h, m[..., None])).sum(-2)


def gated_fusion(h: Tensor, g: Tensor, m: Tensor) -> Tensor:
    """The sum (B, D) of tanh(h), h (B, M, D), each number through its own gate: a softmax of g over M.

    Implements {eq}`eq:gated-fusion`. g (B, M, D), m (B, M). Raises ValueError for other shapes and when a
    row of m is empty. Source: Arevalo et al. 2017, who take a sigmoid for each gate of three or more.
    """
    check_shapes(h=h, g=g)
    check_present(m, h.shape[:-1])
    gate = keep(g, m[..., None]).masked_fill(m[..., None] == 0, -torch.inf).softmax(-2)
    return (gate * torch.tanh(keep(h, m[..., None]))).sum(-2)


def bilinear_fusion(h: Tensor, m: Tensor) -> Tensor:
    """The product (B, D) of 1 + h over modalities, h (B, M, D): what is missing, m (B, M), is a factor of 1.

    Implements {eq}`eq:bilinear-fusion`. Raises ValueError for another shape of m and when a row is empty.
    Sources: Zadeh et al. 2017, Liu et al. 2018.
    """
    check_present(m, h.shape[:-1])
    return (1 + keep(h, m[..., None])).prod(-2)


def attention(q: Tensor, k: Tensor, v: Tensor, m: Tensor) -> Tensor:
    """What queries q (..., T, D) read from values v (..., S, D) at keys k (..., S, D), where m (..., S) is 1.

    Implements {eq}`eq:attention`. A query that finds nothing at all reads 0. Source: Vaswani et al. 2017.
    """
    z = widen(q) @ keep(k, m[..., None]).mT / k.shape[-1] ** 0.5
    there = (m != 0).unsqueeze(-2)
    w = z.masked_fill(~there, torch.finfo(z.dtype).min).softmax(-1) * there
    return w @ keep(v, m[..., None])


def gated_residual(x: Tensor, alpha: Number, u: Tensor) -> Tensor:
    """x with as much of u added as the gate tanh(alpha) lets through: with alpha = 0, nothing.

    Implements {eq}`eq:gated-residual`. Source: Alayrac et al. 2022.
    """
    return x + torch.tanh(torch.as_tensor(alpha)) * u
