"""Checkers of the chapter on representations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mmbook.equations import patch_embedding, skip_gram_loss, spectrogram
from mmbook.exercises import exercise
from mmbook.exercises.comparing import compare, reaches


@exercise("multimodal-representations/spectrogram")
def frames(answer: Callable[..., Any]) -> None:
    """`answer(x, w, H)` is the power (B, T, N / 2 + 1) of waves x (B, S) under the window w (N,)."""
    x, w, H = torch.randn(2, 40, generator=torch.Generator().manual_seed(0)), torch.hann_window(8), 4
    windows = x.unfold(-1, 8, H)
    mistakes = {
        "the window is not used: the cut edges of each frame smear over all frequencies": torch.fft.rfft(
            windows
        ).abs()
        ** 2,
        "this is the magnitude: square it to get the power": torch.fft.rfft(windows * w).abs(),
        "both halves of the spectrum: those of a real wave mirror each other, keep N / 2 + 1 (rfft)": (
            torch.fft.fft(windows * w).abs() ** 2
        ),
        "the frames follow each other without overlap: start one every H samples, not every N": spectrogram(
            x, w, 8
        ),
        "this is the square of the complex number, not of its size: take abs first": (
            torch.fft.rfft(windows * w) ** 2
        ).real,
        "the window is used twice: multiply each frame by w once": spectrogram(x, w**2, H),
        "time and frequency are the wrong way round: expected (B, T, N / 2 + 1)": spectrogram(x, w, H).mT,
    }
    compare(answer(x.clone(), w.clone(), H), spectrogram(x, w, H), mistakes)


@exercise("multimodal-representations/patches")
def patches(answer: Callable[..., Any]) -> None:
    """`answer(x, P)` cuts pictures x (B, H, W, C) into flat squares (B, T, P P C), in reading order."""
    x, P = torch.arange(2 * 12 * 15 * 7).view(2, 12, 15, 7).float(), 3
    right = patch_embedding(x, torch.eye(63), torch.zeros(63), P)
    squares = x.reshape(2, 4, 3, 5, 3, 7)  # (B, down, P, across, P, C)
    mistakes: dict[str, Tensor] = {
        "a bare reshape keeps the order in memory: it cuts strips of rows, not squares": x.reshape(2, 20, 63),
        "the patches go down the columns first: reading order is row by row": squares.permute(
            0, 3, 1, 2, 4, 5
        ).reshape(2, 20, 63),
        "within a patch the columns come before the rows": squares.permute(0, 1, 3, 4, 2, 5).reshape(
            2, 20, 63
        ),
        "within a patch the channels come first: (P, P, C) was asked for": squares.permute(
            0, 1, 3, 5, 2, 4
        ).reshape(2, 20, 63),
        "each patch takes pixels from all over the picture: cut H into H / P pieces of P": (
            x.reshape(2, 3, 4, 3, 5, 7).permute(0, 2, 4, 1, 3, 5).reshape(2, 20, 63)
        ),
    }
    compare(answer(x.clone(), P), right, mistakes)


@exercise("multimodal-representations/skip-gram")
def skip_gram(answer: Callable[..., Any]) -> None:
    """`answer(u, v, n)` is the skip-gram loss of u, v (B, D) with negatives n (B, K, D)."""
    g = torch.Generator().manual_seed(1)
    u, v, n = (
        torch.randn(4, 3, generator=g),
        torch.randn(4, 3, generator=g),
        torch.randn(4, 2, 3, generator=g),
    )
    fits, not_fits = (u * v).sum(-1), (n @ u[..., None])[..., 0]
    log = torch.nn.functional.logsigmoid
    mistakes = {
        "the negatives are rewarded: their score needs a minus inside the sigmoid": -(
            log(fits) + log(not_fits).sum(-1)
        ).mean(),
        "the loss is the negative of the log-probability: this falls where it should rise": -skip_gram_loss(
            u, v, n
        ),
        "the negatives are averaged: each of the K counts in full": -(
            log(fits) + log(-not_fits).mean(-1)
        ).mean(),
        "the negatives are missing: one vector for all words would now be best": -log(fits).mean(),
        "add over the batch, then divide by B: this is the sum": 4 * skip_gram_loss(u, v, n),
        "these are scores, not probabilities: put them through a sigmoid and a logarithm": -(
            fits - not_fits.sum(-1)
        ).mean(),
    }
    learned = [x.clone().requires_grad_() for x in (u, v, n)]
    compare(got := answer(*learned), skip_gram_loss(u, v, n), mistakes)
    reaches(got, *learned)
