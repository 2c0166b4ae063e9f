"""Pictures as 36 words each: an autoencoder whose middle layer may only say numbers from a small codebook.

A quarter of a scene, 24 pixels wide, becomes 3 x 3 codes; quarters follow in reading order, so the nine codes
of a sticker stand side by side.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mmbook.equations import nearest_code, straight_through, vq_loss

CODES, WIDTH = 512, 32  # of the codebook
QUARTER, GRID = 24, 3  # pixels, and codes, of one side of a quarter
LENGTH = 4 * GRID**2  # codes of a picture


def to_quarters(pictures: np.ndarray | Tensor) -> Tensor:
    """Pictures uint8 (N, 48, 48, 3) as quarters, float (4 N, 3, 24, 24) in [-1, 1]."""
    if tuple(pictures.shape[1:]) != (2 * QUARTER, 2 * QUARTER, 3):
        raise ValueError(f"pictures: expected shape (N, 48, 48, 3), got {tuple(pictures.shape)}")
    x = torch.as_tensor(pictures).permute(0, 3, 1, 2).float().div(127.5).sub(1)
    return x.unflatten(3, (2, QUARTER)).unflatten(2, (2, QUARTER)).permute(0, 2, 4, 1, 3, 5).flatten(0, 2)


def from_quarters(x: Tensor) -> np.ndarray:
    """What `to_quarters` was given, uint8 (N, 48, 48, 3)."""
    x = x.unflatten(0, (-1, 2, 2)).permute(0, 1, 4, 2, 5, 3).flatten(3, 4).flatten(1, 2)
    return x.clamp(-1, 1).add(1).mul(127.5).round().to(torch.uint8).numpy()


class SceneVQ(nn.Module):
    """Encoder, codebook (K, D) and decoder of quarters; the codes are learned straight through."""

    def __init__(self, seed: int = 0, codes: int = CODES, width: int = 32) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.encoder = nn.Sequential(
                nn.Conv2d(3, width, 4, stride=4),
                nn.GELU(),
                nn.Conv2d(width, 2 * width, 4, stride=2, padding=1),
                nn.GELU(),
                nn.Conv2d(2 * width, 2 * width, 3, padding=1),
                nn.GELU(),
                nn.Conv2d(2 * width, WIDTH, 1),
            )
            self.codebook = nn.Parameter(torch.randn(codes, WIDTH) / WIDTH**0.5)
            self.decoder = nn.Sequential(
                nn.Conv2d(WIDTH, 4 * width, 3, padding=1),
                nn.GELU(),
                nn.Conv2d(4 * width, 4 * width, 3, padding=1),
                nn.GELU(),
                nn.PixelShuffle(2),
                nn.Conv2d(width, width, 3, padding=1),
                nn.GELU(),
                nn.Conv2d(width, 48, 3, padding=1),
                nn.PixelShuffle(4),
            )

    def vectors(self, x: Tensor) -> Tensor:
        """What the encoder says of quarters (Q, 3, 24, 24): (Q, 9, D)."""
        return self.encoder(x).flatten(2).transpose(1, 2)

    def drawn(self, e: Tensor) -> Tensor:
        """Quarters (Q, 3, 24, 24) from their code vectors (Q, 9, D)."""
        return self.decoder(e.transpose(1, 2).unflatten(2, (GRID, GRID)))

    def loss(self, x: Tensor, beta: float = 0.25) -> Tensor:
        """Squared error of quarters drawn from codes, each in units of its own, and a tenth of `vq_loss`.

        The unit is a quarter's variance, so that a small sticker counts as much as a big one.
        """
        z = self.vectors(x)
        e = self.codebook[nearest_code(z.detach(), self.codebook)]
        error = (self.drawn(straight_through(z, e)) - x).square().mean((1, 2, 3))
        unit = x.flatten(2).var(2).mean(1) + 0.05
        return (error / unit).mean() + 0.1 * vq_loss(z, e, beta)

    @torch.no_grad()
    def encode(self, pictures: np.ndarray) -> Tensor:
        """Pictures uint8 (N, 48, 48, 3) as codes (N, 36)."""
        return (
            nearest_code(self.vectors(to_quarters(pictures)), self.codebook).unflatten(0, (-1, 4)).flatten(1)
        )

    @torch.no_grad()
    def decode(self, codes: Tensor) -> np.ndarray:
        """Codes (N, 36) as pictures uint8 (N, 48, 48, 3)."""
        return from_quarters(self.drawn(self.codebook[codes.reshape(-1, GRID**2)]))

    def rebuilt(self, pictures: Any) -> np.ndarray:
        """Pictures as their codes draw them."""
        return self.decode(self.encode(pictures))
