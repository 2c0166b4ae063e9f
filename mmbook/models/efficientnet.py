"""EfficientNet-Lite0 (Tan and Le 2019, the variant without squeeze-and-excitation): a picture to a vector."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from mmbook.world.fetch import present

WIDTH = 1280  # of the vector
PUBLISHED = "efficientnet-lite0-57934424.pth"
# repeats, kernel, stride, expansion, channels out
STAGES = ((1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112),
          (4, 5, 2, 6, 192), (1, 3, 1, 6, 320))  # fmt: skip
LAYERS = {
    "_conv_stem": "stem.conv", "_bn0": "stem.norm", "_conv_head": "head.conv", "_bn1": "head.norm",
    "_fc": "classes",
}  # the published names of layers, and ours  # fmt: skip
BLOCK_LAYERS = {
    "_expand_conv": "expand.conv", "_bn0": "expand.norm", "_depthwise_conv": "depthwise.conv",
    "_bn1": "depthwise.norm", "_project_conv": "project.conv", "_bn2": "project.norm",
}  # the same within a block  # fmt: skip


class Unit(nn.Module):
    """Convolution, batch normalisation and, if asked for, min(max(x, 0), 6)."""

    def __init__(self, i: int, o: int, k: int = 1, s: int = 1, groups: int = 1, act: bool = True) -> None:
        super().__init__()
        self.conv = nn.Conv2d(i, o, k, s, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(o, eps=1e-3, momentum=0.01)
        before = (k - s) // 2  # the published weights know one more pixel at the end than at the start
        self.pad, self.act = (before, k - s - before) * 2, act

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.conv(F.pad(x, self.pad) if any(self.pad) else x))
        return F.relu6(x) if self.act else x


class Block(nn.Module):
    """Widen, look at each channel alone, narrow; and add what came in where the shape is the same."""

    def __init__(self, i: int, o: int, k: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = i * expansion
        self.expand = Unit(i, wide) if expansion > 1 else nn.Identity()
        self.depthwise = Unit(wide, wide, k, stride, groups=wide)
        self.project = Unit(wide, o, act=False)
        self.same = stride == 1 and i == o

    def forward(self, x: Tensor) -> Tensor:
        y = self.project(self.depthwise(self.expand(x)))
        return x + y if self.same else y


class EfficientNetLite0(nn.Module):
    """Pictures, uint8 (B, H, W, 3) with sides that 32 divides, to logits (B, classes); 4.7 M parameters."""

    def __init__(self, classes: int = 1000) -> None:
        super().__init__()
        self.stem, channels, blocks = Unit(3, 32, 3, 2), 32, []
        for repeats, k, stride, expansion, o in STAGES:
            for repeat in range(repeats):
                blocks.append(Block(channels, o, k, stride if repeat == 0 else 1, expansion))
                channels = o
        self.blocks, self.head = nn.Sequential(*blocks), Unit(channels, WIDTH)
        self.classes = nn.Linear(WIDTH, classes)

    def grid(self, pictures: Tensor) -> Tensor:
        """What the last convolution says of each 32 by 32 pixels (B, 1280, H/32, W/32)."""
        if pictures.ndim != 4 or pictures.shape[3] != 3 or pictures.shape[1] % 32 or pictures.shape[2] % 32:
            raise ValueError(f"pictures: expected (B, 32 h, 32 w, 3), got {tuple(pictures.shape)}")
        x = (pictures.permute(0, 3, 1, 2).to(self.classes.weight.dtype) - 127) / 128
        return self.head(self.blocks(self.stem(x)))

    def features(self, pictures: Tensor) -> Tensor:
        """The mean of the grid, one vector for a picture (B, 1280)."""
        return self.grid(pictures).mean((2, 3))

    def forward(self, pictures: Tensor) -> Tensor:
        return self.classes(self.features(pictures))


def from_published(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The published weights under our names. Raises ValueError naming those that do not fit."""
    renamed = {}
    for name, tensor in weights.items():
        block = re.match(r"_blocks\.\d+\.", name)
        before = block[0] if block else ""
        layer, _, rest = name.removeprefix(before).partition(".")
        ours = (BLOCK_LAYERS if block else LAYERS).get(layer, layer)
        renamed[f"{before.lstrip('_')}{ours}.{rest}"] = tensor
    with torch.device("meta"):
        wanted = {name: tuple(tensor.shape) for name, tensor in EfficientNetLite0().state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in renamed.items()}
    if wrong := sorted(wanted.items() ^ found.items()):
        what = ", ".join(f"{name} {shape}" for name, shape in wrong[:6])
        raise ValueError(f"weights of EfficientNet-Lite0: these do not fit: {what}")
    return renamed


def load_efficientnet(folder: Path | None = None) -> EfficientNetLite0:
    """The network with its ImageNet weights, frozen, on the CPU; the first call writes them as safetensors.

    Raises FileNotFoundError when they were not fetched, ValueError when they do not fit.
    """
    folder = present("efficientnet", folder)
    if not (kept := folder / "model.safetensors").is_file():
        published = torch.load(folder / PUBLISHED, map_location="cpu", weights_only=True)
        part = folder / "model.part"
        save_file({name: t.contiguous() for name, t in from_published(published).items()}, part)
        part.replace(kept)
    with torch.random.fork_rng(devices=[]):  # its random start, soon overwritten, is drawn globally
        model = EfficientNetLite0()
    model.load_state_dict(load_file(kept))
    return model.requires_grad_(False).eval()


@torch.no_grad()
def picture_features(model: EfficientNetLite0, pictures: np.ndarray, batch: int = 64) -> Tensor:
    """Vectors (N, 1280) of pictures, uint8 (N, H, W, 3), a batch at a time."""
    starts = range(0, len(pictures), batch)
    return torch.cat([model.features(torch.from_numpy(pictures[i : i + batch])) for i in starts])
