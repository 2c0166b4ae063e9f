"""Two towers and one space: a picture and a text that belong together get vectors that point the same way."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import normalize

from mmbook.equations import similarity
from mmbook.models.threads import one_thread

COLDEST = 0.01  # the least temperature that is learned, as in CLIP


class Residual(nn.Module):
    """Two convolutions, the first with stride 2, added to a short way round them."""

    def __init__(self, i: int, o: int) -> None:
        super().__init__()
        self.long = nn.Sequential(
            nn.Conv2d(i, o, 3, 2, 1, bias=False), nn.BatchNorm2d(o), nn.ReLU(),
            nn.Conv2d(o, o, 3, 1, 1, bias=False), nn.BatchNorm2d(o),
        )  # fmt: skip
        self.short = nn.Sequential(nn.Conv2d(i, o, 1, 2, bias=False), nn.BatchNorm2d(o))

    def forward(self, x: Tensor) -> Tensor:
        return (self.long(x) + self.short(x)).relu()


class PictureTower(nn.Module):
    """Pictures, uint8 or float (B, H, W, 3) from 0 to 255, to vectors (B, D): a small residual network."""

    def __init__(self, width: int, channels: Sequence[int], bf16: bool = False) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, channels[0], 4, 2, 1, bias=False), nn.BatchNorm2d(channels[0]), nn.ReLU(),
            *(Residual(i, o) for i, o in pairwise(channels)),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        ).to(memory_format=torch.channels_last)  # fmt: skip
        self.project, self.bf16 = nn.Linear(channels[-1], width), bf16

    def forward(self, pictures: Tensor) -> Tensor:
        if pictures.dim() != 4 or pictures.shape[-1] != 3:
            raise ValueError(f"pictures: expected shape (B, H, W, 3), got {tuple(pictures.shape)}")
        x = (pictures.float() / 127.5 - 1).permute(0, 3, 1, 2)
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self.bf16):
            h = self.layers(x)
        return self.project(h.float())


class FeatureTower(nn.Module):
    """Vectors (B, F) of a frozen network, to (B, D): what is learned when the network is not."""

    def __init__(self, features: int, width: int = 128, hidden: int = 512, drop: float = 0.3) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.BatchNorm1d(features), nn.Dropout(drop), nn.Linear(features, hidden), nn.GELU(),
            nn.Dropout(drop), nn.Linear(hidden, width),
        )  # fmt: skip

    def forward(self, features: Tensor) -> Tensor:
        return self.layers(features)


class WordTower(nn.Module):
    """Texts to vectors (B, D): the mean of learned vectors of their words, and of each Chinese character.

    The words are those of the `texts` it is built from; others are left out. It cannot see their order.
    """

    def __init__(self, texts: Sequence[str], width: int = 128) -> None:
        super().__init__()
        words = sorted({word for text in texts for word in self.split(text)})
        self.number = {word: i for i, word in enumerate(words)}
        self.words = nn.EmbeddingBag(len(words), width, mode="mean")
        nn.init.normal_(self.words.weight, std=0.1)  # short vectors turn fast; PyTorch's own hardly do

    @staticmethod
    def split(text: str) -> list[str]:
        """Words in lower case; a Chinese character is a word."""
        return re.findall(r"[\u4e00-\u9fff]|[^\W_\u4e00-\u9fff]+", text.lower())

    def forward(self, texts: Sequence[str]) -> Tensor:
        if isinstance(texts, str):
            raise ValueError(f"texts: expected a list of texts, got one text, {texts!r}")
        rows = [[self.number[w] for w in self.split(text) if w in self.number] for text in texts]
        starts = torch.tensor([0, *map(len, rows)]).cumsum(0)[:-1]
        flat = torch.tensor([number for row in rows for number in row], dtype=torch.long)
        return self.words(flat, starts)


class FrozenTextTower(nn.Module):
    """Texts to vectors (B, D): a frozen encoder of BERT's kind from a folder, and a head that learns."""

    def __init__(self, folder: Path, width: int = 128, drop: float = 0.1) -> None:
        from transformers import AutoConfig, AutoModel, AutoTokenizer

        super().__init__()
        self.tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        shape = AutoConfig.from_pretrained(folder, local_files_only=True)
        with torch.random.fork_rng(devices=[]):  # its random start, soon overwritten, is drawn globally
            encoder = AutoModel.from_config(shape)
        weights = load_file(folder / "model.safetensors")
        weights.pop("embeddings.position_ids", None)  # 0, 1, 2, ...: older checkpoints store it
        encoder.load_state_dict(weights)
        self.encode = [encoder.requires_grad_(False).eval()]  # in a list: not part of what is saved
        self.kept: dict[str, Tensor] = {}
        self.head = FeatureTower(shape.hidden_size, width, 256, drop)

    @torch.no_grad()
    def read(self, texts: Sequence[str]) -> Tensor:
        """The encoder's vectors (B, F) of length 1, each text read once in the tower's life."""
        new = sorted({text for text in texts if text not in self.kept}, key=lambda text: (len(text), text))
        with one_thread():
            for some in (new[i : i + 64] for i in range(0, len(new), 64)):
                ids = self.tokenizer(some, return_tensors="pt", padding=True, truncation=True)
                m = ids["attention_mask"][..., None]
                h = (self.encode[0](**ids).last_hidden_state * m).sum(1) / m.sum(1)
                self.kept |= dict(zip(some, normalize(h, dim=-1), strict=True))
        return torch.stack([self.kept[text] for text in texts])

    def forward(self, texts: Sequence[str]) -> Tensor:
        return self.head(self.read(texts))


class TwoTowers(nn.Module):
    """A tower for pictures, one for texts, and the temperature of their scores, which is learned."""

    def __init__(self, picture: nn.Module, text: nn.Module, tau: float = 0.07) -> None:
        super().__init__()
        self.picture, self.text = picture, text
        self.log_tau = nn.Parameter(torch.tensor(float(tau)).log())

    @property
    def tau(self) -> Tensor:
        """The temperature, never below COLDEST."""
        return self.log_tau.exp().clamp(min=COLDEST)

    def forward(self, pictures: Tensor, texts: Any) -> Tensor:
        """Scores (B, K) of pictures (B, ...) with K texts."""
        return similarity(self.picture(pictures), self.text(texts), self.tau)
