"""A small vision tower, a convolutional stem and a few transformer layers, registered with `transformers`.

Early convolutions let small transformers see much sooner than a single patch embedding does
({cite}`xiao2021early`); `benchmarks/towers.py` measures it here.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput


class StickerTowerConfig(PreTrainedConfig):
    """Shape of the tower: `image_size` pixels a side become (image_size / 12)^2 tokens of `hidden_size`."""

    model_type = "sticker_tower"
    hidden_size: int = 128
    num_hidden_layers: int = 3
    num_attention_heads: int = 4
    intermediate_size: int = 256
    image_size: int = 48
    patch_size: int = 12
    num_kinds: int = 32


class StickerTower(PreTrainedModel):
    """Pictures (B, 3, H, W) to tokens (B, 16, D) in reading order, and to what stands in each quarter."""

    config_class = StickerTowerConfig
    config: StickerTowerConfig
    base_model_prefix = "tower"
    main_input_name = "pixel_values"

    def __init__(self, config: StickerTowerConfig) -> None:
        super().__init__(config)
        width = config.hidden_size
        self.stem = nn.Sequential(
            nn.Conv2d(3, width // 4, 3, stride=2, padding=1),
            nn.GroupNorm(4, width // 4),
            nn.GELU(),
            nn.Conv2d(width // 4, width // 2, 3, stride=2, padding=1),
            nn.GroupNorm(8, width // 2),
            nn.GELU(),
            nn.Conv2d(width // 2, width, 3, stride=3),
            nn.GroupNorm(8, width),
        )
        tokens = (config.image_size // config.patch_size) ** 2
        self.positions = nn.Parameter(torch.zeros(1, tokens, width))
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                width,
                config.num_attention_heads,
                config.intermediate_size,
                dropout=0.0,
                activation="gelu",
                batch_first=True,
                norm_first=True,
            )
            for _ in range(config.num_hidden_layers)
        )
        self.norm = nn.LayerNorm(width)
        self.quarter_head = QuarterHead(width, config.num_kinds)
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Leave PyTorch's own initialisation of convolutions and layers as it is."""
        if module is self:
            nn.init.normal_(self.positions, std=0.02)

    def forward(self, pixel_values: Tensor, return_dict: bool = True, **_: object) -> BaseModelOutput:
        x = self.stem(pixel_values.to(self.positions.dtype)).flatten(2).transpose(1, 2) + self.positions
        states = [x]
        for layer in self.layers:
            states.append(x := layer(x))
        states[-1] = self.norm(x)
        return BaseModelOutput(last_hidden_state=states[-1], hidden_states=tuple(states))


class QuarterHead(nn.Module):
    """Tokens (B, N, D) to logits for each quarter: (B, 4, kinds + 1), last for nothing, and (B, 4), big."""

    def __init__(self, width: int, num_kinds: int) -> None:
        super().__init__()
        self.kind, self.big = nn.Linear(width, num_kinds + 1), nn.Linear(width, 1)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        side = int(tokens.shape[1] ** 0.5)
        half = tokens.unflatten(1, (2, side // 2, 2, side // 2)).mean((2, 4)).flatten(1, 2)  # (B, 4, D)
        return self.kind(half), self.big(half).squeeze(-1)


AutoConfig.register("sticker_tower", StickerTowerConfig, exist_ok=True)
AutoModel.register(StickerTowerConfig, StickerTower, exist_ok=True)
