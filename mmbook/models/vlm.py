"""One face for every vision-language model: pictures and prompt become a prefix, and captions continue it.

The rest of the book works on `Prefix`, `states` and `logits` and never asks which architecture this is.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mmbook.world import Scene, SceneBatch, render


@dataclass(frozen=True)
class Prefix:
    """What the language model reads before the caption.

    Embeddings (B, P, D) with the picture in them, a mask (B, P) with 0 on padding, and `picture` (B, P), true
    where an embedding is a part of the picture. Some models also have `positions` (B, 3, P), the time, row
    and column of each embedding, and `deep` (B, P, K, D), what the first K layers add to their states.
    """

    embeds: Tensor
    mask: Tensor
    picture: Tensor
    positions: Tensor | None = None
    deep: Tensor | None = None

    def __len__(self) -> int:
        return len(self.embeds)

    def __getitem__(self, index: Any) -> Prefix:
        return Prefix(*(None if x is None else x[index] for x in vars(self).values()))

    def repeat(self, times: int) -> Prefix:
        """Every row `times` times in a row."""
        return self[torch.arange(len(self), device=self.mask.device).repeat_interleave(times)]

    def beside(self, more: int) -> dict[str, Any]:
        """What the decoder is told besides the embeddings of the prefix and of `more` tokens after it.

        Tokens go on after the furthest place that the model gave to the prefix, the same on all axes.
        """
        told: dict[str, Any] = padding(self.mask, more)
        if self.positions is not None:
            after = torch.arange(1, more + 1, device=self.mask.device) + self.positions.amax((1, 2))[:, None]
            after = after[:, None].expand(-1, self.positions.shape[1], -1)
            told["position_ids"] = torch.cat([self.positions, after], 2).transpose(0, 1)  # (3, B, P + more)
        if self.deep is not None:
            told["visual_pos_masks"] = nn.functional.pad(self.picture, (0, more))
            told["deepstack_visual_embeds"] = list(self.deep[self.picture].unbind(1))
        return told


ASKED = "captions.json"  # beside a saved model: prompt, picture size and longest caption

# What a language model may be fed, with its number of axes (a list has none).
FED = {
    "inputs_embeds": 3,
    "attention_mask": 2,
    "position_ids": 3,
    "visual_pos_masks": 2,
    "deepstack_visual_embeds": 0,
}


def _rank(value: Any) -> int | None:
    return getattr(value, "ndim", 0) if isinstance(value, Tensor | dict | list | tuple) else None


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
    def prefix(self, pictures: SceneBatch | Sequence[Scene] | np.ndarray | Sequence[np.ndarray]) -> Prefix:
        """Scenes, or uint8 pictures (H, W, 3) each, as the embeddings that the language model itself is fed.

        Raises NotImplementedError when it is fed more than a prefix holds.
        """
        drawn = isinstance(pictures[0], np.ndarray)
        pixels: Any = pictures if drawn else render(pictures, self.picture_size)  # type: ignore[arg-type]
        nested = [[picture] for picture in pixels]  # one picture to a prompt, the form every processor takes
        inputs = self.processor(
            images=nested,
            text=[self.prompt] * len(nested),
            return_tensors="pt",
            padding=True,
            padding_side="left",  # captions follow on the right, whatever the checkpoint was trained with
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
        if strange := sorted(n for n, x in seen.items() if _rank(x) not in (None, FED.get(n))):
            raise NotImplementedError(
                f"{type(self.module).__name__}: expected a language model that reads embeddings from left to "
                f"right, got one with {', '.join(strange)} of its own"
            )
        embeds, positions, deep = seen["inputs_embeds"], seen.get("position_ids"), None
        if layers := seen.get("deepstack_visual_embeds"):
            deep = embeds.new_zeros(*embeds.shape[:2], len(layers), embeds.shape[2])
            deep[seen["visual_pos_masks"]] = torch.stack(layers, 1).to(embeds)
        picture = inputs["input_ids"] == self.module.config.image_token_id
        return Prefix(
            embeds,
            inputs["attention_mask"].to(self.device),
            picture.to(self.device),
            None if positions is None else positions.transpose(0, 1),
            deep,
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
        out = self.decoder(inputs_embeds=embeds, use_cache=False, **prefix.beside(ids.shape[1]))
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
        """Write weights (safetensors), configuration, tokenizer and processor as `save_pretrained` does.

        Beside them stands how captions are asked for, so that the same model comes back.
        """
        self.module.save_pretrained(folder)
        self.processor.save_pretrained(folder)
        asked = {"prompt": self.prompt, "picture_size": self.picture_size, "max_words": self.max_words}
        (Path(folder) / ASKED).write_text(json.dumps(asked, indent=1), encoding="utf-8")


def padding(prefix_mask: Tensor, more: int) -> dict[str, Tensor]:
    """Attention mask and position ids of a left-padded prefix and `more` tokens; nothing without padding.

    Padding on the right needs no mask: no earlier position sees it. Positions are max(cumsum(mask) - 1, 0).
    """
    if bool(prefix_mask.all()):
        return {}
    mask = torch.cat([prefix_mask, prefix_mask.new_ones(len(prefix_mask), more)], 1)
    return {"attention_mask": mask, "position_ids": (mask.cumsum(1) - 1).clamp(min=0)}
