"""Decoding with the log-probabilities that the sampler itself used."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from transformers import DynamicCache

from mmbook.equations import log_prob
from mmbook.models.speed import Speed

if TYPE_CHECKING:
    from mmbook.models.vlm import VLM, Prefix


@dataclass(frozen=True)
class Decoded:
    """Sampled responses: ids (B, T), mask (B, T), 1 up to and with EOS, log-probs (B, T), ended (B,)."""

    ids: Tensor
    mask: Tensor
    log_p: Tensor
    ended: Tensor

    def padded(self, longest: int) -> Decoded:
        """The same in tensors (B, longest)."""
        more = (0, longest - self.mask.shape[1])
        ids, mask, log_p = (torch.nn.functional.pad(x, more) for x in (self.ids, self.mask, self.log_p))
        return Decoded(ids, mask, log_p, self.ended)


def pick(z: Tensor, tau: float, draws: torch.Generator | Tensor, greedy: bool = False) -> Tensor:
    """Next tokens (B,) of logits z (B, V): the likeliest, or drawn from softmax(z / tau).

    `draws` is a generator, or a uniform number in [0, 1) for each row: then row i's token is where the
    cumulative probability first exceeds u_i, whatever other rows there are.
    """
    if greedy:
        return z.argmax(-1)
    p = (z / tau).softmax(-1)
    if isinstance(draws, torch.Generator):
        return torch.multinomial(p, 1, generator=draws).squeeze(-1)
    below = p.cumsum(-1)
    at = torch.searchsorted(below, draws.to(p)[:, None] * below[:, -1:], right=True)
    return at.squeeze(-1).clamp(max=z.shape[-1] - 1)


@torch.no_grad()
def decode(
    model: VLM,
    prefix: Prefix,
    draws: torch.Generator | Tensor,
    tau: float = 1.0,
    greedy: bool = False,
    speed: Speed | None = None,
    group: int = 1,
) -> Decoded:
    """Sample `group` responses a row from all of softmax(z / tau) until EOS or `model.max_words` tokens.

    `draws` is a generator, or uniform numbers (B * group, max_words), one for each token (see `pick`). Unless
    `speed` says otherwise rows that have ended leave the batch once they are the majority. A model with a
    `decode` of its own uses that. Raises ValueError unless `tau` > 0.
    """
    speed = speed or Speed()
    if not greedy and not tau > 0:
        raise ValueError(f"temperature: expected a positive number (or greedy=True), got {tau}")
    if hasattr(model, "decode"):
        return model.decode(prefix.repeat(group), draws, tau, greedy)
    if speed.graph:
        from mmbook.models.static import decode_static

        return decode_static(model, prefix, draws, tau, greedy, group, speed.trim)
    first = prefix if speed.share_prefix else prefix.repeat(group)  # what is read; then one row a response
    prefix = prefix.repeat(group)
    end, batch, longest = model.tokenizer.eos_token_id, len(prefix), model.max_words
    ids = torch.full((batch, longest), model.tokenizer.pad_token_id, device=model.device)
    mask, log_p = (torch.zeros(batch, longest, device=model.device) for _ in range(2))
    rows = torch.arange(batch, device=model.device)  # where each row of the running batch belongs
    alive = torch.ones(batch, dtype=torch.bool, device=model.device)
    cache, step = DynamicCache(), {"inputs_embeds": first.embeds, **first.beside(0)}
    prefix = replace(prefix, deep=None)  # read once, then in the cache
    for t in range(longest):
        state = model.decoder(**step, past_key_values=cache, use_cache=True).last_hidden_state[:, -1]
        if len(state) < len(rows):
            cache.batch_repeat_interleave(group)
            state = state.repeat_interleave(group, 0)
        z = model.logits(state).float()
        action = pick(z, tau, draws if isinstance(draws, torch.Generator) else draws[rows, t], greedy)
        ids[rows, t] = torch.where(alive, action, ids[rows, t])
        mask[rows, t] = alive.float()
        log_p[rows, t] = log_prob(z[:, None], action[:, None], tau)[:, 0] * alive
        alive = alive & (action != end)
        if not alive.any():
            break
        if speed.drop and alive.float().mean() < 0.5:
            keep = alive.nonzero().squeeze(1)
            cache.batch_select_indices(keep)
            rows, action, alive, prefix = rows[keep], action[keep], alive[keep], prefix[keep]
        step = prefix.beside(t + 1)
        if "position_ids" in step:
            step["position_ids"] = step["position_ids"][..., -1:]
        step["inputs_embeds"] = model.module.get_input_embeddings()(action[:, None]).to(prefix.embeds.dtype)
    length = int(mask.sum(1).max())
    ended = (ids == end).any(1)
    return Decoded(ids[:, :length], mask[:, :length], log_p[:, :length], ended)
