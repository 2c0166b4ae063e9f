"""What is counted when an answer is compared with a right one, and what comparisons say of models."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Sequence
from functools import reduce

from torch import Tensor

from ._arguments import check_shapes, widen


def f1_score(TP: Tensor, FP: Tensor, FN: Tensor) -> Tensor:
    """F1 of each class: hits TP, false alarms FP, misses FN, of any one shape; 0 where all three are 0.

    Implements {eq}`eq:f1`. The mean over classes is macro F1; micro F1 is that of the sums. Raises
    ValueError for differing shapes. Source: van Rijsbergen 1979.
    """
    check_shapes(TP=TP, FP=FP, FN=FN)
    TP, FP, FN = widen(TP), widen(FP), widen(FN)
    return 2 * TP / (2 * TP + FP + FN).clamp(min=1e-30)


def iou(A: Tensor, B: Tensor) -> Tensor:
    """Intersection over union (...) of sets A and B (..., N), true where a cell belongs; 0 for empty ones.

    Implements {eq}`eq:iou`. Raises ValueError for differing shapes. Source: Jaccard 1912.
    """
    check_shapes(A=A, B=B)
    return (A.bool() & B.bool()).sum(-1) / (A.bool() | B.bool()).sum(-1).clamp(min=1)


def _ngrams(y: Sequence[Hashable], n: int) -> Counter:
    """How often each run of n neighbours stands in y: words of a list, or letters of a text."""
    return Counter(tuple(y[i : i + n]) for i in range(len(y) - n + 1))


def clipped_matches(y: Sequence[Hashable], R: Sequence[Sequence[Hashable]], n: int) -> int:
    """How many n-grams of y are in references R, each at most as often as in the one that has it most often.

    Implements {eq}`eq:clipped-matches`. Raises ValueError without a reference. Source: Papineni et al. 2002.
    """
    if not R:
        raise ValueError("R: expected a reference or more, got none")
    return (_ngrams(y, n) & reduce(Counter.__or__, (_ngrams(r, n) for r in R))).total()


def bleu(m: Sequence[float], h: Sequence[float], c: float, r: float) -> float:
    """BLEU, 0 to 1: matches m and n-grams h for n = 1, 2, ..., in captions of c words, references of r.

    Implements {eq}`eq:bleu`. All are sums over a whole test set. 0 where some m is 0, or nothing was said.
    Raises ValueError for lists of different lengths, or none. Source: Papineni et al. 2002.
    """
    if len(m) != len(h) or not len(m):
        raise ValueError(f"m, h: expected one number each for n = 1, 2, ..., got {len(m)} and {len(h)}")
    if min(m) <= 0 or c <= 0:
        return 0.0
    log_p = sum(math.log(x / of) for x, of in zip(m, h, strict=True)) / len(m)
    return math.exp(min(0.0, 1 - r / c) + log_p)


def rouge_l(y: Sequence[Hashable], r: Sequence[Hashable]) -> float:
    """ROUGE-L, 0 to 1: the longest common subsequence of a caption y and a reference r, as an F1 of words.

    Implements {eq}`eq:rouge-l`. 0 where one of them is empty. Source: Lin 2004.
    """
    row = [0] * (len(r) + 1)  # row[j]: the longest of what is read of y and the first j words of r
    for word in y:
        before = 0
        for j, other in enumerate(r, 1):
            before, row[j] = row[j], before + 1 if word == other else max(row[j], row[j - 1])
    return 2 * row[-1] / max(1, len(y) + len(r))


def chrf(y: str, r: str, N: int = 6, beta: float = 2.0) -> float:
    """chrF, 0 to 1: F of the letters' n-grams up to N, blanks left out, recall beta times as heavy.

    Implements {eq}`eq:chrf`. Lengths n beyond one of the texts are left out. Source: Popović 2015.
    """
    y, r = "".join(y.split()), "".join(r.split())
    each = [(_ngrams(y, n), _ngrams(r, n)) for n in range(1, min(N, len(y), len(r)) + 1)]
    if not each:
        return 0.0
    P = sum((a & b).total() / a.total() for a, b in each) / len(each)
    R = sum((a & b).total() / b.total() for a, b in each) / len(each)
    return (1 + beta**2) * P * R / (beta**2 * P + R) if P + R else 0.0


def rating_step(W: Tensor, s: Tensor) -> Tensor:
    """Better strengths s (M,) of models of which i beat j W[i, j] (M, M) times; ties are half a win for each.

    Implements {eq}`eq:rating-step`. Repeated, it climbs to Bradley and Terry's most likely strengths, here
    with geometric mean 1. Raises ValueError for other shapes. Source: Zermelo 1929, Hunter 2004.
    """
    if W.dim() != 2 or W.shape != (len(s), len(s)):
        raise ValueError(f"W: expected a row and a column for each of {len(s)} models, got {tuple(W.shape)}")
    W, s = widen(W), widen(s)
    s = W.sum(1) / ((W + W.T) / (s[:, None] + s[None])).sum(1)
    return s / s.log().mean().exp()


def sample_size(p: float, p_0: float, z_alpha: float = 1.959964, z_beta: float = 0.841621) -> float:
    """How many comparisons it takes to tell a win rate p from p_0, with the power and the risk of z.

    Implements {eq}`eq:sample-size`. z_alpha belongs to the risk of seeing what is not there (1.96: 5 %, both
    sides), z_beta to the power (0.84: 80 %). Raises ValueError for p = p_0 or what is no share.
    Source: Fleiss 1981.
    """
    if p == p_0 or not 0 < min(p, p_0) <= max(p, p_0) < 1:
        raise ValueError(f"p, p_0: expected two shares that differ, got {p} and {p_0}")
    return ((z_alpha * math.sqrt(p_0 * (1 - p_0)) + z_beta * math.sqrt(p * (1 - p))) / (p - p_0)) ** 2
