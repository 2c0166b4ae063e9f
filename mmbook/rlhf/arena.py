"""The caption tree as an arena: a careless captioner, and everyone's exact distance from the best policy."""

from __future__ import annotations

import torch
from torch import Tensor

from mmbook.equations import kl_objective, kl_regularised_optimum, preference_probability
from mmbook.models.table import TableLM
from mmbook.rlhf.rewards import KnownReward
from mmbook.world import Scene
from mmbook.world.caption_tree import CaptionTree


def careless(tree: CaptionTree) -> TableLM:
    """A captioner that knows the grammar and has a bad habit: where it has said "cat" it goes on to "fish".

    Words that the grammar allows have logit 4, others 0; commas have 1 less than full stops; next to a cat
    the fish that is not there has 1.5 more than what is there.
    """
    logits = torch.zeros(tree.mdp.r.shape)
    for s, prefix in enumerate(tree.prefixes[:-1]):
        for a, word in enumerate(tree.words):
            noun = not prefix or prefix[-1] == ","
            logits[s, a] = (
                4.0 * ((word in ",.") != noun) - (word == ",") + 1.5 * (word == "fish" and "cat" in prefix)
            )
    return TableLM(tree, logits)


class Arena:
    """Reward, reference and best policy of the caption tree at price `beta`; `measure` is exact, no sampling.

    `R` (K,) are the utilities of all captions, `log_p_ref` and `best` (K,) log-probabilities.
    """

    def __init__(self, beta: float = 0.5) -> None:
        self.tree, self.beta = CaptionTree(), beta
        self.model = careless(self.tree)
        self.R, self.log_p_ref = torch.as_tensor(self.tree.rewards), self.model.log_pi()
        self.best = kl_regularised_optimum(self.log_p_ref, self.R, beta)
        self.captions = [self.tree.text(way) for way in self.tree.responses]
        self.worth = dict(zip(self.captions, self.tree.rewards.tolist(), strict=True))
        self.reward = KnownReward(self.model, lambda scene, caption: self.worth[caption])

    def measure(self, log_p: Tensor) -> dict[str, float]:
        """What is true of a policy with log-probabilities (K,): mean "reward", "regret" of J, and in nats a
        caption "kl" from the reference and "kl_best" from the best policy; "kl_token" is kl_best a token."""
        log_p = log_p.detach()
        p, words = log_p.exp(), torch.as_tensor(self.tree.paths.m.sum(1)).double()
        lost = kl_objective(self.best, self.log_p_ref, self.R, self.beta) - kl_objective(
            log_p, self.log_p_ref, self.R, self.beta
        )
        kl, kl_best = (
            float(p @ (log_p - other).masked_fill(p == 0, 0.0)) for other in (self.log_p_ref, self.best)
        )
        return {
            "reward": float(p @ self.R),
            "regret": float(lost),
            "kl": kl,
            "kl_best": kl_best,
            "kl_token": kl_best / float(p @ words),
        }

    def pairs(self, n: int, seed: int, model: TableLM | None = None) -> list[tuple[Scene, str, str]]:
        """`n` pairs (scene, chosen, rejected) sampled from a model, by default the reference, and judged with
        Bradley and Terry's probabilities of the rewards."""
        draw = torch.Generator().manual_seed(seed)
        said = (model or self.model).sample([self.tree.scene] * n, seed=draw, samples=2)
        a, b = said[::2], said[1::2]
        R_a, R_b = (torch.tensor([self.worth[caption] for caption in side]) for side in (a, b))
        first = torch.rand(n, generator=draw) < preference_probability(R_a, R_b)
        return [(self.tree.scene, *((x, y) if f else (y, x))) for x, y, f in zip(a, b, first, strict=True)]
