"""Two modalities in one space: scores of pairs, the loss that tells partners apart, what the space is like.

Letters: B pairs, K candidates, D the width of the space. u (B, D) are vectors of pictures, v of texts.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from ._arguments import Number, check_range, check_shapes, widen


def similarity(u: Tensor, v: Tensor, tau: Number = 1.0) -> Tensor:
    """Scores (B, K) of all pairs of vectors u (B, D) and v (K, D): the cosine of their angle over tau.

    Implements {eq}`eq:similarity`. Raises ValueError for tau <= 0 or differing D.
    """
    check_range("tau", tau, 0)
    if u.dim() != 2 or v.dim() != 2 or u.shape[1] != v.shape[1]:
        raise ValueError(f"u, v: expected (B, D) and (K, D), got {tuple(u.shape)} and {tuple(v.shape)}")
    return normalize(widen(u), dim=-1) @ normalize(widen(v), dim=-1).T / tau


def info_nce(s: Tensor, y: Tensor) -> Tensor:
    """Mean surprise, in nats, at which of K candidates is the partner y (B,), by the scores s (B, K).

    Implements {eq}`eq:info-nce`. Returns a scalar. Raises ValueError for a partner that is no candidate.
    Source: van den Oord et al. 2018.
    """
    _check_partners(s, y)
    return cross_entropy(widen(s), y)


def clip_loss(s: Tensor, m: Tensor | None = None) -> Tensor:
    """InfoNCE from pictures to texts and from texts to pictures; pair i is on the diagonal of s (B, B).

    Implements {eq}`eq:clip-loss`. Where m (B, B) is 0 a pair is neither partner nor negative. Returns a
    scalar. Raises ValueError for scores that are not square. Source: Radford et al. 2021.
    """
    if s.dim() != 2 or s.shape[0] != s.shape[1]:
        raise ValueError(f"s: expected as many pictures as texts, got shape {tuple(s.shape)}")
    if m is not None:
        check_shapes(s=s, m=m)
        s = widen(s).masked_fill((m == 0) & ~torch.eye(len(s), dtype=torch.bool, device=s.device), -torch.inf)
    partners = torch.arange(len(s), device=s.device)
    return (info_nce(s, partners) + info_nce(s.T, partners)) / 2


def recall_at(s: Tensor, y: Tensor, k: int) -> Tensor:
    """Share of rows of s (B, K) whose partner y (B,) is among the k best; of equals half are ahead.

    Implements {eq}`eq:recall-at`. Raises ValueError for a partner that is no candidate, k < 1, or NaN.
    """
    _check_partners(s, y)
    check_range("k", k, 1, open_low=False)
    if s.isnan().any():
        raise ValueError("s: expected numbers, got NaN, which is neither ahead of a partner nor behind it")
    own = s.gather(1, y[:, None])
    equal = (s == own).sum(1) - 1
    return ((s > own).sum(1) + equal / 2 < k).double().mean()


def alignment(u: Tensor, v: Tensor) -> Tensor:
    """Mean squared distance of partners u, v (B, D) on the unit sphere: 0 where they coincide.

    Implements {eq}`eq:alignment`. Raises ValueError for differing shapes. Source: Wang and Isola 2020.
    """
    check_shapes(u=u, v=v)
    return (normalize(widen(u), dim=-1) - normalize(widen(v), dim=-1)).square().sum(-1).mean()


def uniformity(u: Tensor) -> Tensor:
    """Log of the mean Gaussian kernel of all pairs of u (B, D) on the sphere: 0 in one point, else negative.

    Implements {eq}`eq:uniformity`. Raises ValueError for fewer than two. Source: Wang and Isola 2020.
    """
    if len(u) < 2:
        raise ValueError(f"u: expected at least two vectors, got shape {tuple(u.shape)}")
    return torch.pdist(normalize(widen(u), dim=-1)).square().mul(-2).exp().mean().log()


def modality_gap(u: Tensor, v: Tensor) -> Tensor:
    """Distance between the mean directions of pictures u (B, D) and of texts v (K, D).

    Implements {eq}`eq:modality-gap`. Source: Liang et al. 2022.
    """
    return (normalize(widen(u), dim=-1).mean(0) - normalize(widen(v), dim=-1).mean(0)).norm()


def _check_partners(s: Tensor, y: Tensor) -> None:
    if s.dim() != 2 or y.shape != s.shape[:1] or not len(y) or not 0 <= y.min() <= y.max() < s.shape[1]:
        raise ValueError(
            f"s, y: expected (B, K) and (B,) numbers from 0 to K - 1, got {tuple(s.shape)}, {y.tolist()[:5]}"
        )
