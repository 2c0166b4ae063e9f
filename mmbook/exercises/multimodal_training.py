"""Checkers of the chapter on training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from mmbook.equations import clip_gradient, uncertainty_loss
from mmbook.exercises import exercise
from mmbook.exercises.comparing import compare, reaches


@exercise("multimodal-training/clip")
def clip(answer: Callable[..., Any]) -> None:
    """`answer(g, c)` is the gradient g, of any shape, no longer than c."""
    for g, c in (
        (torch.tensor([[3.0, -4.0], [0.0, 12.0]]), 2.0),
        (torch.tensor([0.3, -0.4]), 2.0),
        (torch.tensor([3.0, -4.0]), 2.0),
    ):
        mistakes = {
            "a gradient that is short enough should stay as it is": g * c / g.norm(),
            "this cuts each number by itself, which changes the direction": g.clamp(-c, c),
            "divide by the length, the root of the sum of squares, not by the sum": g
            * min(1, c / g.norm() ** 2),
            "each row is shortened by itself: the length is that of all numbers together": g
            * (c / g.norm(dim=-1, keepdim=True)).clamp(max=1),
            "a gradient that is too long is not cut at all": g,
            "the length becomes 1 here: multiply by c": g / g.norm().clamp(min=1),
        }
        right = clip_gradient(g, c)
        wrong = {says: w for says, w in mistakes.items() if not torch.allclose(w, right)}
        compare(answer(g.clone(), c), right, wrong)


@exercise("multimodal-training/uncertainty")
def uncertainty(answer: Callable[..., Any]) -> None:
    """`answer(L, s)` weighs losses L (K,) by their log-variances s (K,)."""
    L, s = torch.tensor([0.7, 2.0, 0.1]), torch.tensor([0.5, -1.0, 0.2])
    mistakes = {
        "a noisy task should count less: the weight is exp(-s)": (s.exp() * L + s / 2).sum(),
        "without the price s / 2 a large variance makes every loss vanish": ((-s).exp() * L).sum(),
        "the price is half of s: with s itself the best variance is another": ((-s).exp() * L + s).sum(),
        "halving the losses too is the form for squared errors: here the weight is exp(-s)": (
            (-s).exp() * L / 2 + s / 2
        ).sum(),
        "the price has to rise with s: this one falls": ((-s).exp() * L - s / 2).sum(),
        "add up over the tasks: this is their mean": uncertainty_loss(L, s) / 3,
        "s is the logarithm of the variance, not the variance": (L / s + s / 2).sum(),
    }
    learned = [x.clone().requires_grad_() for x in (L, s)]
    compare(got := answer(*learned), uncertainty_loss(L, s), mistakes)
    reaches(got, *learned)
