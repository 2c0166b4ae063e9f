"""Checkers of the chapter on fusion."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from mmbook.equations import bayes_accuracy, bilinear_fusion, weighted_average
from mmbook.exercises import exercise
from mmbook.exercises.comparing import compare, reaches


@exercise("multimodal-fusion/ceiling")
def ceiling(answer: Callable[..., Any]) -> None:
    """`answer(p, A)` is the best accuracy that modalities A of the table p (Y, S_1, ..., S_M) allow."""
    g = torch.Generator().manual_seed(2)
    p = torch.rand(3, 2, 3, 2, generator=g).double() ** 3
    p /= p.sum()
    for A in ((1,), (0, 2), (), (0, 1, 2)):
        seen = p.sum([1 + i for i in range(3) if i not in A]) if len(A) < 3 else p
        flat = seen.reshape(3, -1)
        mistakes = {
            "you used what is hidden: add up over it first, then take the best label": p.amax(0).sum(),
            "these are the modalities that are hidden, not those that are seen": bayes_accuracy(
                p, [i for i in range(3) if i not in A]
            ),
            "every cell counts as often as it occurs: use joint probabilities, not p(y | x), and add": (
                flat / flat.sum(0)
            ).amax(0).mean(),
            "add, do not average: the probabilities already say how often a cell occurs": flat.amax(0).mean(),
            "take the best label for each cell, not the best cell for each label": flat.amax(1).sum(),
            "these modalities are one place too far to the left: dimension 0 of p is the label": (
                p.sum([i for i in range(3) if i not in A]) if len(A) < 3 else p
            ).amax(0).sum(),
            "one label for all cells: the answer may depend on what is seen": flat.sum(1).amax(),
        }  # fmt: skip
        if len(A) == 3:
            mistakes["nothing is hidden here, but sum over an empty list of dimensions adds up all"] = p.sum()
        compare(answer(p.clone(), A), bayes_accuracy(p, A), mistakes)


@exercise("multimodal-fusion/average")
def average(answer: Callable[..., Any]) -> None:
    """`answer(h, a, m)` averages h (B, M, D) by softmax(a) over what is there, m (B, M)."""
    g = torch.Generator().manual_seed(3)
    h, a = torch.randn(4, 3, 2, generator=g), torch.tensor([1.0, -0.5, 0.3])
    m = torch.tensor([[1.0, 1, 1], [1, 0, 1], [0, 0, 1], [1, 1, 0]])
    w, there = a.softmax(0), m[..., None]
    z = torch.where(m == 0, -torch.inf, a).softmax(1)[..., None]
    mistakes = {
        "the missing are counted too: the mask is not used": (w[:, None] * h).sum(1),
        "with a modality missing the weights no longer add up to 1: mask before the softmax": (
            w[:, None] * h * there
        ).sum(1),
        "a of what is missing should be minus infinity, not 0: exp(0) is 1": (
            (a * m).softmax(1)[..., None] * h * there
        ).sum(1),
        "the weights are not used: this is the plain mean of what is there": (h * there).sum(1)
        / there.sum(1),
        "add up: this is a further division by the number of modalities": (z * h).sum(1) / there.sum(1),
        "the softmax should run over the modalities, not over the batch": (
            torch.where(m == 0, -torch.inf, a).softmax(0)[..., None] * h
        ).sum(1),
        "these are the numbers a themselves as weights: take their softmax": (a[:, None] * h * there).sum(1),
    }
    learned = [x.clone().requires_grad_() for x in (h, a)]
    compare(got := answer(*learned, m.clone()), weighted_average(h, a, m), mistakes)
    reaches(got, *learned)
    broken = h.masked_fill(there == 0, torch.nan)
    compare(answer(broken, a.clone(), m.clone()), weighted_average(h, a, m), {})


@exercise("multimodal-fusion/product")
def product(answer: Callable[..., Any]) -> None:
    """`answer(h, m)` is the product over modalities of 1 + h (B, M, D), where m (B, M) is 1."""
    g = torch.Generator().manual_seed(4)
    h, m = torch.randn(3, 3, 2, generator=g), torch.tensor([[1.0, 1, 1], [1, 0, 1], [0, 1, 0]])
    there = m[..., None]
    mistakes = {
        "a missing modality makes everything 0: its factor should be 1": ((1 + h) * there).prod(1),
        "the 1 is missing: a product of h alone is 0 as soon as one modality is": (
            h * there
        ).prod(1),
        "the 1 is missing: without it no modality speaks for itself": torch.where(there == 0, 1.0, h).prod(1),
        "the 1 belongs into each factor, not beside their product": 1 + (h * there).prod(1),
        "the 1 belongs into each factor, and what is missing is a factor of 1": (
            1 + torch.where(there == 0, 1.0, h).prod(1)
        ),
        "this is a sum, which is what we want to get away from: multiply": (1 + h * there).sum(1),
        "the missing are multiplied in too: the mask is not used": (1 + h).prod(1),
    }  # fmt: skip
    compare(got := answer(learned := h.clone().requires_grad_(), m.clone()), bilinear_fusion(h, m), mistakes)
    reaches(got, learned)
    broken = h.masked_fill(there == 0, torch.nan)
    compare(answer(broken, m.clone()), bilinear_fusion(h, m), {})
