"""One face for every vision-language model: pictures and prompt become a prefix, and captions continue it.

The rest of the book works on `Prefix`, `states` and `logits` and never asks which architecture this is.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mmbook.world import Scene, SceneBatch, render


@dataclass(frozen=True)
class Prefix:
    """What the language model reads before the caption.

    Embeddings (B, P, D) with the picture in them, a mask (B, P) with 0 on padding, and `picture` (B, P), true
    where an embedding is a part of the picture.
    """

    embeds: Tensor
    mask: Tensor
    picture: Tensor

    def __len__(self) -> int:
        return len(self.embeds)

    def __getitem__(self, index: Any) -> Prefix:
        return Prefix(self.embeds[index], self.mask[index], self.picture[index])

    def repeat(self, times: int) -> Prefix:
        """Every row `times` times in a row."""
        return self[torch.arange(len(self), device=self.mask.device).repeat_interleave(times)]


class _Captured(Exception):
    pass


class VLM:
    """A vision-language model with its processor and the prompt that asks for a caption.

    `module` is any Hugging Face `AutoModelForImageTextToText` model, `history` the curves of the training
    that made it.
    """

    def __init__(
        self, module: nn.Module, processor: Any, prompt: str, picture_size: int = 48, max_words: int = 34
    ) -> None:
        self.module = module.eval().requires_grad_(False)
        self.processor, self.prompt = processor, prompt
        self.picture_size, self.max_words = picture_size, max_words
        self.history: list[dict[str, float]] = []

    @property
    def tokenizer(self) -> Any:
        return self.processor.tokenizer

    @property
    def decoder(self) -> nn.Module:
        """The language model without its output layer."""
        return self.module.get_decoder()

    @property
    def device(self) -> torch.device:
        return next(self.module.parameters()).device

    @property
    def width(self) -> int:
        """The size D of a hidden state."""
        return self.module.get_output_embeddings().in_features

    @property
    def hash(self) -> str:
        """Sixteen hexadecimal digits that change with any weight."""
        digest = hashlib.sha256()
        for name, value in sorted(self.module.state_dict().items()):
            digest.update(name.encode())
            digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
        return digest.hexdigest()[:16]

    def copy(self) -> VLM:
        """The same model with weights of its own."""
        return VLM(copy.deepcopy(self.module), self.processor, self.prompt, self.picture_size, self.max_words)

    @torch.no_grad()
    def prefix(self, pictures: SceneBatch | Sequence[Scene] | np.ndarray) -> Prefix:
        """Scenes, or uint8 pictures (B, H, W, 3), as the embeddings that the language model itself is fed."""
        pixels = pictures if isinstance(pictures, np.ndarray) else render(pictures, self.picture_size)
        inputs = self.processor(
            images=list(pixels), text=[self.prompt] * len(pixels), return_tensors="pt", padding=True
        )
        seen: dict[str, Any] = {}

        def capture(_: nn.Module, args: tuple, kwargs: dict) -> None:
            seen.update(kwargs)
            raise _Captured

        hook = self.decoder.register_forward_pre_hook(capture, with_kwargs=True)
        try:
            self.module(**inputs.to(self.device))
        except _Captured:
            pass
        finally:
            hook.remove()
        picture = inputs["input_ids"] == self.module.config.image_token_id
        return Prefix(
            seen["inputs_embeds"], inputs["attention_mask"].to(self.device), picture.to(self.device)
        )

    def tokens(self, captions: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Captions as ids (B, T) that end with EOS, padded on the right, and their mask (B, T)."""
        rows = self.tokenizer(list(captions), add_special_tokens=False)["input_ids"]
        longest = max(len(row) for row in rows) + 1
        ids = torch.full((len(rows), longest), self.tokenizer.pad_token_id)
        mask = torch.zeros(len(rows), longest)
        for i, row in enumerate(rows):
            ids[i, : len(row) + 1] = torch.tensor([*row, self.tokenizer.eos_token_id])
            mask[i, : len(row) + 1] = 1
        return ids.to(self.device), mask.to(self.device)

    def text(self, ids: Tensor, mask: Tensor) -> list[str]:
        """Ids (B, T) back to captions, without padding and end."""
        return self.tokenizer.batch_decode(
            [row[keep.bool()] for row, keep in zip(ids.cpu(), mask.cpu(), strict=True)],
            skip_special_tokens=True,
        )

    def states(self, prefix: Prefix, ids: Tensor) -> Tensor:
        """Last hidden states (B, T + 1, D): state t has read the prefix and the first t response tokens."""
        embeds = torch.cat(
            [prefix.embeds, self.module.get_input_embeddings()(ids).to(prefix.embeds.dtype)], 1
        )
        out = self.decoder(inputs_embeds=embeds, use_cache=False, **padding(prefix.mask, ids.shape[1]))
        return out.last_hidden_state[:, prefix.embeds.shape[1] - 1 :]

    def logits(self, states: Tensor) -> Tensor:
        """Next-token logits (..., V) of states (..., D)."""
        return self.module.get_output_embeddings()(states)

    def sample(
        self,
        scenes: SceneBatch | Sequence[Scene] | np.ndarray,
        temperature: float = 1.0,
        seed: int | torch.Generator = 0,
        greedy: bool = False,
        samples: int = 1,
    ) -> list[str]:
        """Captions of scenes; with `samples` > 1 all captions of the first scene come first."""
        from mmbook.models.decoding import decode
        from mmbook.models.threads import one_thread

        captions: list[str] = []
        draw = (
            seed if isinstance(seed, torch.Generator) else torch.Generator(self.device).manual_seed(int(seed))
        )
        with one_thread():
            for start in range(0, len(scenes), 256):
                out = decode(
                    self,
                    self.prefix(scenes[start : start + 256]).repeat(samples),
                    draw,
                    tau=temperature,
                    greedy=greedy,
                )
                captions += self.text(out.ids, out.mask)
        return captions

    def adapted(self, rank: int, seed: int) -> Any:
        """A copy with LoRA adapters, ready to be trained beside its reference (see `Adapted`)."""
        from mmbook.models.lora import Adapted

        return Adapted(self, rank, seed)

    def save(self, folder: Any) -> None:
        """Write weights (safetensors), configuration, tokenizer and processor as `save_pretrained` does."""
        self.module.save_pretrained(folder)
        self.processor.save_pretrained(folder)


def padding(prefix_mask: Tensor, more: int) -> dict[str, Tensor]:
    """Attention mask and position ids of a left-padded prefix and `more` tokens; nothing without padding.

    Padding on the right needs no mask: no earlier position sees it. Positions are max(cumsum(mask) - 1, 0).
    """
    if bool(prefix_mask.all()):
        return {}
    mask = torch.cat([prefix_mask, prefix_mask.new_ones(len(prefix_mask), more)], 1)
    return {"attention_mask": mask, "position_ids": (mask.cumsum(1) - 1).clamp(min=0)}
