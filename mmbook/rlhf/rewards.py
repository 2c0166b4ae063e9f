"""Rewards that PPO can follow: what a reader is known to think, what a model expects, and their sum."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mmbook.equations import log_prob
from mmbook.models.threads import one_thread
from mmbook.models.vlm import Prefix
from mmbook.world import Scene, SceneBatch, check


class Reward(nn.Module):
    """A number for a picture and a caption; `trunk` is the model whose states the critic reads.

    `accuracy` is the share of `pairs` held-out pairs ranked right and `interval` its 95 % interval, where it
    was fitted to labels.
    """

    def __init__(self, trunk: Any) -> None:
        super().__init__()
        self.trunk = trunk
        self.accuracy, self.interval, self.pairs, self.contradictions = float("nan"), (1.0, 1.0), 0, 0.0

    def so_far(self, prefix: Prefix, ids: Tensor, mask: Tensor, states: Tensor, scenes: Any = None) -> Tensor:
        """The reward (B, T + 1) of responses that stop after 0, 1, ..., T tokens; constant after their end.

        `states` (B, T + 1, D) are the trunk's, `scenes` what the pictures show, for those who may know.
        """
        raise NotImplementedError

    def forward(self, prefix: Prefix, ids: Tensor, mask: Tensor, scenes: Any = None) -> Tensor:
        """The reward (B,) of responses."""
        return self.so_far(prefix, ids, mask, self.trunk.states(prefix, ids), scenes)[:, -1]

    @torch.no_grad()
    def score(self, scenes: Sequence[Scene] | SceneBatch, captions: Sequence[str]) -> Tensor:
        """The reward (N,) of one caption for each scene. Raises ValueError for another number of captions."""
        if len(scenes) != len(captions) or not captions:
            raise ValueError(
                f"expected a caption for each scene, got {len(scenes)} scenes, {len(captions)} captions"
            )
        parts = []
        with one_thread():
            for i in range(0, len(captions), 256):
                some = scenes[i : i + 256]
                parts.append(self(self.trunk.prefix(some), *self.trunk.tokens(captions[i : i + 256]), some))
        return torch.cat(parts)


class KnownReward(Reward):
    """Any function of scene and caption, by default the utility that no policy is to see: the gold reward."""

    def __init__(self, trunk: Any, of: Callable[[Scene, str], float] | None = None) -> None:
        super().__init__(trunk)
        self.of = of or (lambda scene, caption: check(caption, scene).utility)

    def so_far(self, prefix: Prefix, ids: Tensor, mask: Tensor, states: Tensor, scenes: Any = None) -> Tensor:
        """Nothing until the caption is finished."""
        captions = self.trunk.text(ids, mask)
        R = torch.tensor([float(self.of(s, c)) for s, c in zip(scenes, captions, strict=True)])
        ended = torch.arange(ids.shape[1] + 1, device=ids.device) >= mask.sum(1, keepdim=True)
        return torch.where(ended, R.to(mask)[:, None], 0.0)


class Likelihood(Reward):
    """The log-likelihood of a caption under a model: fluency, or the environment's reward of the documents.

    With `blank` the same caption's log-likelihood without the picture (a grey one) is taken off, so that only
    what the picture makes likelier counts: relevance, as pointwise mutual information.
    """

    def __init__(self, trunk: Any, blank: bool = False) -> None:
        super().__init__(trunk)
        self.blank = blank

    def so_far(self, prefix: Prefix, ids: Tensor, mask: Tensor, states: Tensor, scenes: Any = None) -> Tensor:
        """The sum over the tokens that have been said."""
        total = self._said(states, ids, mask)
        if self.blank:
            side = self.trunk.picture_size
            grey = self.trunk.prefix(torch.full((1, side, side, 3), 128, dtype=torch.uint8).numpy())
            total = total - self._said(self.trunk.states(grey.repeat(len(ids)), ids), ids, mask)
        return torch.cat([torch.zeros_like(total[:, :1]), total.cumsum(1)], 1)

    def _said(self, states: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
        return log_prob(self.trunk.logits(states[:, :-1]), ids) * mask


class RewardSum(Reward):
    """Named parts with weights: `RewardSum(fluency=(1, r), preference=(lam, h))` is r + lam h.

    All parts need the same trunk; accuracy and interval are those of the part called "preference", if there
    is one. Raises ValueError for no part or parts on different trunks.
    """

    def __init__(self, **parts: tuple[float, Reward]) -> None:
        trunks = {id(part.trunk) for _, part in parts.values()}
        if len(trunks) != 1:
            raise ValueError(f"parts: expected one or more on the same trunk, got {len(trunks)} trunks")
        super().__init__(next(iter(parts.values()))[1].trunk)
        self.weights = {name: weight for name, (weight, _) in parts.items()}
        self.parts = nn.ModuleDict({name: part for name, (_, part) in parts.items()})
        if "preference" in parts:
            h = parts["preference"][1]
            self.accuracy, self.interval, self.pairs = h.accuracy, h.interval, h.pairs

    def so_far(self, prefix: Prefix, ids: Tensor, mask: Tensor, states: Tensor, scenes: Any = None) -> Tensor:
        """The weighted sum of the parts."""
        each = [
            self.weights[name] * part.so_far(prefix, ids, mask, states, scenes)
            for name, part in self.parts.items()
        ]
        return torch.stack(each).sum(0)

    def named(self, scenes: Sequence[Scene] | SceneBatch, captions: Sequence[str]) -> dict[str, Tensor]:
        """What each part, weighted, gives to captions (N,)."""
        return {name: self.weights[name] * part.score(scenes, captions) for name, part in self.parts.items()}
