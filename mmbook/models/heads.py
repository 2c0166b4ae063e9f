"""Scalar heads on a vision-language model: values, and rewards that can check words against the picture."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ScalarHead(nn.Module):
    """A linear map from states (..., D) to one number.

    Weights start as N(0, 1 / (D + 1)), the bias as 0 ({cite}`huang2024nplus`).
    """

    def __init__(self, width: int, generator: torch.Generator) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(width, generator=generator) / (width + 1) ** 0.5)
        self.bias = nn.Parameter(torch.zeros(1))  # FSDP shards no number without an axis

    def forward(self, states: Tensor) -> Tensor:
        return states.float() @ self.weight + self.bias


class MatchHead(nn.Module):
    """How well each word fits the picture: tanh of the soft maximum over parts of a learned similarity.

    Words (B, T, D) and parts (B, I, D) are embeddings of the language model's own space, `there` (B, I) marks
    real parts. Each word looks for its best part, as in late interaction ({cite}`khattab2020colbert`); a
    caption's score is the sum, so a word that fits nothing counts against it. Returns (B, T) in (-1, 1).
    """

    def __init__(self, width: int, generator: torch.Generator, rank: int = 64) -> None:
        super().__init__()
        self.word, self.part = (
            nn.Parameter(torch.randn(width, rank, generator=generator) / width**0.5) for _ in range(2)
        )
        self.level = nn.Parameter(torch.zeros(rank))
        self.scale = rank**-0.5

    def forward(self, words: Tensor, parts: Tensor, there: Tensor) -> Tensor:
        query, key = (
            F.layer_norm(x.float(), x.shape[-1:]) @ w for x, w in ((words, self.word), (parts, self.part))
        )
        fit = torch.einsum("btr,bir->bti", query, key) * self.scale
        best = fit.masked_fill(~there[:, None], -math.inf).logsumexp(-1) - there.sum(-1)[:, None].log()
        return torch.tanh(best + query @ self.level * self.scale)
