"""Saying "I cannot tell": how sure a captioner is of what it names, and what a threshold costs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from mmbook.equations import log_prob
from mmbook.models.threads import one_thread
from mmbook.world import KINDS

if TYPE_CHECKING:
    from mmbook.models.vlm import VLM


@torch.no_grad()
def answers(model: VLM, pictures: Any) -> tuple[list[str], np.ndarray]:
    """A greedy caption of each scene or picture, and its confidence (N,).

    The confidence is the probability of the least likely sticker that the caption names, given the words
    before it; 0 where it names none. How a thing is said does not count.
    """
    captions, sure = model.sample(pictures, greedy=True), []
    kinds = torch.tensor([model.tokenizer.convert_tokens_to_ids(kind) for kind in KINDS])
    with one_thread():
        for i in range(0, len(captions), 256):
            ids, _ = model.tokens(captions[i : i + 256])
            logits = model.logits(model.states(model.prefix(pictures[i : i + 256]), ids)[:, :-1])
            is_kind = torch.isin(ids, kinds.to(ids.device))
            least = log_prob(logits, ids).masked_fill(~is_kind, 0.0).amin(1).exp()
            sure.append(torch.where(is_kind.any(1), least, 0.0))
    return captions, torch.cat(sure).cpu().numpy()


def risk_coverage(sure: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Share answered and share of answers that are wrong (n,), answering the surest first, then more.

    Raises ValueError for another number of verdicts. Source: {cite}`elyaniv2010selective`.
    """
    sure, right = np.asarray(sure, float), np.asarray(right, bool)
    if sure.shape != right.shape or not sure.size:
        raise ValueError(f"right: expected a verdict for each of {sure.shape} answers, got {right.shape}")
    wrong, n = ~right[np.argsort(-sure, kind="stable")], np.arange(1, len(sure) + 1)
    return n / len(sure), wrong.cumsum() / n


def cheapest_threshold(sure: np.ndarray, right: np.ndarray, wrong: float, refused: float) -> float:
    """The confidence below which to refuse, so that errors at `wrong` and refusals at `refused` cost least.

    Source: {cite}`chow1970optimum`.
    """
    sure, right = np.asarray(sure, float), np.asarray(right, bool)
    tried = np.append(np.unique(sure), np.inf)
    costs = [wrong * (~right[sure >= t]).sum() + refused * (sure < t).sum() for t in tried]
    return float(tried[int(np.argmin(costs))])
