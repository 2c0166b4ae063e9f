"""How far several people agree beyond chance: kappa for two, for many, and alpha with answers missing."""

from __future__ import annotations

import torch
from torch import Tensor

from ._arguments import check_shapes

LEVELS = ("nominal", "ordinal", "interval")


def cohen_kappa(a: Tensor, b: Tensor, w: Tensor | None = None) -> Tensor:
    """Agreement of two people beyond chance: 1 for full, 0 for what their habits alone would give.

    Implements {eq}`eq:cohen-kappa`. a, b (N,) are categories from 0; w (C, C) says how bad it is that one
    says j and the other k, by default 1 for j != k. NaN where chance alone leaves no room to disagree.
    Raises ValueError for differing shapes, no item, or a category beyond w. Source: Cohen 1960, 1968.
    """
    check_shapes(a=a, b=b)
    if a.dim() != 1 or a.numel() == 0 or a.is_floating_point() or b.is_floating_point():
        raise ValueError(f"a: expected whole categories (N,) of one item or more, got {tuple(a.shape)}")
    most = int(torch.stack([a, b]).max())
    w = 1 - torch.eye(most + 1) if w is None else w
    if int(torch.stack([a, b]).min()) < 0 or most >= len(w) or w.shape != (len(w), len(w)):
        raise ValueError(
            f"w: expected a row and a column for each category, 0 to {most}, got {tuple(w.shape)}"
        )
    A, B = (torch.nn.functional.one_hot(x, len(w)).double() for x in (a, b))
    o, e = A.T @ B / len(a), torch.outer(A.mean(0), B.mean(0))
    return 1 - (w * o).sum() / (w * e).sum()


def fleiss_kappa(n: Tensor) -> Tensor:
    """Agreement beyond chance of n (N, C): how many people put each item in each category.

    Implements {eq}`eq:fleiss-kappa`. NaN where all answers are in one category. Raises ValueError for no
    item, different numbers of people, or fewer than two. Source: Fleiss 1971.
    """
    people = n.sum(-1) if n.dim() == 2 and n.numel() else torch.zeros(1)
    if people.min() != people.max() or people.min() < 2:
        raise ValueError(
            f"n: expected items by categories, the same number of people, two or more, in each row, got "
            f"shape {tuple(n.shape)} with {people.min():g} to {people.max():g} people"
        )
    n, M = n.double(), people[0].double()
    p_o = ((n * (n - 1)).sum(-1) / (M * (M - 1))).mean()
    p_e = (n.sum(0) / n.sum()).square().sum()
    return (p_o - p_e) / (1 - p_e)


def krippendorff_alpha(x: Tensor, m: Tensor, level: str = "nominal") -> Tensor:
    """Agreement beyond chance of answers x (M, N) of M people on N items; m (M, N) is 1 where there is one.

    Implements {eq}`eq:krippendorff-alpha`. `level` says how far two answers are apart: nominal (another is
    another), ordinal (by ranks between) or interval (by their difference, squared). NaN where all answers are
    the same. Raises ValueError for differing shapes, another level, or no item with two answers.
    Source: Krippendorff 2011.
    """
    check_shapes(x=x, m=m)
    if level not in LEVELS:
        raise ValueError(f"level: expected one of {', '.join(LEVELS)}, got {level!r}")
    several = (m != 0) & ((m != 0).sum(0) > 1)
    if x.dim() != 2 or not several.any():
        raise ValueError(f"m: expected an item with two answers or more, got none in shape {tuple(x.shape)}")
    values, at = x[several].double().unique(return_inverse=True)
    item = several.nonzero()[:, 1]
    counts = torch.zeros(x.shape[1], len(values), dtype=torch.float64)
    counts.index_put_((item, at), torch.ones(len(at), dtype=torch.float64), accumulate=True)
    m_u = counts.sum(1).clamp(min=2)[:, None]
    o = (counts / (m_u - 1)).T @ counts - torch.diag((counts / (m_u - 1)).sum(0))
    n = o.sum(0)
    if level == "nominal":
        d = 1 - torch.eye(len(n), dtype=torch.float64)
    else:
        place = n.cumsum(0) - n / 2 if level == "ordinal" else values
        d = (place[:, None] - place[None]).square()
    return 1 - (n.sum() - 1) * (d * o).sum() / (d * torch.outer(n, n)).sum()
