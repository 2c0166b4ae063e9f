"""What most checkers do with a result: name the mistake that leads to it, or show what is right."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mmbook.exercises import Mistake


def reaches(loss: Any, *learned: Tensor) -> None:
    """Raise a message if no gradient of the loss reaches one of the tensors that learn."""
    if isinstance(loss, Tensor) and loss.requires_grad:
        slopes = torch.autograd.grad(loss.sum(), learned, allow_unused=True)
        if all(g is not None and g.any() for g in slopes):
            return
    raise Mistake("no gradient reaches what is to learn: stay in torch and do not detach")


def compare(
    got: Any, right: Tensor, mistakes: dict[str, Tensor], rtol: float = 1e-4, atol: float = 1e-6
) -> None:
    """Raise the message of the mistake whose result was given, whatever its shape, or one that shows both."""
    given = None if got is None else torch.as_tensor(got).detach()

    def same(x: Tensor) -> bool:
        return (
            given is not None and given.shape == x.shape and torch.allclose(given.to(x), x, rtol, atol, True)
        )

    if same(right):
        return
    for says, wrong in mistakes.items():
        if same(wrong):
            raise Mistake(says)
    if given is None or given.shape != right.shape:
        shape = "one number" if not right.dim() else f"a tensor of shape {tuple(right.shape)}"
        got_shape = "nothing" if given is None else f"shape {tuple(given.shape)}"
        raise Mistake(f"the result should be {shape}, got {got_shape}")
    if given.isnan().any():
        raise Mistake(
            "NaN times 0 is NaN: put 0 where the mask is 0 with masked_fill or where, before you add up"
        )
    raise Mistake(f"the result is {given.tolist()} where {right.tolist()} is right, on a small example")
