"""Averages over response tokens only."""

from __future__ import annotations

import torch
from torch import Tensor

from ._arguments import Number, check_shapes, keep, token_count


def masked_mean(x: Tensor, m: Tensor, N: Number | None = None) -> Tensor:
    """Average x (B, T) over the tokens with m = 1; N replaces their count when gradients accumulate.

    Implements {eq}`eq:masked-mean`. Returns a scalar. Raises ValueError for unequal shapes or an empty mask.
    """
    check_shapes(x=x, m=m)
    return keep(x, m).sum() / token_count(m, N)


def whiten(x: Tensor, m: Tensor, shift_mean: bool = True) -> Tensor:
    """Scale x (B, T) to variance 1 under the mask, and to mean 0 unless `shift_mean` is False.

    Implements {eq}`eq:whiten`. Returns (B, T), zero where m = 0. Raises ValueError for differing shapes or an
    empty mask. Source: Huang et al. 2024.
    """
    mean = masked_mean(x, m)
    x = keep(x, m)
    var = masked_mean((x - mean) ** 2, m)
    scaled = (x - mean) / torch.sqrt(var + 1e-8)
    return keep(scaled if shift_mean else scaled + mean, m)
