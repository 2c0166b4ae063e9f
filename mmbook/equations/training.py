"""Several losses as one, and what is done to a gradient or an input while training.

Letters: K losses L (K,). g is a gradient, of any shape.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ._arguments import Number, check_range, check_shapes, widen


def uncertainty_loss(L: Tensor, s: Tensor) -> Tensor:
    """Losses L (K,), each divided by a variance e^s that is learned, and the price of a large variance.

    Implements {eq}`eq:uncertainty-loss`. s (K,). Returns a scalar. Source: Kendall et al. 2018, who write
    log sigma^2 for s.
    """
    check_shapes(L=L, s=s)
    return (torch.exp(-widen(s)) * widen(L) + widen(s) / 2).sum()


def clip_gradient(g: Tensor, c: Number) -> Tensor:
    """The gradient g, shortened to the length c where it is longer.

    Implements {eq}`eq:clip-gradient`. Raises ValueError for c <= 0. Source: Pascanu et al. 2013.
    """
    check_range("c", c, 0)
    return g * torch.clamp(c / g.norm().clamp(min=1e-12), max=1)


def adversarial_step(x: Tensor, g: Tensor, eps: Number) -> Tensor:
    """The input x, each number moved by eps in the direction in which the loss, with gradient g, rises.

    Implements {eq}`eq:adversarial-step`. Source: Goodfellow et al. 2015.
    """
    check_shapes(x=x, g=g)
    return x + eps * torch.sign(g)
