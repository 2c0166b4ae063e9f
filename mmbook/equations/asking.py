"""What the answer to a question would tell, and how sure one must be not to ask."""

from __future__ import annotations

import torch
from torch import Tensor

from ._arguments import Number, check_range, widen


def answer_entropy(p: Tensor) -> Tensor:
    """The entropy (N,), in nats, of the mean prediction of p (K, N, C): K models, N questions, C answers.

    Implements {eq}`eq:answer-entropy`. Raises ValueError for another shape, or what is no probability.
    Source: Lewis and Gale 1994 (uncertainty sampling).
    """
    return _entropy(_checked(p).mean(0))


def information_gain(p: Tensor) -> Tensor:
    """How much, in nats (N,), an answer is expected to tell of which of K models is right; p as above.

    Implements {eq}`eq:information-gain`. 0 where all models say the same, however undecided they are. Raises
    ValueError for another shape, or what is no probability. Source: Houlsby et al. 2011.
    """
    p = _checked(p)
    return _entropy(p.mean(0)) - _entropy(p).mean(0)


def ask_threshold(c: Number, ell: Number) -> Number:
    """How likely an answer must be right for it to be worth more than asking back, at the price c.

    Implements {eq}`eq:ask-threshold`. A wrong answer costs ell where a right one earns 1; below 0 a guess is
    always worth more. Raises ValueError for a negative price or loss.
    """
    check_range("c", c, 0, open_low=False)
    check_range("ell", ell, 0, open_low=False)
    return 1 - c / (1 + ell)


def _entropy(p: Tensor) -> Tensor:
    return -torch.xlogy(p, p).sum(-1)


def _checked(p: Tensor) -> Tensor:
    if p.dim() != 3 or 0 in p.shape:
        raise ValueError(f"p: expected models, questions, answers, one or more of each, got {tuple(p.shape)}")
    p = widen(p)
    if not ((p >= 0).all() and torch.allclose(p.sum(-1), torch.ones_like(p[..., 0]), atol=1e-4)):
        raise ValueError("p: expected probabilities that add up to 1 over the answers")
    return p
