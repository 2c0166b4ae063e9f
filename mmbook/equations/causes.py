"""What would follow if something were done, from a table of what was seen."""

from __future__ import annotations

from torch import Tensor

from ._arguments import widen


def back_door(p: Tensor) -> Tensor:
    """Probabilities (X, Y) of y if x were set by hand, where z is all that drives both; p (X, Z, Y) was seen.

    Implements {eq}`eq:back-door`. Raises ValueError for a table that does not add up to 1, or where an x was
    never seen with a z that occurs: no weighting can say what would have followed. Source: Pearl 1995.
    """
    p = widen(p)
    if p.dim() != 3 or (p < 0).any() or not abs(p.sum().item() - 1) <= 1e-6:
        raise ValueError(
            f"p: expected a table (X, Z, Y) that adds up to 1, got {p.sum().item():g}, {tuple(p.shape)}"
        )
    p_z, p_xz = p.sum((0, 2)), p.sum(-1, keepdim=True)
    seen = p_z > 0
    if (p_xz[:, seen] == 0).any():
        raise ValueError("p: expected every x with every z that occurs, but some pair was never seen")
    return (p_z[seen, None] * (p / p_xz)[:, seen]).sum(1)
