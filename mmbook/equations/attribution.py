"""What a part of the input has done for the output: cover it, or integrate along a straight line."""

from __future__ import annotations

from torch import Tensor

from ._arguments import check_shapes


def occlusion(f: Tensor, f_covered: Tensor) -> Tensor:
    """How much the outputs f (B,) fall when one of C cells is covered, f_covered (B, C): (B, C).

    Implements {eq}`eq:occlusion`. Raises ValueError for another number of rows. Source: Zeiler and Fergus
    2014.
    """
    check_shapes(f=f, f_covered=f_covered[:, 0])
    return f[:, None] - f_covered


def integrated_gradients(x: Tensor, x_0: Tensor, g: Tensor) -> Tensor:
    """What each number of the input x adds to the output at x over that at x_0; any equal shapes.

    Implements {eq}`eq:integrated-gradients`. g (K, ...) are the gradients at the middles of K equal steps
    from x_0 to x. Raises ValueError for differing shapes. Source: Sundararajan, Taly and Yan 2017.
    """
    check_shapes(x=x, x_0=x_0, g=g[0])
    return (x - x_0) * g.mean(0)
