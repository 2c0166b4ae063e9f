"""From rewards to the probability of a judgement, and from pairs, ties, ratings and rankings to a loss."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from ._arguments import Number, check_range, check_shapes, widen


def preference_probability(R_c: Tensor, R_r: Tensor) -> Tensor:
    """Probability that the response with reward R_c is preferred to the one with R_r; any equal shapes.

    Implements {eq}`eq:bradley-terry`. Raises ValueError for differing shapes. Source: Bradley and Terry 1952.
    """
    check_shapes(R_c=R_c, R_r=R_r)
    return torch.sigmoid(widen(R_c) - widen(R_r))


def preference_loss(R_c: Tensor, R_r: Tensor, margin: Number = 0.0, c: float = 0.0) -> Tensor:
    """Mean negative log-likelihood of the choices, R_c (B,) of the chosen, R_r (B,) of the rejected.

    Implements {eq}`eq:preference-loss`. `margin` (a number or (B,)) is the lead asked for; c draws the
    rewards of a pair towards mean 0. Returns a scalar. Raises ValueError for differing shapes or no pair.
    Source: Ouyang et al. 2022.
    """
    check_shapes(R_c=R_c, R_r=R_r)
    if R_c.numel() == 0:
        raise ValueError(f"R_c: expected at least one pair, got shape {tuple(R_c.shape)}")
    R_c, R_r = widen(R_c), widen(R_r)
    return (-logsigmoid(R_c - R_r - margin) + c * (R_c + R_r) ** 2).mean()


def tie_probabilities(R_a: Tensor, R_b: Tensor, nu: Number) -> Tensor:
    """Probabilities (..., 3) that response a is preferred, that b is, and that they tie; rewards (...).

    Implements {eq}`eq:davidson`. The larger nu, the commoner are ties; near 0 this is Bradley and Terry's
    model. Raises ValueError for differing shapes or nu <= 0. Source: Davidson 1970.
    """
    return _tie_logits(R_a, R_b, nu).softmax(-1)


def tie_loss(R_a: Tensor, R_b: Tensor, outcome: Tensor, nu: Number) -> Tensor:
    """Mean negative log-likelihood of outcomes (B,), 0 where a was preferred, 1 where b was, 2 for a tie.

    Implements {eq}`eq:tie-loss`. nu may be a tensor that learns. Returns a scalar. Raises ValueError for
    differing shapes, no pair, another outcome, or nu <= 0. Source: Davidson 1970.
    """
    check_shapes(R_a=R_a, outcome=outcome)
    _check_classes("outcome", outcome, 3)
    return torch.nn.functional.cross_entropy(_tie_logits(R_a, R_b, nu), outcome)


def _tie_logits(R_a: Tensor, R_b: Tensor, nu: Number) -> Tensor:
    check_shapes(R_a=R_a, R_b=R_b)
    check_range("nu", nu, 0)
    R_a, R_b = widen(R_a), widen(R_b)
    return torch.stack([R_a, R_b, (R_a + R_b) / 2 + torch.as_tensor(nu, dtype=R_a.dtype).log()], -1)


def ordinal_loss(R: Tensor, rating: Tensor, kappa: Tensor) -> Tensor:
    """Mean negative log-likelihood of ratings (B,), whole numbers 0 to L, of responses with rewards R (B,).

    Implements {eq}`eq:ordinal`. The thresholds kappa (L,) rise; they and R may learn. Returns a scalar.
    Raises ValueError for differing shapes, no rating, one outside the scale, or thresholds that do not rise.
    Source: McCullagh 1980.
    """
    check_shapes(R=R, rating=rating)
    kappa = widen(kappa)
    if kappa.dim() != 1 or not len(kappa) or not (kappa.diff() > 0).all():
        raise ValueError(f"kappa: expected one or more rising thresholds, got {kappa.tolist()}")
    _check_classes("rating", rating, len(kappa) + 1)
    end = torch.full_like(kappa[:1], torch.inf)
    edges = torch.cat([-end, kappa, end])
    below, above = edges[rating] - widen(R), edges[rating + 1] - widen(R)
    # sigmoid(above) - sigmoid(below), factored so that no digits are lost where both are near 0 or 1
    log_p = logsigmoid(above) + logsigmoid(-below) + (-torch.expm1(below - above)).log()
    return -log_p.mean()


def ranking_loss(R: Tensor) -> Tensor:
    """Mean negative log-likelihood of rankings: rewards R (B, K) of K responses each, the best one first.

    Implements {eq}`eq:plackett-luce`. Two responses give the preference loss. Returns a scalar. Raises
    ValueError for no ranking or fewer than two responses. Source: Plackett 1975, Luce 1959.
    """
    if R.dim() != 2 or not len(R) or R.shape[1] < 2:
        raise ValueError(f"R: expected shape (B, K) with B >= 1 and K >= 2, got {tuple(R.shape)}")
    R = widen(R)
    left = R.flip(-1).logcumsumexp(-1).flip(-1)  # over each response and all that are ranked below it
    return (left - R).sum(-1).mean()


def _check_classes(name: str, chosen: Tensor, classes: int) -> None:
    if not chosen.numel() or chosen.is_floating_point() or not ((chosen >= 0) & (chosen < classes)).all():
        some = chosen.flatten()[:5].tolist()
        raise ValueError(f"{name}: expected one or more whole numbers from 0 to {classes - 1}, got {some}")
