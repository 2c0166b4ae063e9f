"""One face for every vision-language model: pictures and prompt become a prefix, and captions continue it.

The rest of the book works on `Prefix`, `states` and `logits` and never asks which architecture this is.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import DynamicCache

from mmbook.world import Scene, SceneBatch, render, sample_scenes


@dataclass(frozen=True)
class Prefix:
    """What the language model reads before the caption.

    Embeddings (B, P, D) with the picture in them, a mask (B, P) with 0 on padding, and `picture` (B, P), true
    where an embedding is a part of the picture. Some models also have `positions` (B, 3, P), the time, row
    and column of each embedding, and `deep` (B, P, K, D), what the first K layers add to their states.
    Where `padded` is None the mask is asked whether there is any padding.
    """

    embeds: Tensor
    mask: Tensor
    picture: Tensor
    positions: Tensor | None = None
    deep: Tensor | None = None
    padded: bool | None = None

    def __len__(self) -> int:
        return len(self.embeds)

    def __getitem__(self, index: Any) -> Prefix:
        return Prefix(*(x[index] if isinstance(x, Tensor) else x for x in vars(self).values()))

    def each(self) -> Prefix:
        """Itself: no row is another's."""
        return self

    def repeat(self, times: int, share: bool = False, fixed: bool = False) -> Any:
        """Every row `times` times in a row; with `share` they are rows of one (see `Shared`)."""
        rows = torch.arange(len(self), device=self.mask.device).repeat_interleave(times)
        return Shared(self, rows, fixed) if share and times > 1 else self[rows]

    def beside(self, more: int) -> dict[str, Any]:
        """What the decoder is told besides the embeddings of the prefix and of `more` tokens after it.

        Tokens go on after the furthest place that the model gave to the prefix, the same on all axes.
        """
        told: dict[str, Any] = {} if self.padded is False else padding(self.mask, more)
        if self.positions is not None:
            after = torch.arange(1, more + 1, device=self.mask.device) + self.positions.amax((1, 2))[:, None]
            after = after[:, None].expand(-1, self.positions.shape[1], -1)
            told["position_ids"] = torch.cat([self.positions, after], 2).transpose(0, 1)  # (3, B, P + more)
        if self.deep is not None:
            told["visual_pos_masks"] = nn.functional.pad(self.picture, (0, more))
            told["deepstack_visual_embeds"] = list(self.deep[self.picture].unbind(1))
        return told


@dataclass(frozen=True)
class Shared:
    """Prefixes (B, P) of which several are one: `rows` (B,) of `once`. `VLM.states` reads each once.

    Where shapes are `fixed` it does not ask which of them the rows need: all are read, or one for each row.
    """

    once: Prefix
    rows: Tensor
    fixed: bool = False

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: Any) -> Shared:
        return Shared(self.once, self.rows[index], self.fixed)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.each(), name)

    def each(self) -> Prefix:
        """The same as rows of their own."""
        return self.once[self.rows]

    def needed(self) -> tuple[Prefix, Tensor]:
        """The prefixes to read, and which of them each row continues."""
        if not self.fixed:
            rows, which = self.rows.unique(return_inverse=True)
            return self.once[rows], which
        if len(self.once) <= len(self.rows):
            return self.once, self.rows
        return self.each(), torch.arange(len(self.rows), device=self.rows.device)


ASKED = "captions.json"  # beside a saved model: prompt, its request, picture size and longest caption

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
    that made it. Where a scene has a question, it stands in the prompt in the place of `request`. `scenes`
    draws what the model is meant for, `(n, seed)`.
    """

    def __init__(
        self,
        module: nn.Module,
        processor: Any,
        prompt: str,
        picture_size: int = 48,
        max_words: int = 34,
        request: str = "describe:",
    ) -> None:
        self.module = module.eval().requires_grad_(False)
        self.processor, self.prompt = processor, prompt
        self.picture_size, self.max_words, self.request = picture_size, max_words, request
        self.scenes: Callable[..., SceneBatch] = sample_scenes
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
        other = copy.copy(self)
        other.module, other.history = copy.deepcopy(self.module), []
        return other

    def prompt_for(self, question: str) -> str:
        """The prompt that asks a question, "" for a caption. Raises ValueError where it has no place."""
        if question and self.request not in self.prompt:
            raise ValueError(
                f"prompt: expected {self.request!r} in it, the place of a question, got {self.prompt!r}; set "
                "model.request to the part of its prompt that a question replaces"
            )
        return self.prompt.replace(self.request, question) if question else self.prompt

    @torch.no_grad()
    def prefix(self, pictures: SceneBatch | Sequence[Scene] | np.ndarray | Sequence[np.ndarray]) -> Prefix:
        """Scenes, or uint8 pictures (H, W, 3) each, as the embeddings that the language model itself is fed.

        Raises NotImplementedError when it is fed more than a prefix holds, ValueError for pictures of several
        sizes where the processor makes them no equals, or a question that the prompt has no place for.
        """
        return self.read(pictures)

    def read(self, pictures: Any) -> Prefix:
        """What `prefix` returns, with the gradients of what learns."""
        drawn = isinstance(pictures[0], np.ndarray)
        pixels: Any = pictures if drawn else render(pictures, self.picture_size)
        sizes = {picture.shape for picture in pixels}
        if len(sizes) > 1 and not getattr(self.processor.image_processor, "do_resize", False):
            raise ValueError(
                f"pictures: expected equal sizes, as this model's processor does not resize, got {sizes}; "
                'choose another model, as "full"'
            )
        nested = [[picture] for picture in pixels]  # one picture to a prompt, the form every processor takes
        asked = [""] * len(nested) if drawn else [scene.question for scene in pictures]
        inputs = self.processor(
            images=nested,
            text=[self.prompt_for(question) for question in asked],
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
            not bool(inputs["attention_mask"].all()),  # asked while it is on the host
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

    def states(self, prefix: Prefix | Shared, ids: Tensor) -> Tensor:
        """Last hidden states (B, T + 1, D): state t has read the prefix and the first t response tokens."""
        words = self.module.get_input_embeddings()(ids)
        if isinstance(prefix, Shared):
            return self._after(prefix, words)
        embeds = torch.cat([prefix.embeds.to(words.dtype), words], 1)
        out = self.decoder(inputs_embeds=embeds, use_cache=False, **prefix.beside(ids.shape[1]))
        return out.last_hidden_state[:, prefix.embeds.shape[1] - 1 :]

    def _after(self, prefix: Shared, words: Tensor) -> Tensor:
        """States of responses, words (B, T, D), whose prefixes are read once and handed out as a cache."""
        (once, which), cache = prefix.needed(), DynamicCache()
        read: dict[str, Any] = {"past_key_values": cache, "use_cache": True}
        embeds = once.embeds.to(words.dtype)
        first = self.decoder(inputs_embeds=embeds, **read, **once.beside(0)).last_hidden_state[:, -1:]
        cache.batch_select_indices(which)
        told = replace(once, deep=None)[which].beside(words.shape[1])  # what is deep is in the cache
        if "position_ids" in told:
            told["position_ids"] = told["position_ids"][..., -words.shape[1] :]
        rest = self.decoder(inputs_embeds=words, **read, **told).last_hidden_state
        return torch.cat([first[which], rest], 1)

    @property
    def head(self) -> Tensor:
        """The output layer's weights (V, D). Raises NotImplementedError for a layer that has more."""
        layer = self.module.get_output_embeddings()
        if layer.bias is not None:
            raise NotImplementedError(
                f"{type(self.module).__name__}: its output layer has a bias; leave chunk at 0"
            )
        return layer.weight

    def logits(self, states: Tensor) -> Tensor:
        """Next-token logits (..., V) of states (..., D)."""
        layer = self.module.get_output_embeddings()
        return layer(states.to(layer.weight.dtype))

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

    def adapted(self, rank: int, seed: int, dtype: str = "") -> Any:
        """A copy with LoRA adapters, ready to be trained beside its reference (see `Adapted`).

        With rank 0 all weights of its language model learn instead (see `Whole`).
        """
        from mmbook.models.lora import Adapted, Whole

        return Adapted(self, rank, seed, dtype) if rank else Whole(self, dtype)

    def save(self, folder: Any) -> None:
        """Write weights (safetensors), configuration, tokenizer and processor as `save_pretrained` does.

        Beside them stands how captions are asked for, so that the same model comes back.
        """
        self.module.save_pretrained(folder)
        self.processor.save_pretrained(folder)
        asked = {name: getattr(self, name) for name in ("prompt", "picture_size", "max_words", "request")}
        (Path(folder) / ASKED).write_text(json.dumps(asked, indent=1), encoding="utf-8")


def padding(prefix_mask: Tensor, more: int) -> dict[str, Tensor]:
    """Attention mask and position ids of a left-padded prefix and `more` tokens; nothing without padding.

    Padding on the right needs no mask: no earlier position sees it. Positions are max(cumsum(mask) - 1, 0).
    """
    if bool(prefix_mask.all()):
        return {}
    mask = torch.cat([prefix_mask, prefix_mask.new_ones(len(prefix_mask), more)], 1)
    return {"attention_mask": mask, "position_ids": (mask.cumsum(1) - 1).clamp(min=0)}
