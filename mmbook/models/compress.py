"""How many bytes a model takes, and how to make it smaller: fewer bits a weight, or fewer layers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmbook.equations import quantise
from mmbook.models.vlm import VLM


def tensor_bytes(tensors: Iterable[Tensor]) -> int:
    """Bytes of the memory behind tensors, each piece once; of a sharded one, what is on this process."""
    local = [x.to_local() if hasattr(x, "to_local") else x for x in tensors]
    return sum({s.data_ptr(): s.nbytes() for s in (x.untyped_storage() for x in local)}.values())


def kept_bytes(task: Callable[[], Any], weights: Iterable[Tensor] = ()) -> tuple[int, Any]:
    """Bytes that autograd keeps for the gradient of `task()`, without those of `weights`; and its result."""
    kept: list[Tensor] = []
    theirs = {x.untyped_storage().data_ptr() for x in weights}

    def keep(x: Tensor) -> Tensor:
        kept.append(x)
        return x

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        out = task()
    return tensor_bytes(x for x in kept if x.untyped_storage().data_ptr() not in theirs), out


class QuantisedLinear(nn.Module):
    """A linear layer of `k` bits a weight with a scale for each row; its products are in float32.

    Up to four bits are stored two to a byte.
    """

    def __init__(self, linear: nn.Linear, k: int) -> None:
        super().__init__()
        q, scale = quantise(linear.weight.detach(), k)
        self.k, self.bias = k, linear.bias
        self.register_buffer("q", q if k > 4 else (q[:, ::2] << 4) | (q[:, 1::2] & 15))
        self.register_buffer("scale", scale)

    @property
    def weight(self) -> Tensor:
        """The matrix (O, D) that it multiplies by."""
        q = self.q
        if self.k <= 4:  # shifts of signed numbers bring the sign back
            q = torch.stack([q >> 4, (q << 4) >> 4], -1).flatten(1)
        return q * self.scale

    def forward(self, x: Tensor) -> Tensor:
        bias = None if self.bias is None else self.bias.to(self.scale.dtype)
        return F.linear(x.to(self.scale.dtype), self.weight, bias).to(x.dtype)


def quantised(model: VLM, k: int) -> VLM:
    """A copy whose linear layers have `k` bits a weight; word vectors and output layer stay as they are.

    It answers and does not learn. Raises ValueError unless 2 <= k <= 8.
    """
    small = model.copy()
    output = small.module.get_output_embeddings()
    for part in list(small.module.modules()):
        for name, child in part.named_children():
            if isinstance(child, nn.Linear) and child is not output:
                setattr(part, name, QuantisedLinear(child, k))
    return small


def student(model: VLM, layers: Sequence[int]) -> VLM:
    """A copy whose language model has these of the layers only, in this order, numbered from 0.

    Raises ValueError for a layer that is not there.
    """
    small, count = model.copy(), len(model.decoder.layers)
    if not layers or not all(0 <= i < count for i in layers):
        raise ValueError(f"layers: expected numbers from 0 to {count - 1}, got {list(layers)}")
    decoder = small.decoder
    decoder.layers = nn.ModuleList([decoder.layers[i] for i in layers])
    for i, layer in enumerate(decoder.layers):
        layer.self_attn.layer_idx = i  # its place in the cache
    decoder.config.num_hidden_layers = len(layers)
    return small
