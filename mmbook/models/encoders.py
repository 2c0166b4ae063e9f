"""Encoders: a picture, a sound or a text becomes tokens of one width, and one vector that sums them up.

Small ones to train from scratch on a CPU, and the `transformers` classes of ResNet-50, BERT and wav2vec 2.0
behind the same interface.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers import AutoModel, BertConfig, ResNetConfig, Wav2Vec2Config

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


_SMALL = {"num_hidden_layers": 2, "hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 64}
BACKBONES: dict[str, tuple[type[Any], dict[str, Any]]] = {  # the configuration as published, and a tiny one
    "resnet-50": (ResNetConfig, {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1]}),
    "bert": (BertConfig, {**_SMALL, "vocab_size": 100}),
    "wav2vec2": (
        Wav2Vec2Config,
        {**_SMALL, "conv_dim": (16, 16), "conv_stride": (5, 4), "conv_kernel": (10, 8),
         "num_feat_extract_layers": 2, "num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 2},
    ),
}  # fmt: skip


class Backbone(nn.Module):
    """A `transformers` model and a projection of what it says to `width` numbers a token.

    Pictures, uint8 (B, H, W, 3), for ResNet; waveforms (B, samples) at 16 kHz for wav2vec 2.0; ids (B, T), 0
    after the end, for BERT. With a `checkpoint` (a folder or a name on the hub) its weights are loaded;
    otherwise they are random, in the published shape or in a tiny one. Raises ValueError for another kind.
    """

    def __init__(
        self, kind: str, width: int = 512, checkpoint: str | Path | None = None, tiny: bool = False
    ) -> None:
        super().__init__()
        if kind not in BACKBONES:
            raise ValueError(f"kind: expected one of {', '.join(BACKBONES)}, got {kind!r}")
        config, small = BACKBONES[kind]
        shape = config(**(small if tiny else {}))
        self.module: Any = (
            AutoModel.from_pretrained(checkpoint) if checkpoint else AutoModel.from_config(shape)
        )
        sizes = getattr(self.module.config, "hidden_sizes", None)
        self.project = Project(sizes[-1] if sizes else self.module.config.hidden_size, width)

    def forward(self, x: Tensor) -> Encoded:
        mask = None
        if self.module.main_input_name == "pixel_values":
            seen = self.module(pixels(x)).last_hidden_state.flatten(2).mT
        elif self.module.main_input_name == "input_ids":
            mask = x != 0
            seen = self.module(x, attention_mask=mask.long()).last_hidden_state
        else:
            seen = self.module(
                (x - x.mean(1, keepdim=True)) / (x.std(1, keepdim=True) + 1e-5)
            ).last_hidden_state
        return self.project(seen, mask)
