"""Low-rank adapters on the language model, all that feedback moves; switched off, they are the reference."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from peft import LoraConfig, get_peft_model
from torch import nn

from mmbook.models.vlm import VLM


class Adapted:
    """A model whose language model carries LoRA adapters ({cite}`hu2022lora`); everything else is frozen.

    Raises ValueError when `rank` is not positive.
    """

    def __init__(self, model: VLM, rank: int, seed: int) -> None:
        if rank <= 0:
            raise ValueError(f"rank: expected 1 or more, got {rank}")
        self.model = model.copy()
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
        """A plain model with the adapters added into the weights; this object is used up."""
        self.model.module = self._peft.merge_and_unload().eval().requires_grad_(False)
        return self.model
