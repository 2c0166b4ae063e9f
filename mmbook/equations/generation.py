"""Pictures as words: the nearest code, the gradient that passes through it, and what moves the codes.

Letters: K codes, D the size of a code vector. z (..., D) are the encoder's vectors, e the codes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ._arguments import check_range, check_shapes, widen


def nearest_code(z: Tensor, e: Tensor) -> Tensor:
    """The number (...) of the code of e (K, D) that is nearest to each vector of z (..., D).

    Implements {eq}`eq:nearest-code`. Of equals the first. Raises ValueError where widths differ.
    Source: {cite}`oord2017vqvae`.
    """
    if e.dim() != 2 or z.shape[-1] != e.shape[1]:
        raise ValueError(f"e: expected shape (K, {z.shape[-1]}) for this z, got {tuple(e.shape)}")
    z, e = widen(z), widen(e)
    return (e.square().sum(-1) - 2 * z @ e.T).argmin(-1)  # |z|^2 is the same for all codes


def straight_through(z: Tensor, e: Tensor) -> Tensor:
    """The codes e (..., D) as value, with the gradient of z (..., D).

    Implements {eq}`eq:straight-through`. Raises ValueError where shapes differ.
    Source: {cite}`bengio2013estimating`.
    """
    check_shapes(z=z, e=e)
    return z + (e - z).detach()


def vq_loss(z: Tensor, e: Tensor, beta: float) -> Tensor:
    """What draws codes to the vectors that chose them, and vectors to their codes; z, e (..., D).

    Implements {eq}`eq:vq-loss`. Raises ValueError where shapes differ or beta is negative.
    Source: {cite}`oord2017vqvae`.
    """
    check_shapes(z=z, e=e)
    check_range("beta", beta, 0, open_low=False)
    z, e = widen(z), widen(e)
    codebook, commitment = (z.detach() - e).square().sum(-1), (z - e.detach()).square().sum(-1)
    return torch.mean(codebook + beta * commitment)
