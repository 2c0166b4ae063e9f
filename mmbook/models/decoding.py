"""Decoding with the log-probabilities that the sampler itself used."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from transformers import DynamicCache

from mmbook.equations import log_prob

if TYPE_CHECKING:
    from mmbook.models.vlm import VLM, Prefix


@dataclass(frozen=True)
class Decoded:
    """Sampled responses: ids (B, T), mask (B, T), 1 up to and with EOS, log-probs (B, T), ended (B,)."""

    ids: Tensor
    mask: Tensor
    log_p: Tensor
    ended: Tensor


@torch.no_grad()
def decode(
    model: VLM, prefix: Prefix, generator: torch.Generator, tau: float = 1.0, greedy: bool = False
) -> Decoded:
    """Sample one response a row from all of softmax(z / tau) until EOS or `model.max_words` tokens.

    Rows that have ended leave the batch once they are the majority; a model with a `decode` of its own uses
    that. Raises ValueError unless `tau` > 0.
    """
    if not greedy and not tau > 0:
        raise ValueError(f"temperature: expected a positive number (or greedy=True), got {tau}")
    if hasattr(model, "decode"):
        return model.decode(prefix, generator, tau, greedy)
    end, batch, longest = model.tokenizer.eos_token_id, len(prefix), model.max_words
    ids = torch.full((batch, longest), model.tokenizer.pad_token_id, device=model.device)
    mask, log_p = (torch.zeros(batch, longest, device=model.device) for _ in range(2))
    rows = torch.arange(batch, device=model.device)  # where each row of the running batch belongs
    alive = torch.ones(batch, dtype=torch.bool, device=model.device)
    cache, step = DynamicCache(), {"inputs_embeds": prefix.embeds, **prefix.beside(0)}
    prefix = replace(prefix, deep=None)  # read once, then in the cache
    for t in range(longest):
        state = model.decoder(**step, past_key_values=cache, use_cache=True).last_hidden_state[:, -1]
        z = model.logits(state).float()
        if greedy:
            action = z.argmax(-1)
        else:
            action = torch.multinomial((z / tau).softmax(-1), 1, generator=generator).squeeze(-1)
        ids[rows, t] = torch.where(alive, action, ids[rows, t])
        mask[rows, t] = alive.float()
        log_p[rows, t] = log_prob(z[:, None], action[:, None], tau)[:, 0] * alive
        alive = alive & (action != end)
        if not alive.any():
            break
        if alive.float().mean() < 0.5:
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
