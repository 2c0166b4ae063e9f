"""Decisions whose mistakes cost unequally: the price of each, when to hand over, and other base rates."""

from __future__ import annotations

from torch import Tensor

from ._arguments import check_range, widen


def expected_cost(p: Tensor, C: Tensor) -> Tensor:
    """What each decision costs on average, (..., A), where p (..., K) are probabilities of the truths.

    Implements {eq}`eq:expected-cost`. C (K, A) is the cost of each decision under each truth. Raises
    ValueError for another number of truths. Source: Elkan 2001.
    """
    if C.dim() != 2 or p.shape[-1] != C.shape[0]:
        raise ValueError(f"C: expected a row for each of {p.shape[-1]} truths, got shape {tuple(C.shape)}")
    p, C = widen(p), widen(C)
    return p @ C.to(p)


def hand_over(p: Tensor, C: Tensor, d: float) -> Tensor:
    """Whether to leave a case to a person, who costs d: no decision has a smaller expected cost; (...).

    Implements {eq}`eq:chow`. Raises ValueError for d < 0, or another number of truths. Source: Chow 1970.
    """
    check_range("d", d, 0, open_low=False)
    return expected_cost(p, C).amin(-1) > d


def shifted_posterior(p: Tensor, w: Tensor) -> Tensor:
    """Probabilities (..., K) where truths have become w (K,) times as common, of p (..., K) from before.

    Implements {eq}`eq:prior-shift`. Exact where each truth still looks as it did. Raises ValueError for
    weights that do not fit, or are negative. Source: Elkan 2001.
    """
    if w.shape != p.shape[-1:] or bool((w < 0).any()):
        raise ValueError(f"w: expected {p.shape[-1]} ratios, 0 or more, got {w.tolist()}")
    p, w = widen(p), widen(w)
    return w * p / (w * p).sum(-1, keepdim=True)
