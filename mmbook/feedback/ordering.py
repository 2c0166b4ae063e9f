"""Which pairs to ask about next: at random, the undecided ones, or those about which models disagree."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from mmbook.equations import answer_entropy, information_gain, tie_probabilities

WAYS = ("random", "uncertainty", "disagreement")


def worth_asking(R: Tensor, way: str, nu: float | None = None) -> Tensor:
    """How much there is to learn (N,) from each pair, by the rewards R (K, N, 2) of an ensemble of K models.

    "uncertainty" is the entropy of the mean prediction, {eq}`eq:answer-entropy`; it is largest for pairs that
    are equally good, about which nobody will ever be sure. "disagreement" is {eq}`eq:information-gain`, which
    leaves that part out. With `nu`, ties are an answer, {eq}`eq:davidson`. "random" is worth the same
    everywhere. Raises ValueError for another way or shape, or disagreement of a single model.
    """
    if way not in WAYS:
        raise ValueError(f"way: expected one of {', '.join(WAYS)}, got {way!r}")
    if R.dim() != 3 or R.shape[-1] != 2:
        raise ValueError(f"R: expected the rewards of models, pairs, 2 responses, got {tuple(R.shape)}")
    if way == "random":
        return torch.zeros(R.shape[1])
    if way == "disagreement" and len(R) < 2:
        raise ValueError("R: expected two models or more to disagree, got one")
    if nu is None:
        first = torch.sigmoid(R[..., 0] - R[..., 1])
        p = torch.stack([first, 1 - first], -1)
    else:
        p = tie_probabilities(R[..., 0], R[..., 1], nu)
    return answer_entropy(p) if way == "uncertainty" else information_gain(p)


def order(worth: Tensor, share: float = 0.2, seed: int = 0) -> list[int]:
    """All indices of worth (N,), best first, but a share of the places, drawn at random, filled at random.

    Equals come in random order. The random share keeps labels with which everything else can be compared, and
    models that are wrong and sure of it get corrected. Raises ValueError for another share.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share: expected 0 to 1, got {share!r}")
    rng, n = np.random.default_rng(seed), len(worth)
    mixed = rng.permutation(n)
    best = iter(mixed[np.argsort(-worth.numpy()[mixed], kind="stable")].tolist())
    at_random, left = rng.random(n) < share, iter(rng.permutation(n).tolist())
    chosen: dict[int, None] = {}
    for free in at_random:
        chosen[next(i for i in (left if free else best) if i not in chosen)] = None
    return list(chosen)
