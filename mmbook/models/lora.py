"""What feedback moves: low-rank adapters on the language model, or all of its layers, and their reference."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from peft import LoraConfig, get_peft_model
from torch import nn

from mmbook.models.vlm import VLM


class Adapted:
    """A model whose language model carries LoRA adapters ({cite}`hu2022lora`); everything else is frozen.

    The frozen weights are those of `model` itself, not a copy, unless `dtype` asks for others; adapters are
    float32. Raises ValueError when `rank` is not positive.
    """

    def __init__(self, model: VLM, rank: int, seed: int, dtype: str = "") -> None:
        if rank <= 0:
            raise ValueError(f"rank: expected 1 or more, got {rank}")
        self.model = _alike(model, dtype)
        module, decoder = self.model.module, self.model.decoder
        inside = {id(part) for part in decoder.modules()}
        linear = [
            name
            for name, part in module.named_modules()
            if isinstance(part, nn.Linear) and id(part) in inside
        ]
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)  # and no other device's
            config = LoraConfig(r=rank, lora_alpha=2 * rank, lora_dropout=0.0, target_modules=linear)
            with warnings.catch_warnings():  # peft asks transformers by a name that is on its way out
                warnings.simplefilter("ignore", FutureWarning)
                self._peft = get_peft_model(module, config)

    def parameters(self) -> list[nn.Parameter]:
        """The adapters' weights."""
        return [p for p in self.model.module.parameters() if p.requires_grad]

    @contextmanager
    def reference(self) -> Iterator[VLM]:
        """The model as it was before any training: the same weights with the adapters off, no copy."""
        with self._peft.disable_adapter():
            yield self.model

    def merged(self) -> VLM:
        """A plain model with the adapters added into weights of its own; this object is used up.

        It is at least float32: half precision would round away what was learned in small steps.
        """
        for p in (*self.model.module.parameters(), *self.model.module.buffers()):
            if p.is_floating_point():
                p.data = p.data.to(torch.promote_types(p.dtype, torch.float32), copy=True)
        self.model.module = self._peft.merge_and_unload().eval().requires_grad_(False)
        return self.model


class Whole:
    """A model whose language model learns as a whole, beside its reference, which is `model` itself.

    Word vectors, and with them an output layer that is tied to them, stay: they are a part of the prefix.
    """

    def __init__(self, model: VLM, dtype: str = "") -> None:
        self.model, self._reference = model.copy(), _alike(model, dtype)
        self.model.module.float()
        for part in (self.model.decoder, self.model.module.get_output_embeddings()):
            part.requires_grad_(True)
        self.model.module.get_input_embeddings().requires_grad_(False)

    def parameters(self) -> list[nn.Parameter]:
        """The weights of the language model."""
        return [p for p in self.model.module.parameters() if p.requires_grad]

    @contextmanager
    def reference(self) -> Iterator[VLM]:
        """The model as it was."""
        yield self._reference

    def merged(self) -> VLM:
        """The model as it is now; this object is used up."""
        self.model.module.requires_grad_(False)
        return self.model


def _alike(model: VLM, dtype: str) -> VLM:
    """The same model with modules of its own; in the same `dtype`, or for "", it shares their memory."""
    weights = {id(x): nn.Parameter(x.detach(), requires_grad=False) for x in model.module.parameters()}
    module = copy.deepcopy(model.module, dict(weights))
    if dtype:
        module = module.to(getattr(torch, dtype))
    other = copy.copy(model)  # of whatever class
    other.module, other.history = module.eval(), []
    return other
