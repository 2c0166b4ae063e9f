"""Games of two players in which one wins what the other loses. A (I, J) is what the first player is paid."""

from __future__ import annotations

import torch
from torch import Tensor

from ._arguments import check_shapes, widen


def exploitability(A: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """How much the best answers to x (I,) and to y (J,) win together: 0 at an equilibrium, never less.

    Implements {eq}`eq:exploitability`. Raises ValueError for shapes that do not fit. Source: von
    Neumann 1928.
    """
    check_shapes(**{"A[:, 0]": A[:, 0], "x": x})
    check_shapes(**{"A[0]": A[0], "y": y})
    return (widen(A) @ widen(y)).max() - (widen(x) @ widen(A)).min()


def regret_matching(R: Tensor) -> Tensor:
    """Probabilities (..., I) in proportion to the positive part of the regrets R (..., I), else uniform.

    Implements {eq}`eq:regret-matching`. Source: Hart and Mas-Colell 2000.
    """
    R = widen(R).clamp(min=0)
    total = R.sum(-1, keepdim=True)
    return torch.where(total > 0, R / total.masked_fill(total == 0, 1.0), 1 / R.shape[-1])
