"""What makes a run faster or smaller and leaves its result as it is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

DTYPES = ("", "float32", "bfloat16", "float16")


@dataclass(frozen=True)
class Speed:
    """The switches of a run; each computes what the plain path computes, up to rounding."""

    features: bool = True  # pictures go through the frozen tower once a rollout, not in every forward pass
    share_prefix: bool = False  # captions of one picture read it once; the cache is repeated for them
    drop: bool = True  # finished captions leave the batch while the others are decoded
    trim: bool = True  # a minibatch is cut at its longest caption
    chunk: int = 0  # tokens whose logits exist at a time, padding left out; 0: all of them
    fused: bool = False  # one kernel for all of AdamW
    checkpointing: bool = False  # the layers' activations are computed again for the gradient, not kept
    graph: bool = False  # decode with fixed shapes, on a GPU in a CUDA graph
    compile: str = ""  # the backend that compiles the loss, as "inductor"; "": none
    dtype: str = ""  # of frozen weights and their products, "": as loaded; float16 scales the loss

    def __post_init__(self) -> None:
        if not isinstance(self.chunk, int) or self.chunk < 0:
            raise ValueError(f"chunk: expected a number of tokens, 0 for all, got {self.chunk!r}")
        if self.dtype not in DTYPES:
            raise ValueError(f"dtype: expected one of {', '.join(DTYPES[1:])}, got {self.dtype!r}")
        if self.compile and self.compile not in (known := torch.compiler.list_backends(exclude_tags=())):
            raise ValueError(f"compile: expected one of {', '.join(known)}, got {self.compile!r}")
        if self.compile and self.trim:
            raise ValueError("compile: expected trim = false beside it, as every length is compiled anew")

    @classmethod
    def plain(cls, **changes: Any) -> Speed:
        """Everything off, but for `changes`: the path that the others are compared with."""
        return cls(**{f.name: False for f in fields(cls) if f.type == "bool"} | changes)

    @classmethod
    def fast(cls, device: str | torch.device = "cpu", **changes: Any) -> Speed:
        """What pays on a device; bfloat16 where a GPU has it, float16 elsewhere."""
        chosen: dict[str, Any] = {"share_prefix": True, "fused": True}
        if torch.device(device).type == "cuda":
            major = torch.cuda.get_device_capability(device)[0] if torch.cuda.is_available() else 8
            chosen |= {"graph": True, "chunk": 1024, "compile": "inductor", "trim": False}  # one shape
            chosen["dtype"] = "bfloat16" if major >= 8 else "float16"
        return cls(**chosen | changes)


@contextmanager
def recomputed(module: nn.Module, on: bool) -> Iterator[None]:
    """Within it the layers of a Hugging Face model keep their inputs only (gradient checkpointing).

    What they compute is computed again for the gradient ({cite}`chen2016training`). They are told one by one
    because `train()` would switch dropout on.
    """
    from transformers.modeling_layers import GradientCheckpointingLayer

    layers = [part for part in module.modules() if on and isinstance(part, GradientCheckpointingLayer)]
    for layer in layers:
        layer._gradient_checkpointing_func = partial(checkpoint, use_reentrant=False)
        layer.gradient_checkpointing = layer.training = True
    try:
        yield
    finally:
        for layer in layers:
            layer.gradient_checkpointing = layer.training = False
