"""From raw text, pictures and sound to numbers that a model can use, and what is near to what among them.

Letters: N items, D numbers each. x is what comes in: vectors (N, D), a picture (B, H, W, C), a wave (B, S).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from ._arguments import check_shapes, widen


def neighbour_accuracy(x: Tensor, y: Tensor) -> Tensor:
    """The share of rows of x (N, D) whose nearest other row has the same label y (N,).

    Implements {eq}`eq:neighbour-accuracy`. Returns a scalar. Raises ValueError for fewer than two rows.
    """
    if len(x) < 2 or y.shape != x.shape[:1]:
        raise ValueError(f"x, y: expected (N, D) and (N,), N > 1, got {tuple(x.shape)}, {tuple(y.shape)}")
    x = widen(x)
    distance = torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist").fill_diagonal_(torch.inf)
    return (y[distance.argmin(1)] == y).double().mean()


def skip_gram_loss(u: Tensor, v: Tensor, n: Tensor) -> Tensor:
    """Mean loss of words u (B, D) that should fit their neighbours v (B, D) and not the words n (B, K, D).

    Implements {eq}`eq:skip-gram`. Returns a scalar. Raises ValueError when the shapes do not
    go together. Source: Mikolov et al. 2013.
    """
    check_shapes(u=u, v=v)
    if n.ndim != 3 or n.shape[::2] != u.shape:
        raise ValueError(f"n: expected (B, K, D) with B, D of u {tuple(u.shape)}, got {tuple(n.shape)}")
    u, v, n = widen(u), widen(v), widen(n)
    against = logsigmoid(-(n @ u[..., None])[..., 0]).sum(-1)
    return -(logsigmoid((u * v).sum(-1)) + against).mean()


def patch_embedding(x: Tensor, W: Tensor, b: Tensor, P: int) -> Tensor:
    """Pictures x (B, H, W, C) as tokens (B, T, D): each P by P square, in reading order, times W (D, P P C).

    Implements {eq}`eq:patch-embedding`; b (D,) is added. Raises ValueError when P does not divide the sides.
    Source: Dosovitskiy et al. 2021.
    """
    B, high, wide, C = x.shape
    if P < 1 or high % P or wide % P:
        raise ValueError(f"P: expected a divisor of {high} and {wide}, got {P}")
    squares = widen(x).reshape(B, high // P, P, wide // P, P, C).transpose(2, 3)
    return squares.reshape(B, -1, P * P * C) @ W.T + b


def spectrogram(x: Tensor, w: Tensor, H: int) -> Tensor:
    """Power (B, T, N / 2 + 1) of waves x (B, S) in frames of the window w (N,), one every H samples.

    Implements {eq}`eq:spectrogram`. Raises ValueError for waves shorter than the window.
    """
    if x.shape[-1] < len(w) or H < 1:
        raise ValueError(f"x, H: expected at least {len(w)} samples and H > 0, got {x.shape[-1]} and {H}")
    return torch.fft.rfft(widen(x).unfold(-1, len(w), H) * w).abs().square()


def mel(f: Tensor) -> Tensor:
    """Frequencies f, in hertz, on a scale on which equal steps sound about equally far.

    Implements {eq}`eq:mel`. Source: O'Shaughnessy 1987.
    """
    return 2595 * torch.log10(1 + widen(f) / 700)


def mel_filters(f: Tensor, c: Tensor) -> Tensor:
    """Triangles (M, F) over frequencies f (F,): triangle i is 0 at c_(i - 1), 1 at c_i and 0 at c_(i + 1).

    Implements {eq}`eq:mel-filters`. c (M + 2,) rises. Raises ValueError when it does not.
    """
    if not (c.diff() > 0).all():
        raise ValueError(f"c: expected numbers that rise, got {c.tolist()[:5]}")
    left, middle, right = c[:-2, None], c[1:-1, None], c[2:, None]
    return torch.minimum((f - left) / (middle - left), (right - f) / (right - middle)).clamp(min=0)


def gru_step(x: Tensor, h: Tensor, W: Tensor, U: Tensor, b: Tensor, d: Tensor) -> Tensor:
    """The next state (B, D) of a GRU in state h (B, D) that reads x (B, F).

    Implements {eq}`eq:gru`. W (3 D, F), U (3 D, D), b and d (3 D,) hold, one below the other, what belongs
    to the gates r and z and to the new content. Source: Cho et al. 2014, in the form of cuDNN.
    """
    (xr, xz, xn), (hr, hz, hn) = (x @ W.T + b).chunk(3, -1), (h @ U.T + d).chunk(3, -1)
    r, z = torch.sigmoid(xr + hr), torch.sigmoid(xz + hz)
    return (1 - z) * torch.tanh(xn + r * hn) + z * h
