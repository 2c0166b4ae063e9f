"""The processes that share a run: who computes which rows, and what all of them know together.

Random numbers are drawn for the whole batch in every process, and each takes its own rows; what is averaged
over the batch is gathered first. A run is therefore the same on any number of processes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.utils._pytree import tree_map

STRATEGIES = ("ddp", "fsdp")


class World:
    """One process by default; `start` makes one of the processes that a launcher began.

    `strategy` says what each keeps: "ddp" all weights, "fsdp" its share of them.
    """

    def __init__(self, strategy: str = "ddp", accelerator: Any = None) -> None:
        if strategy not in STRATEGIES:
            raise ValueError(f"strategy: expected one of {', '.join(STRATEGIES)}, got {strategy!r}")
        self.strategy, self.accelerator = strategy, accelerator
        self.rank: int = dist.get_rank() if accelerator else 0
        self.size: int = dist.get_world_size() if accelerator else 1

    @classmethod
    def start(cls, strategy: str = "ddp") -> World:
        """Join the processes that `accelerate launch` or `torchrun` started; alone, be one process."""
        if int(os.environ.get("WORLD_SIZE", 1)) == 1:
            return cls(strategy)
        from accelerate import Accelerator

        # a launcher's mixed precision would change the numbers: `Speed.dtype` says what is computed in what
        return cls(strategy, Accelerator(cpu=not torch.cuda.is_available(), mixed_precision="no"))

    @property
    def main(self) -> bool:
        """Whether this process writes files and speaks."""
        return self.rank == 0

    @property
    def device(self) -> torch.device:
        """Where this process computes."""
        if self.accelerator:
            return self.accelerator.device
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")

    def mine(self, x: Any) -> Any:
        """This process's block of rows (B / size, ...). Raises ValueError where B is no multiple of size."""
        if len(x) % self.size:
            raise ValueError(f"batch: expected a multiple of {self.size} processes, got {len(x)} rows")
        block = len(x) // self.size
        return x[self.rank * block : (self.rank + 1) * block]

    def all(self, x: Tensor) -> Tensor:
        """The rows of all processes in order; (B, T) is padded with zeros to the longest T."""
        if self.size == 1:
            return x
        if x.dim() > 1:
            longest = torch.tensor(x.shape[1], device=x.device)
            dist.all_reduce(longest, dist.ReduceOp.MAX)
            x = F.pad(x, (0, int(longest) - x.shape[1]))
        parts = [torch.empty_like(x) for _ in range(self.size)]
        dist.all_gather(parts, x.contiguous())
        return torch.cat(parts)

    def over(self, function: Callable[..., Tensor], *x: Tensor) -> Tensor:
        """This process's rows of a function of all rows, (B, T) as `x`."""
        if self.size == 1:
            return function(*x)
        return self.mine(function(*map(self.all, x)))[:, : x[0].shape[1]]

    def total(self, x: Tensor) -> Tensor:
        """The sum of a number over the processes."""
        if self.size > 1:
            dist.all_reduce(x := x.clone())
        return x

    def wrap(self, learner: nn.Module) -> nn.Module:
        """What learns, so that its gradients are means over the processes.

        With "fsdp" each of the repeated layers is sharded apart (accelerate has no FSDP on CPUs, so this is
        PyTorch's own `fully_shard`), and what is left together.
        """
        if self.size == 1:
            return learner
        if self.strategy == "ddp":
            return self.accelerator.prepare_model(learner)
        learner = learner.to(self.device)
        for stack in [part for part in learner.modules() if isinstance(part, nn.ModuleList)]:
            for layer in stack if len({type(layer) for layer in stack}) == 1 and len(stack) > 1 else []:
                fully_shard(layer)
        return fully_shard(learner)

    @contextmanager
    def whole(self, learner: nn.Module) -> Iterator[None]:
        """Within it a layer's weights, once gathered, stay: processes may take different numbers of steps."""
        shards = [part for part in learner.modules() if isinstance(part, FSDPModule)]
        for part in shards:
            part.set_reshard_after_forward(False, recurse=False)
        try:
            yield
        finally:
            for part in shards:
                part.set_reshard_after_forward(part is not learner, recurse=False)
                part.reshard()

    @contextmanager
    def quiet(self, learner: nn.Module, on: bool) -> Iterator[None]:
        """Where `on`, gradients are added up here and not yet exchanged."""
        if on and self.size > 1 and self.strategy == "ddp":
            with learner.no_sync():
                yield
            return
        if isinstance(learner, FSDPModule):
            learner.set_requires_gradient_sync(not on)
        yield


def whole(x: Any) -> Any:
    """The same nested state with every sharded tensor put together (in all processes)."""
    return tree_map(lambda t: t.full_tensor() if isinstance(t, DTensor) else t, x)


def gathered(x: Any, keep: bool = True) -> Any:
    """What `whole` gives, as copies in the host's memory, one tensor after another; empty without `keep`."""

    def copied(t: Any) -> Any:
        if not isinstance(t, Tensor):
            return t
        t = whole(t)  # all processes take part
        return t.detach().to("cpu", copy=True) if keep else torch.empty(0)

    return tree_map(copied, x)


def spread(x: Tensor, like: Tensor) -> Tensor:
    """A whole tensor cut as `like` is, where that is sharded."""
    if not isinstance(like, DTensor):
        return x
    return distribute_tensor(x.to(like.device), like.device_mesh, like.placements)
