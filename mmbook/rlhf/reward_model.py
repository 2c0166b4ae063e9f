"""The reward model: a frozen vision-language model, a head on its states, one that sees the picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from mmbook.equations import preference_loss
from mmbook.evaluate.intervals import wilson
from mmbook.feedback.items import whole_seed
from mmbook.models.heads import MatchHead, ScalarHead
from mmbook.models.threads import one_thread
from mmbook.models.vlm import VLM, Prefix
from mmbook.rlhf.rewards import Reward
from mmbook.world import Scene

if TYPE_CHECKING:
    from mmbook.feedback import Feedback

Pair = tuple[Scene, str, str]  # scene, chosen caption, rejected caption


@dataclass(frozen=True)
class RewardConfig:
    """How a reward model is fitted; `looks` is decided by cross-validation when it is None."""

    epochs: int = 50
    batch: int = 25  # pairs a step
    lr: float = 3e-3
    weight_decay: float = 1.0  # of the match head
    centre: float = 0.01  # weight c of the centring term
    match_centre: float = 0.1  # the same where words are matched: it settles how much a wrong word costs
    folds: int = 4
    looks: bool | None = None  # whether words are checked against the picture
    minimum: int = 10  # fewest usable pairs

    def __post_init__(self) -> None:
        for name, least in (("epochs", 1), ("batch", 1), ("folds", 2), ("minimum", 2)):
            if not isinstance(value := getattr(self, name), int) or value < least:
                raise ValueError(f"{name}: expected a whole number, {least} or more, got {value!r}")


class RewardModel(Reward):
    """r(x, y): picture and caption to one number, made of a score for each word.

    `accuracy` is the share of `pairs` held-out pairs that cross-validation ranks right, `interval` its 95 %
    Wilson interval (both of the better of two heads, so a little optimistic for few labels),
    `looks` whether words are checked against the picture, `contradictions` the share of
    labels that another label contradicts.
    """

    def __init__(self, trunk: VLM, looks: bool, seed: int) -> None:
        super().__init__(trunk)
        generator = torch.Generator().manual_seed(seed)
        self.looks = looks
        self.language = ScalarHead(trunk.width, generator)
        self.match = MatchHead(trunk.width, generator) if looks else None
        words = trunk.module.get_input_embeddings().num_embeddings
        self.register_buffer("neutral", torch.zeros(words))
        self.register_buffer("judged", torch.ones(words, dtype=torch.bool))
        self.interval = (0.0, 1.0)
        self.to(trunk.device).eval()

    def so_far(self, prefix: Prefix, ids: Tensor, mask: Tensor, states: Tensor, scenes: Any = None) -> Tensor:
        """The reward (B, T + 1) of responses that stop after 0, 1, ..., T tokens; constant after their end.

        `states` are the trunk's, (B, T + 1, D). Style is a mean over words, faithfulness a sum, in which a
        word that was said before earns nothing.
        """
        if self.match is None:
            total = (self.language(states[:, 1:]) * mask).cumsum(1) / mask.cumsum(1)
        else:
            again = (ids[:, :, None] == ids[:, None, :]).tril(-1).any(-1)
            fit = self.match(self.trunk.module.get_input_embeddings()(ids), *_parts(prefix))
            total = ((fit - self.neutral[ids]) * self.judged[ids] * mask * ~again).cumsum(1)
        return torch.cat([torch.zeros_like(total[:, :1]), total], 1)

    @torch.no_grad()
    def settle(self, prefix: Prefix, ids: Tensor, mask: Tensor) -> None:
        """Let a word that fits every picture alike, and one that nobody has judged, say nothing.

        A comparison of two captions leaves open what the words in both are worth. Each judged word is centred
        between its best and its worst fit to the pictures in `prefix`; all others earn nothing.
        """
        if self.match is None:
            return
        words = ids[mask.bool()].unique()
        embeds = self.trunk.module.get_input_embeddings()(words).expand(len(prefix), -1, -1)
        fit = self.match(embeds, *_parts(prefix))
        self.neutral[words] = (fit.amax(0) + fit.amin(0)) / 2
        self.judged.zero_()[words] = True

    @torch.no_grad()
    def explain(self, scene: Scene, caption: str) -> list[tuple[str, float]]:
        """Each word of a caption with what it adds to the reward, the end token last.

        Where style is a mean over words, a word adds what moves the mean at its place.
        """
        prefix, (ids, mask) = self.trunk.prefix([scene]), self.trunk.tokens([caption])
        so_far = self.so_far(prefix, ids, mask, self.trunk.states(prefix, ids))[0]
        words = [self.trunk.tokenizer.decode([token]) for token in ids[0]]
        return list(zip(words, so_far.diff().tolist(), strict=True))


def _parts(prefix: Prefix) -> tuple[Tensor, Tensor]:
    """The picture's embeddings (B, I, D) and which are real (B, I); rows may differ in how many."""
    columns = prefix.picture.any(0)
    return prefix.embeds[:, columns], prefix.picture[:, columns]


class _Features:
    """What the heads read of each pair, computed once because the trunk is frozen."""

    @torch.no_grad()
    def __init__(self, trunk: VLM, pairs: Sequence[Pair], pictures: Sequence[Scene] | None = None) -> None:
        self.prefix = trunk.prefix(pictures or [scene for scene, _, _ in pairs])
        ids, mask = trunk.tokens([c for _, c, _ in pairs] + [r for _, _, r in pairs])
        both = self.prefix[torch.arange(len(pairs)).repeat(2)]
        states = torch.cat(
            [trunk.states(both[i : i + 256], ids[i : i + 256]) for i in range(0, len(ids), 256)]
        )
        self.both = [
            tuple(x.unflatten(0, (2, len(pairs)))[side] for x in (ids, mask, states)) for side in (0, 1)
        ]

    def rewards(self, model: RewardModel, rows: Tensor) -> tuple[Tensor, Tensor]:
        """R of the chosen and of the rejected caption for some pairs."""
        prefix, R = self.prefix[rows], []
        for ids, mask, states in self.both:
            T = int(mask[rows].sum(1).max())
            R.append(model.so_far(prefix, ids[rows, :T], mask[rows, :T], states[rows, : T + 1])[:, -1])
        return R[0], R[1]


def fit(
    trunk: VLM, features: _Features, rows: Tensor, looks: bool, config: RewardConfig, seed: int
) -> RewardModel:
    """Minimise the preference loss over the pairs `rows`."""
    model = RewardModel(trunk, looks, seed)
    heads = [{"params": list(model.language.parameters()), "lr": 10 * config.lr / 3, "weight_decay": 0.1}]
    if model.match is not None:
        heads.append(
            {"params": list(model.match.parameters()), "lr": config.lr, "weight_decay": config.weight_decay}
        )
    optimizer = torch.optim.AdamW(heads, fused=True)
    steps = config.epochs * -(-len(rows) // config.batch)
    decay = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, steps)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(config.epochs):
        for part in rows[torch.randperm(len(rows), generator=generator)].split(config.batch):
            R_c, R_r = features.rewards(model, part)
            loss = preference_loss(R_c, R_r, c=config.match_centre if looks else config.centre)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            decay.step()
    (ids_c, mask_c, _), (ids_r, mask_r, _) = features.both
    model.settle(
        features.prefix[rows], torch.cat([ids_c[rows], ids_r[rows]]), torch.cat([mask_c[rows], mask_r[rows]])
    )
    return model.requires_grad_(False)


def cross_validate(
    trunk: VLM, features: _Features, scenes: Sequence[Scene], looks: bool, config: RewardConfig, seed: int
) -> tuple[float, int]:
    """Mean held-out preference loss and the number of held-out pairs ranked right, over `config.folds` folds.

    `scenes` has the scene of each pair; all pairs of a scene are held out together, so a pair that was judged
    twice is never in both parts.
    """
    number = {scene: i for i, scene in enumerate(dict.fromkeys(scenes))}
    scene_of = torch.tensor([number[scene] for scene in scenes])
    order = torch.from_numpy(np.random.default_rng(seed).permutation(len(number)))
    pairs = order.argsort()[scene_of].argsort(stable=True)
    loss, right = 0.0, 0
    for fold in order.tensor_split(min(config.folds, len(number))):
        out = torch.isin(scene_of[pairs], fold)
        held = pairs[out]
        R_c, R_r = features.rewards(fit(trunk, features, pairs[~out], looks, config, seed), held)
        loss += preference_loss(R_c, R_r).item() * len(held) / len(scenes)
        right += int((R_c > R_r).sum())
    return loss, right


def train_reward_model(
    feedback: Feedback, seed: int = 0, config: RewardConfig | None = None, shuffle_pictures: bool = False
) -> RewardModel:
    """Fit a reward model to a feedback log; cross-validation decides whether it looks at the picture.

    `shuffle_pictures` gives every pair another pair's picture: the control that shows if seeing mattered.
    Raises ValueError when there are too few usable pairs, or only one scene, or no model.
    """
    if not hasattr(feedback, "pairs"):
        raise TypeError(
            f"feedback: expected what collect_human_feedback or Feedback.from_log returned, got {feedback!r}"
        )
    config, seed = config or RewardConfig(), whole_seed(seed)
    pairs = [(scene, chosen, rejected) for scene, chosen, rejected, _ in feedback.pairs()]
    scenes = [scene for scene, _, _ in pairs]
    if len(pairs) < config.minimum:
        raise ValueError(
            f"{feedback.path}: {len(pairs)} usable pairs (ties and skips do not count), at least "
            f"{config.minimum} are needed and 50 are better; label some more"
        )
    if len(set(scenes)) < 2:
        raise ValueError(
            f"{feedback.path}: all {len(pairs)} usable pairs are of one scene; expected two or more scenes, "
            "so that some can be held out; label more pictures"
        )
    if feedback.model is None:
        raise ValueError(
            f"{feedback.path}: expected feedback with the model that its reward model is built on, got none; "
            "read the log with Feedback.from_log(path, model=load_pretrained_model())"
        )
    trunk, n, pictures = feedback.model, len(pairs), list(scenes)
    if shuffle_pictures:
        order = np.random.default_rng(seed).permutation(n)
        for here, there in zip(order, np.roll(order, 1), strict=True):
            pictures[here] = scenes[there]
    with one_thread():
        features = _Features(trunk, pairs, pictures)
        choices = [config.looks] if config.looks is not None else [False, True]
        tried = {looks: cross_validate(trunk, features, scenes, looks, config, seed) for looks in choices}
        looks = max(choices, key=lambda k: (tried[k][1], -tried[k][0]))  # most held-out pairs right
        model = fit(trunk, features, torch.arange(n), looks, config, seed)
    model.accuracy, model.interval, model.pairs = tried[looks][1] / n, wilson(tried[looks][1], n), n
    model.contradictions = feedback.contradictions()
    return model
