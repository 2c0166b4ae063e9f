"""What every equation does with its arguments before it computes: widen, mask, refuse."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeAlias

import torch
from torch import Tensor

Number: TypeAlias = float | Tensor
_reads = True


@contextmanager
def unread(on: bool = True) -> Iterator[None]:
    """Within it no check reads the numbers in a tensor: an accelerator would have to be waited for."""
    global _reads
    before, _reads = _reads, _reads and not on
    try:
        yield
    finally:
        _reads = before


def widen(x: Tensor) -> Tensor:
    """Return `x` in at least 32-bit floats, so that half precision never enters a sum."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def keep(x: Tensor, m: Tensor) -> Tensor:
    """Return `x`, widened, zero where m = 0: padding, even NaN, then touches neither value nor gradient."""
    return widen(x).masked_fill(m == 0, 0.0)


def check_shapes(**tensors: Tensor) -> None:
    """Raise ValueError unless all the named tensors have the shape of the first."""
    (first, like), *others = tensors.items()
    for name, x in others:
        if x.shape != like.shape:
            raise ValueError(f"{name}: expected shape {tuple(like.shape)} like {first}, got {tuple(x.shape)}")


def check_range(
    name: str, value: Number, low: float, high: float = float("inf"), open_low: bool = True
) -> None:
    """Raise ValueError unless low < value <= high (low <= value with `open_low=False`)."""
    if isinstance(value, Tensor) and not _reads:
        return
    number = float(value.detach() if isinstance(value, Tensor) else value)
    if not (low < number <= high or (not open_low and number == low)):
        relation = ">" if open_low else ">="
        ceiling = "" if high == float("inf") else f" and <= {high:g}"
        raise ValueError(f"{name}: expected a number {relation} {low:g}{ceiling}, got {number:g}")


def check_rows(m: Tensor) -> None:
    """Raise ValueError if a row of m (B, T) has no response token."""
    empty = (m.sum(-1) == 0).nonzero().flatten().tolist() if _reads else []
    if empty:
        raise ValueError(
            f"m: expected at least one response token (m = 1) in each row, got none in row(s) {empty[:5]} "
            f"of shape {tuple(m.shape)}; give every response at least its EOS token"
        )


def check_present(m: Tensor, shape: tuple[int, ...]) -> None:
    """Raise ValueError unless m has that shape, (B, M), and at least one modality in each row."""
    if m.shape != shape:
        raise ValueError(f"m: expected shape {tuple(shape)}, rows by modalities, got {tuple(m.shape)}")
    if empty := (m.sum(-1) == 0).nonzero().flatten().tolist():
        raise ValueError(f"m: expected at least one modality in each row, got none in row(s) {empty[:5]}")


def token_count(m: Tensor, N: Number | None) -> Number:
    """Return N, or the number of ones in `m` when N is None."""
    if N is None:
        total = widen(m).sum()
        if _reads and total == 0:
            raise ValueError(
                f"m: expected at least one response token (m = 1), got none in shape {tuple(m.shape)}; "
                "an empty micro-batch needs N, the token count of its whole minibatch"
            )
        return total
    if not isinstance(N, Tensor):  # a tensor stays unread: no wait for the accelerator
        check_range("N", N, 0)
    return N
