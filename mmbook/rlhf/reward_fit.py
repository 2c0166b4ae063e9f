"""How a reward model is fitted to judgements of every kind, and how that is checked on held-out scenes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from mmbook.equations import (
    flipped_loss,
    log_prob,
    ordinal_loss,
    preference_loss,
    ranking_loss,
    tie_loss,
)
from mmbook.feedback.dataset import Judgement, Picture, picture_key
from mmbook.world import Scene, render

if TYPE_CHECKING:
    from mmbook.rlhf.reward_model import Heads, RewardConfig, RewardModel

KINDS = ("pair", "tie", "rating", "ranking")


def as_shown(trunk: Any, pictures: Sequence[Picture]) -> Sequence[Picture]:
    """Scenes as they are, but where pictures stand among them as the pictures that the model sees."""
    if not any(isinstance(picture, np.ndarray) for picture in pictures):
        return pictures
    return [render([p], trunk.picture_size)[0] if isinstance(p, Scene) else p for p in pictures]


class Features:
    """What the heads read of all responses of N judgements, computed once because the trunk is frozen.

    `pictures` stand in for the judgements' own scenes. Raises ValueError for states that are no numbers.
    """

    ranked: Tensor | None = None  # how many responses of each ranking are in order; by default all

    @torch.no_grad()
    def __init__(self, trunk: Any, judged: Sequence[Judgement], pictures: Sequence[Picture]) -> None:
        self.trunk, self.kind = trunk, torch.tensor([KINDS.index(j.kind) for j in judged])
        self.rating = torch.tensor([j.rating - 1 for j in judged])
        self.size = torch.tensor([len(j.captions) for j in judged])
        self.ranked = torch.tensor([j.ranked or len(j.captions) for j in judged])
        self.first = self.size.cumsum(0) - self.size
        self.of = torch.arange(len(judged)).repeat_interleave(self.size)
        self.prefix = trunk.prefix(as_shown(trunk, pictures))
        self.ids, self.mask = trunk.tokens([caption for j in judged for caption in j.captions])
        states, log_p = [], []
        for rows in torch.arange(len(self.ids)).split(64):
            states.append(trunk.states(self.prefix[self.of[rows]], self.ids[rows]))
            log_p.append(log_prob(trunk.logits(states[-1][:, :-1]), self.ids[rows]) * self.mask[rows])
        self.states, self.log_p = torch.cat(states), torch.cat(log_p)
        if not self.states.isfinite().all():
            raise ValueError("the model's states are not finite numbers, so no reward can be built on them")

    def listed(self, rows: Tensor) -> Tensor:
        """How many responses of some judgements are in order; the rest are only worse."""
        return (self.size if self.ranked is None else self.ranked)[rows]

    def rewards(self, model: RewardModel, rows: Tensor, heads: Heads | None = None) -> Tensor:
        """R (N, K) of the responses of some judgements, zero where one has fewer than K.

        `heads` are those of one member, by default all. A trunk that has learned reads the responses anew.
        """
        size = self.size[rows]
        skip = self.first[rows] - (size.cumsum(0) - size)
        at = torch.arange(int(size.sum())) + skip.repeat_interleave(size)
        T = int(self.mask[at].sum(1).max())
        ids, mask, prefix = self.ids[at, :T], self.mask[at, :T], self.prefix[self.of[at]]
        if model.trunk is not self.trunk:
            x = model.read(prefix, ids, mask, model.trunk.states(prefix, ids))
        else:
            x = model.read(prefix, ids, mask, self.states[at, : T + 1], self.log_p[at, :T])
        each = torch.stack([h(x)[:, -1] for h in ([heads] if heads is not None else model.members)])
        R = each.mean(0).new_zeros(len(rows), int(size.max()))
        return R.masked_scatter(
            torch.arange(R.shape[1]).to(R.device) < size[:, None].to(R.device), each.mean(0)
        )


class Judge(nn.Module):
    """How judgements come from rewards: nu, how common ties are, and kappa, where a rating goes up."""

    def __init__(self, ties: bool, flipped: float = 0.0) -> None:
        super().__init__()
        self.ties, self.flipped, self.log_nu = ties, flipped, nn.Parameter(torch.zeros(()))
        self.lowest, self.log_gaps = nn.Parameter(torch.tensor(-1.5)), nn.Parameter(torch.zeros(3))

    @property
    def kappa(self) -> Tensor:
        return self.lowest + torch.cat([torch.zeros(1).to(self.lowest), self.log_gaps.exp().cumsum(0)])

    def loss(
        self, R: Tensor, features: Features, rows: Tensor, margin: float = 0.0, c: float = 0.0
    ) -> Tensor:
        """Mean negative log-likelihood of judgements with rewards R (N, K), and centring."""
        kind, size = features.kind[rows], features.size[rows]
        two, rated, total = kind <= 1, kind == KINDS.index("rating"), c * R[kind != 2].sum(1).square().sum()
        if two.any() and self.ties:
            R_a, outcome = R[two, 0] - margin * (kind[two] == 0).to(R), 2 * kind[two].to(R.device)
            total = total + two.sum() * tie_loss(R_a, R[two, 1], outcome, self.log_nu.exp())
        elif two.any() and self.flipped:
            total = total + two.sum() * flipped_loss(R[two, 0], R[two, 1], self.flipped)
        elif two.any():
            total = total + two.sum() * preference_loss(R[two, 0], R[two, 1], margin)
        if rated.any():
            rating = features.rating[rows][rated].to(R.device)
            total = total + rated.sum() * ordinal_loss(R[rated, 0], rating, self.kappa)
        ranking, ranked = kind == KINDS.index("ranking"), features.listed(rows)
        for K, m in torch.stack([size, ranked], 1)[ranking].unique(dim=0).tolist():
            some = ranking & (size == K) & (ranked == m)
            of_all = ranking_loss(R[some, :K])  # less what an order of the last K - m would say
            total = total + some.sum() * (of_all - ranking_loss(R[some, m:K]) if K - m > 1 else of_all)
        return total / len(rows)


def fit(model: RewardModel, features: Features, rows: Tensor, config: RewardConfig, seed: int) -> Judge:
    """Fit the heads, and the trunk where the configuration says so, to the judgements `rows`."""
    adapted, learning = None, list[nn.Parameter]()
    if config.tune == "lora":
        adapted = model.trunk.adapted(config.rank, seed)
        model.trunk, learning = adapted.model, adapted.parameters()
    elif config.tune == "full":
        model.trunk = model.trunk.copy()
        model.trunk.decoder.requires_grad_(True)
        model.trunk.module.get_input_embeddings().requires_grad_(False)
        learning = [p for p in model.trunk.decoder.parameters() if p.requires_grad]
    for i, heads in enumerate(model.members):
        generator = torch.Generator().manual_seed(seed + i)
        mine = rows
        if len(model.members) > 1:
            mine = rows[torch.randint(len(rows), rows.shape, generator=generator)]
        judge = _fit(model, heads, learning, features, mine, config, generator)
    if adapted is not None:
        model.trunk = adapted.merged()
    for p in learning:
        p.requires_grad_(False)
    at = torch.isin(features.of, rows)
    model.settle(features.prefix[rows], features.ids[at], features.mask[at])
    model.nu = judge.log_nu.exp().item() if judge.ties else float("nan")
    model.kappa = judge.kappa.tolist() if (features.kind[rows] == 2).any() else []
    model.requires_grad_(False)
    return judge


def _fit(
    model: RewardModel,
    heads: Heads,
    learning: list[nn.Parameter],
    features: Features,
    rows: Tensor,
    config: RewardConfig,
    generator: torch.Generator,
) -> Judge:
    judge = Judge(bool((features.kind[rows] == 1).any()), config.flipped).to(model.trunk.device)
    lr, quick, little = config.lr, 10 * config.lr / 3, 0.1 * config.weight_decay
    groups: list[dict[str, Any]] = [
        {"params": heads.language.parameters(), "lr": quick, "weight_decay": little},
        {"params": judge.parameters(), "lr": quick, "weight_decay": 0.0},
        {"params": learning, "lr": config.trunk_lr, "weight_decay": 0.01},
    ]
    if heads.order is not None:
        groups.append({"params": heads.order.parameters(), "lr": quick, "weight_decay": little})
    if heads.match is not None:
        groups.append({"params": heads.match.parameters(), "lr": lr, "weight_decay": config.weight_decay})
    if heads.likely is not None:
        groups.append({"params": [heads.likely], "lr": lr, "weight_decay": 0.0})
    optimizer = torch.optim.AdamW([g for g in groups if g["params"]], fused=True)
    epochs = min(config.epochs, -(-config.most // len(rows)))
    decay = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, epochs * -(-len(rows) // config.batch))
    c = config.centre if model.reads else config.match_centre
    for _ in range(epochs):
        for part in rows[torch.randperm(len(rows), generator=generator)].split(config.batch):
            loss = judge.loss(features.rewards(model, part, heads), features, part, config.margin, c)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            decay.step()
    return judge


def cross_validate(
    new: Callable[[int], RewardModel],
    features: Features,
    scenes: Sequence[Picture],
    config: RewardConfig,
    seed: int,
) -> tuple[float, int, int]:
    """Mean held-out loss, held-out comparisons ranked right, and how many there were, over all folds.

    `scenes` has the scene of each judgement; all judgements of a scene are held out together, so a pair that
    was judged twice is never in both parts.
    """
    keys = [picture_key(scene) for scene in scenes]
    number = {key: i for i, key in enumerate(dict.fromkeys(keys))}
    scene_of = torch.tensor([number[key] for key in keys])
    order = torch.from_numpy(np.random.default_rng(seed).permutation(len(number)))
    rows = order.argsort()[scene_of].argsort(stable=True)
    folds = order.tensor_split(min(config.folds, len(number)))
    loss, right, n, seen = 0.0, 0, 0, 0
    for fold in folds if config.tune == "head" else folds[:1]:
        out = torch.isin(scene_of[rows], fold)
        model, held = new(seed), rows[out]
        judge = fit(model, features, rows[~out], config, seed)
        with torch.no_grad():
            R = features.rewards(model, held)
            loss += judge.loss(R, features, held).item() * len(held)
        more, of = comparisons(R, features, held)
        right, n, seen = right + more, n + of, seen + len(held)
    return loss / seen, right, n


def comparisons(R: Tensor, features: Features, rows: Tensor) -> tuple[int, int]:
    """How many comparisons judgements with rewards R (N, K) make, and how many of them R ranks right.

    A pair is one, a ranking of K is K - 1 (each response with the next, those out of order with the last one
    in order), and each rating of the lower half is compared with one of the upper half unless they are equal.
    """
    kind, size = features.kind[rows], features.size[rows]
    inside = (torch.arange(1, R.shape[1]) < size[:, None]) & ((kind == 0) | (kind == 3))[:, None]
    last = (features.listed(rows) - 1)[:, None].clamp(max=R.shape[1] - 1)
    above_each = torch.arange(R.shape[1] - 1).expand(len(rows), -1).minimum(last).to(R.device)
    ahead = (R.gather(1, above_each) > R[:, 1:]).cpu()[inside]
    rated, order = R[kind == 2, 0].cpu(), features.rating[rows][kind == 2].sort(stable=True)
    half = len(rated) // 2
    low, high = order.indices[:half], order.indices[half : 2 * half]
    differ = order.values[:half] < order.values[half : 2 * half]
    above = (rated[high] > rated[low])[differ]
    return int(ahead.sum() + above.sum()), len(ahead) + len(above)
