"""What a run costs in bytes and seconds, and how a model is made smaller.

Letters: b bytes of a number, N weights that stay, n weights that learn, L layers of width D with keys of
width K and feed-forward layers of width F; W processes, or a matrix of weights (O, D); r an adapter's rank.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ._arguments import Number, check_range, widen
from .trust_region import mean_divergence


def state_bytes(N: Number, n: Number, b: Number = 4) -> Number:
    """Bytes of N frozen weights of b bytes, and of n that learn: weight, gradient and AdamW's two moments.

    Implements {eq}`eq:state-memory`.
    """
    return b * N + 16 * n


def activation_bytes(
    B: Number, T: Number, L: Number, D: Number, K: Number, F: Number, b: Number = 4
) -> Number:
    """Bytes that L layers of a Llama keep for the gradient of all their weights; B rows of T tokens.

    Implements {eq}`eq:activation-memory`.
    """
    return b * B * T * L * (8 * D + 2 * K + 4 * F)


def cache_bytes(B: Number, T: Number, L: Number, K: Number, b: Number = 4) -> Number:
    """Bytes of the keys and values of B rows of T tokens that decoding keeps.

    Implements {eq}`eq:kv-cache`.
    """
    return 2 * b * B * T * L * K


def lora(x: Tensor, W: Tensor, A: Tensor, B: Tensor, alpha: Number) -> Tensor:
    """A linear layer W (O, D) with an adapter A (r, D), B (O, r), applied to x (..., D).

    Implements {eq}`eq:lora`. Raises ValueError where A and B have different ranks. Source: Hu et al. 2022.
    """
    if len(A) != B.shape[-1]:
        raise ValueError(f"B: expected rank {len(A)}, as A {tuple(A.shape)}, got shape {tuple(B.shape)}")
    return x @ W.T + alpha / len(A) * (x @ A.T) @ B.T


def quantise(W: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Whole numbers q (O, D) of k bits and scales s (O, 1), with q s close to W (O, D).

    Implements {eq}`eq:quantise`. Raises ValueError unless 2 <= k <= 8. Source: Dettmers et al. 2022.
    """
    check_range("k", k, 2, 8, open_low=False)
    top = 2 ** (k - 1) - 1
    s = widen(W).abs().amax(-1, keepdim=True).clamp(min=1e-12) / top
    return torch.round(widen(W) / s).to(torch.int8), s


def distillation_loss(z_teacher: Tensor, z: Tensor, m: Tensor, N: Number | None = None) -> Tensor:
    """Mean KL divergence, in nats a token, from the teacher to the student; logits (B, T, V), mask m (B, T).

    Implements {eq}`eq:distillation`. No gradient reaches the teacher. Raises ValueError for differing shapes
    or an empty mask without N. Source: Hinton et al. 2015.
    """
    return mean_divergence(z_teacher.detach(), z, m, N)


def roofline(I: Number, C: float, w: float) -> Tensor:
    """Most operations a second at I operations a byte, with ceilings of C operations and w bytes a second.

    Implements {eq}`eq:roofline`. Source: Williams et al. 2009.
    """
    return torch.clamp(torch.as_tensor(I) * w, max=C)


def update_seconds(
    t_0: Number, t_1: Number, B: Number, W: Number, S: Number, M: Number, w: Number, d: Number = 0.0
) -> Number:
    """Seconds of an update of B captions on W processes, whose gradients of M bytes are summed S times.

    t_0 is what an update costs with hardly any caption and t_1 what each adds; w bytes a second leave a
    process, and a message takes d seconds to arrive. Implements {eq}`eq:plan`.
    Source: Patarasuk and Yuan 2009.
    """
    return t_0 + B / W * t_1 + 2 * S * (W - 1) * (M / (W * w) + d)
