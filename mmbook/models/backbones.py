"""Pretrained networks for texts, pictures and sounds behind one call: raw things in, `Encoded` out.

`load_backbone` takes a folder or a name on the hub, `tiny_backbone` builds the same classes small and random.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from string import ascii_lowercase, digits
from typing import Any

import numpy as np
import torch
import transformers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from torch import Tensor, nn
from transformers.configuration_utils import PreTrainedConfig
from transformers.models.convnext.image_processing_pil_convnext import ConvNextImageProcessorPil
from transformers.models.efficientnet.image_processing_pil_efficientnet import EfficientNetImageProcessorPil
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil
from transformers.utils import logging

from mmbook.models.efficientnet import PUBLISHED, EfficientNetLite0, load_efficientnet
from mmbook.models.encoders import Encoded, Project, pool
from mmbook.world.speech import RATE


def _letters() -> transformers.PreTrainedTokenizerFast:
    """A tokenizer whose words are letters."""
    known = {token: i for i, token in enumerate(["[PAD]", "[UNK]", *f"{ascii_lowercase}{digits} .,'-"])}
    table = Tokenizer(models.WordLevel(known, unk_token="[UNK]"))
    table.normalizer, table.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.Split("", "isolated")
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=table, pad_token="[PAD]", unk_token="[UNK]", model_max_length=64
    )


_SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
_SIDE = {"height": 24, "width": 24}
# For each kind: what prepares its input, its configuration, a tiny one, and what prepares the input of that
KINDS: dict[str, tuple[Any, Any, dict[str, Any], Callable[[], Any]]] = {
    "bert": (transformers.AutoTokenizer, transformers.BertConfig, {**_SMALL, "vocab_size": 64}, _letters),
    "vit": (
        ViTImageProcessorPil, transformers.ViTConfig, {**_SMALL, "image_size": 24, "patch_size": 6},
        lambda: ViTImageProcessorPil(size=_SIDE),
    ),
    "resnet": (
        ConvNextImageProcessorPil, transformers.ResNetConfig,
        {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1]},
        lambda: ConvNextImageProcessorPil(size={"shortest_edge": 24}, crop_pct=1.0),
    ),
    "efficientnet": (
        EfficientNetImageProcessorPil, transformers.EfficientNetConfig,
        {"image_size": 24, "width_coefficient": 0.25, "depth_coefficient": 0.25, "hidden_dim": 320,
         "in_channels": [32, 16], "out_channels": [16, 24], "kernel_sizes": [3, 3], "strides": [1, 2],
         "initializer_range": 0.3, "num_block_repeats": [1, 1], "expand_ratios": [1, 2]},
        lambda: EfficientNetImageProcessorPil(size=_SIDE, do_center_crop=False),
    ),
    "whisper": (
        transformers.WhisperFeatureExtractor, transformers.WhisperConfig,
        {"d_model": 32, "encoder_layers": 2, "decoder_layers": 1, "encoder_attention_heads": 2,
         "decoder_attention_heads": 2, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64,
         "max_source_positions": 50, "num_mel_bins": 16, "vocab_size": 8, "pad_token_id": 0,
         "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1},
        lambda: transformers.WhisperFeatureExtractor(feature_size=16, chunk_length=1),
    ),
    "wav2vec2": (
        transformers.Wav2Vec2FeatureExtractor, transformers.Wav2Vec2Config,
        {**_SMALL, "conv_dim": (16, 16), "conv_stride": (10, 8), "conv_kernel": (10, 8),
         "num_feat_extract_layers": 2, "num_conv_pos_embeddings": 8, "vocab_size": 8,
         "num_conv_pos_embedding_groups": 2, "feat_extract_norm": "layer"},
        lambda: transformers.Wav2Vec2FeatureExtractor(return_attention_mask=True),
    ),
}  # fmt: skip


_THINGS = {"input_ids": "texts", "pixel_values": "pictures, uint8 (H, W, 3)"}


def _things(things: Sequence[Any], name: str) -> list[Any]:
    """A batch for the input of that name; pictures and waves as NumPy. Raises ValueError for other things."""
    if not len(things):
        raise ValueError("things: expected at least one text, picture or wave, got none")
    out: list[Any] = [things] if isinstance(things, str) else list(things)
    fit = not isinstance(things, str) and all(isinstance(one, str) for one in out)
    if name != "input_ids":
        out = [np.asarray(one) for one in out]
        if name == "pixel_values":
            fit = all(one.dtype == np.uint8 and one.ndim == 3 and one.shape[2] == 3 for one in out)
        else:
            fit = all(one.dtype.kind == "f" and one.ndim == 1 and np.isfinite(one).all() for one in out)
    if not fit:
        wanted = _THINGS.get(name, "waves, float (samples,) without NaN")
        shapes = ", ".join(f"{np.asarray(one).dtype} {np.shape(one)}" for one in out[:2])
        raise ValueError(f"things: expected a list of {wanted}, got {type(things).__name__} of {shapes}")
    return out


class Pretrained(nn.Module):
    """A network of one of `KINDS` and what prepares its input; `encode` is the same for all of them."""

    def __init__(self, module: Any, prepare: Any = None) -> None:
        super().__init__()
        self.module, self.prepare = module, prepare

    @property
    def width(self) -> int:
        """The numbers in a token."""
        if isinstance(self.module, EfficientNetLite0):
            return 1280
        config = self.module.config
        sizes = getattr(config, "hidden_sizes", None) or [getattr(config, "hidden_dim", None)]
        return sizes[-1] or config.hidden_size

    def train(self, mode: bool = True) -> Pretrained:
        """As ever, but a frozen network stays as it is: no dropout, no new means of batches."""
        return super().train(mode and any(p.requires_grad for p in self.parameters()))

    def encode(self, things: Sequence[Any]) -> Encoded:
        """Texts, pictures, uint8 (H, W, 3), or waves, float32 at 16 kHz, each of any length, to tokens.

        The tokens have the network's own width. With padding, the mask says which of them are there. What
        is too long for the network is cut off; EfficientNet-Lite0 takes pictures of one size, sides that 32
        divides. Raises ValueError for no things, or other things.
        """
        if isinstance(self.module, EfficientNetLite0):
            pictures = torch.from_numpy(np.stack(_things(things, "pixel_values")))
            return pool(self.module.grid(pictures.to(self.module.classes.weight.device)).flatten(2).mT)
        name, kind = self.module.main_input_name, self.module.config.model_type
        more: dict[str, Any] = {"return_tensors": "pt"}
        if name == "input_ids":
            more |= {"padding": True, "truncation": True}
        elif name != "pixel_values":
            more |= {"sampling_rate": RATE, "return_attention_mask": True}
            more |= {"padding": True} if kind == "wav2vec2" else {}
        given = self.prepare(_things(things, name), **more).to(self.module.device)
        there: Tensor | None = given.get("attention_mask")
        if kind == "whisper":
            assert there is not None
            return pool(self.module.get_encoder()(given[name]).last_hidden_state, there[:, ::2])
        asks = name == "input_ids" or getattr(self.prepare, "return_attention_mask", False)
        masked = {"attention_mask": there} if asks else {}
        states = self.module(given[name], **masked).last_hidden_state
        if name == "pixel_values":
            return pool(states if states.dim() == 3 else states.flatten(2).mT)
        if kind == "wav2vec2":
            there = self.module._get_feature_vector_attention_mask(states.shape[1], there)
        return pool(states, there)

    def save(self, folder: str | Path) -> None:
        """Write network and preparation, for `load_backbone` and for `transformers`."""
        self.module.save_pretrained(folder)
        self.prepare.save_pretrained(folder)


class Projected(nn.Module):
    """A backbone as an encoder of a `FusionModel`: its tokens, brought to the common width.

    Takes pictures, uint8 (B, H, W, 3), or waves (B, samples); with `words`, ids (B, T) into them, 0 after the
    end, which the backbone then reads as text in its own vocabulary.
    """

    def __init__(self, backbone: Pretrained, width: int, words: Sequence[str] | None = None) -> None:
        super().__init__()
        self.backbone, self.words = backbone, words
        self.project = Project(backbone.width, width)

    def forward(self, x: Tensor) -> Encoded:
        things: list[Any] = list(x.cpu().numpy())
        if self.words is not None:
            things = [" ".join(self.words[i] for i in row if i) for row in x.tolist()]
        one = self.backbone.encode(things)
        return self.project(one.tokens, one.mask)


def load_backbone(checkpoint: str | Path) -> Pretrained:
    """A network, frozen, from a folder or a name on the hub, like "google/vit-base-patch16-224-in21k".

    The folder of the fetched EfficientNet-Lite0 is known too. Weights are read from safetensors only. Raises
    ValueError for another kind of model, OSError where there is none.
    """
    if (Path(checkpoint) / PUBLISHED).is_file():
        return Pretrained(load_efficientnet(Path(checkpoint)))
    kind = PreTrainedConfig.get_config_dict(checkpoint)[0].get("model_type")
    if kind not in KINDS:
        raise ValueError(f"{checkpoint}: expected a model_type of {', '.join(KINDS)}, got {kind!r}")
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        module = transformers.AutoModel.from_pretrained(checkpoint, use_safetensors=True)
    finally:
        if shown:
            logging.enable_progress_bar()
    return Pretrained(module, KINDS[kind][0].from_pretrained(checkpoint)).requires_grad_(False).eval()


def tiny_backbone(kind: str, seed: int) -> Pretrained:
    """A network of that kind with two layers and random weights. Raises ValueError for an unknown kind."""
    if kind not in KINDS:
        raise ValueError(f"kind: expected one of {', '.join(KINDS)}, got {kind!r}")
    _, config, shape, prepare = KINDS[kind]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Pretrained(transformers.AutoModel.from_config(config(**shape)), prepare())
