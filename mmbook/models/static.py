"""Decoding with fixed shapes: everything a token takes is one function, on a GPU captured once and replayed.

A small language model decodes at the speed at which its kernels are launched, not at that of its products. A
CUDA graph launches all kernels of a token at once; it needs the same shapes in the same memory every time,
nothing copied from the host and nothing asked by it.
"""

from __future__ import annotations

from typing import Any

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor
from torch.distributed.fsdp import FSDPModule
from transformers import DynamicCache

from mmbook.equations import log_prob
from mmbook.models.decoding import Decoded, pick
from mmbook.models.vlm import VLM, Prefix

BUCKET = 32  # prefixes are padded to a multiple of this, so that lengths near each other share a graph
ROOM = 8  # the cache is a multiple of this long, or the attention kernels would copy the mask in every layer
EVERY = 16  # tokens between two looks at whether all rows have ended
KEPT = 4  # graphs a model keeps; each has a cache of its own


def _up(n: int, multiple: int) -> int:
    return -(-n // multiple) * multiple


class Slots:
    """A key-value cache whose tensors (B, heads, C, D) stay where they are; a token goes to column `at`."""

    at: Tensor  # (1,)

    def __init__(self, read: DynamicCache, batch: int, columns: int) -> None:
        self.layers = [
            tuple(x.new_zeros(batch, x.shape[1], columns, x.shape[3]) for x in (layer.keys, layer.values))
            for layer in read.layers
        ]

    def fill(self, read: DynamicCache, start: int, group: int) -> None:
        """Put what was read from column `start` on, every row `group` times; the rest becomes zero."""
        for ours, layer in zip(self.layers, read.layers, strict=True):
            for slots, x in zip(ours, (layer.keys, layer.values), strict=True):
                slots.zero_()
                slots[:, :, start : start + x.shape[2]] = x.repeat_interleave(group, 0)

    def update(self, keys: Tensor, values: Tensor, layer: int, *_: Any, **__: Any) -> tuple[Tensor, ...]:
        """What an attention layer calls: keep its new keys and values (B, heads, 1, D), return all."""
        for slots, x in zip(self.layers[layer], (keys, values), strict=True):
            slots.index_copy_(2, self.at, x)
        return self.layers[layer]


class Steps:
    """The tensors that the steps of a batch read and write, each in one place, and their graph on a GPU."""

    graph: Any = None

    def __init__(
        self, prefix: Prefix, read: DynamicCache, batch: int, longest: int, end: int, pad: int
    ) -> None:
        self.start, self.end, self.pad = _up(prefix.mask.shape[1], BUCKET), end, pad
        columns, on = _up(self.start + longest, ROOM), {"device": prefix.embeds.device}
        axes = () if prefix.positions is None else prefix.positions.shape[1:2]
        self.slots = Slots(read, batch, columns)
        self.hidden = prefix.embeds.new_zeros(batch, 1, 1, columns)  # added to attention: 0, or far below it
        self.place = torch.zeros(*axes, batch, 1, dtype=torch.long, **on)  # of the token that is read next
        self.t = torch.zeros(1, dtype=torch.long, **on)  # the number of tokens said
        self.token = torch.zeros(batch, dtype=torch.long, **on)
        self.alive = torch.ones(batch, dtype=torch.bool, **on)
        self.draws, self.mask, self.log_p = (torch.zeros(batch, longest, **on) for _ in range(3))
        self.ids = torch.zeros(batch, longest, dtype=torch.long, **on)

    def begin(self, prefix: Prefix, read: DynamicCache, draws: Tensor, group: int) -> None:
        """Nothing is said yet; prefixes end at column `start`, whatever their length."""
        first = self.start - prefix.mask.shape[1]
        self.slots.fill(read, first, group)
        seen = prefix.mask.bool().repeat_interleave(group, 0)
        self.hidden.fill_(torch.finfo(self.hidden.dtype).min)
        self.hidden[:, 0, 0, first : self.start].masked_fill_(seen, 0)
        after = prefix.mask.sum(1) if prefix.positions is None else prefix.positions.amax((1, 2)) + 1
        self.place.copy_(after.repeat_interleave(group)[:, None])
        self.draws.copy_(draws)
        self.t.zero_()
        self.alive.fill_(True)
        self.mask.zero_()
        self.log_p.zero_()
        self.ids.fill_(self.pad)

    def say(self, z: Tensor, tau: float, greedy: bool) -> None:
        """Choose token t of every row from logits z (B, V); a row that has ended says padding."""
        action = pick(z, tau, self.draws.index_select(1, self.t)[:, 0], greedy)
        log_p = log_prob(z[:, None], action[:, None], tau) * self.alive[:, None]
        self.token.copy_(action.masked_fill(~self.alive, self.pad))
        self.ids.index_copy_(1, self.t, self.token[:, None])
        self.mask.index_copy_(1, self.t, self.alive[:, None].to(self.mask))
        self.log_p.index_copy_(1, self.t, log_p)
        self.alive.logical_and_(action != self.end)
        self.t.add_(1)

    def step(self, model: VLM, tau: float, greedy: bool) -> None:
        """Read the last token and say the next: fixed shapes, no question of the host."""
        self.slots.at = self.t + (self.start - 1)
        self.hidden.index_fill_(3, self.slots.at, 0)
        embeds = model.module.get_input_embeddings()(self.token[:, None]).to(self.hidden.dtype)
        told: dict[str, Any] = {"attention_mask": self.hidden, "position_ids": self.place}
        told |= {"past_key_values": self.slots, "use_cache": True}
        state = model.decoder(inputs_embeds=embeds, **told).last_hidden_state[:, -1]
        self.place.add_(1)
        self.say(model.logits(state).float(), tau, greedy)

    def capture(self, model: VLM, tau: float, greedy: bool) -> None:
        """Record a step; libraries first set themselves up in a few that nobody reads."""
        with torch.cuda.device(self.t.device):
            beside, here = torch.cuda.Stream(), torch.cuda.current_stream()
            beside.wait_stream(here)
            with torch.cuda.stream(beside):
                for _ in range(3):
                    self.t.zero_()
                    self.step(model, tau, greedy)
            here.wait_stream(beside)
            self.graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self.graph):
                self.step(model, tau, greedy)


@torch.no_grad()
def decode_static(
    model: VLM,
    prefix: Prefix,
    draws: torch.Generator | Tensor,
    tau: float = 1.0,
    greedy: bool = False,
    group: int = 1,
    trim: bool = True,
) -> Decoded:
    """What `decode` does, with fixed shapes: rows that have ended go on, saying padding, until all have.

    `draws` are uniform numbers (B * group, max_words), or a generator of them. On a GPU a step is a CUDA
    graph, made at the first call with these shapes and kept with the model. With `trim` the result is cut at
    the longest response. Raises NotImplementedError for a language model that forgets what is further back
    than a window.
    """
    batch, longest = len(prefix) * group, model.max_words
    window = getattr(model.decoder.config, "sliding_window", None)
    if window and prefix.mask.shape[1] + longest > window:
        raise NotImplementedError(
            f"{type(model.decoder).__name__}: expected a language model that attends to all of "
            f"{prefix.mask.shape[1] + longest} tokens, got a window of {window}; switch speed.graph off"
        )
    if isinstance(draws, torch.Generator):
        draws = torch.rand(batch, longest, generator=draws, device=draws.device)
    read = DynamicCache()
    told = {"inputs_embeds": prefix.embeds, **prefix.beside(0), "past_key_values": read, "use_cache": True}
    z = model.logits(model.decoder(**told).last_hidden_state[:, -1]).float()
    steps = _steps(model, prefix, read, batch, tau, greedy)
    steps.begin(prefix, read, draws, group)
    steps.say(z.repeat_interleave(group, 0), tau, greedy)
    for t in range(1, longest):
        if t % EVERY == 0 and not steps.alive.any():
            break
        steps.graph.replay() if steps.graph else steps.step(model, tau, greedy)
    length = int(steps.mask.sum(1).max()) if trim else longest
    ids, mask, log_p = (x[:, :length].clone() for x in (steps.ids, steps.mask, steps.log_p))
    return Decoded(ids, mask, log_p, ~steps.alive)


def _steps(model: VLM, prefix: Prefix, read: DynamicCache, batch: int, tau: float, greedy: bool) -> Steps:
    """Those that the model has kept for these shapes and adapters, if its weights are where they were."""
    where = tuple(x.data_ptr() for x in (*model.module.parameters(), *model.module.buffers()))
    kept: dict[Any, Steps]
    there, kept = vars(model).get("_steps", (where, {}))
    if there != where:
        kept = {}
    parts = list(model.module.modules())
    adapters = tuple(
        (part.disable_adapters, part.merged, *part.active_adapters)
        for part in parts
        if isinstance(part, BaseTunerLayer)
    )
    P, axes = prefix.mask.shape[1], None if prefix.positions is None else prefix.positions.shape[1]
    what = batch, _up(P, BUCKET), axes, model.max_words, tau, greedy, prefix.embeds.dtype, adapters
    steps = kept.pop(what, None)
    if steps is None:
        words = model.tokenizer
        steps = Steps(prefix, read, batch, model.max_words, words.eos_token_id, words.pad_token_id)
        if model.device.type == "cuda" and not any(isinstance(part, FSDPModule) for part in parts):
            steps.capture(model, tau, greedy)
    kept[what] = steps  # the last used stands last
    vars(model)["_steps"] = where, dict(list(kept.items())[-KEPT:])
    return steps
