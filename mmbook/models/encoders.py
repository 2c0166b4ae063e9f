"""Encoders: a picture, a sound or a text becomes tokens of one width, and one vector that sums them up.

They are small, to train from scratch on a CPU; `Projected` in `backbones` puts pretrained networks behind the
same call.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from mmbook.equations._arguments import keep


class Encoded(NamedTuple):
    """One modality: tokens (B, T, D), which of them are there, (B, T), and one vector for all, (B, D)."""

    tokens: Tensor
    mask: Tensor
    pooled: Tensor


def pool(tokens: Tensor, mask: Tensor | None = None) -> Encoded:
    """Tokens (B, T, D) with the mean of those that are there; a row without any has the mean 0."""
    mask = tokens.new_ones(tokens.shape[:2]) if mask is None else mask.to(tokens.dtype)
    total = keep(tokens, mask[..., None]).sum(1)
    return Encoded(tokens, mask, total / mask.sum(1, keepdim=True).clamp(min=1))


class Project(nn.Module):
    """Features (B, T, F) to the common width, each number with mean 0 and deviation 1 over the batch.

    Without that, what all inputs have in common drowns what tells them apart, and training hardly starts
    where no modality alone says anything ({cite}`ioffe2015batch`). Padding does not count.
    """

    def __init__(self, features: int, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(features, width)
        self.token_norm, self.pooled_norm = nn.BatchNorm1d(width), nn.BatchNorm1d(width)

    def forward(self, features: Tensor, mask: Tensor | None = None) -> Encoded:
        one = pool(self.linear(features), mask)
        there = one.mask.bool()
        tokens = torch.zeros_like(one.tokens).index_put_((there,), self.token_norm(one.tokens[there]))
        return Encoded(tokens, one.mask, self.pooled_norm(one.pooled))


def pixels(pictures: Tensor) -> Tensor:
    """Pictures, uint8 (B, H, W, 3), as (B, 3, H, W) about 0, with the usual mean and deviation of photos."""
    mean, deviation = pictures.new_tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]], dtype=torch.float32)
    return ((pictures.float() / 255 - mean) / deviation).permute(0, 3, 1, 2)


class PictureEncoder(nn.Module):
    """Pictures, uint8 (B, H, W, 3), through three convolutions of stride 2: a token for 8 x 8 pixels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 16, 4, 2, 1), nn.ReLU(), nn.Conv2d(16, 24, 4, 2, 1), nn.ReLU(),
            nn.Conv2d(24, 32, 4, 2, 1), nn.ReLU(),
        )  # fmt: skip
        self.project = Project(32, width)

    def forward(self, pictures: Tensor) -> Encoded:
        return self.project(self.layers(pixels(pictures)).flatten(2).mT)


class SoundEncoder(nn.Module):
    """Log-mel frames (B, T, bands) through a GRU: a token for each frame."""

    def __init__(self, width: int, bands: int, hidden: int = 32) -> None:
        super().__init__()
        self.gru = nn.GRU(bands, hidden, batch_first=True)
        self.project = Project(hidden, width)

    def forward(self, frames: Tensor) -> Encoded:
        return self.project(self.gru(frames)[0])


class TextEncoder(nn.Module):
    """Ids (B, T), 0 after the end, through word vectors and a GRU: a token for each word."""

    def __init__(self, width: int, vocabulary: int, hidden: int = 32) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocabulary, hidden)
        self.gru = nn.GRU(hidden, hidden, batch_first=True)
        self.project = Project(hidden, width)

    def forward(self, ids: Tensor) -> Encoded:
        return self.project(self.gru(self.embed(ids))[0], ids != 0)
