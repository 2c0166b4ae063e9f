"""Checkers of the chapter on contrastive learning."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from mmbook.equations import clip_loss, similarity, uniformity
from mmbook.exercises import Mistake, exercise
from mmbook.exercises.comparing import compare, reaches


def _random(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@exercise("multimodal-contrastive/clip-loss")
def both_ways(answer: Callable[..., Tensor]) -> None:
    """`answer(u, v, tau)` is CLIP's loss of vectors (B, D) of pictures and of texts, a scalar."""
    u, v, tau = _random(5, 4, seed=1).requires_grad_(), _random(5, 4, seed=2) * 2, 0.5
    got, i = answer(u, v, tau), torch.arange(5)
    with torch.no_grad():
        s = similarity(u, v, tau)
        hot = normalize(u, dim=-1) @ normalize(v, dim=-1).T * tau
        twice = cross_entropy(s.softmax(1), i) + cross_entropy(s.T.softmax(1), i)
        mistakes = {
            "the vectors' lengths play a part: divide each by its length first": clip_loss(u @ v.T / tau),
            "all vectors are divided by one number, but each has a length of its own": clip_loss(
                u @ v.T / (u.norm() * v.norm()) / tau
            ),
            "this divides each column by its length: normalise along dim=-1": clip_loss(
                normalize(u, dim=0) @ normalize(v, dim=0).T / tau
            ),
            "cross_entropy takes scores and does the softmax itself": twice / 2,
            "this looks from pictures to texts only: add the other direction and halve": cross_entropy(s, i),
            "this looks from texts to pictures only: add the other direction and halve": cross_entropy(
                s.T, i
            ),
            "divide by the temperature, do not multiply": clip_loss(hot),
            "the temperature is missing": clip_loss(s * tau),
            "this is the sum of both directions: take their mean": 2 * clip_loss(s),
            "this is the sum over pairs: take the mean": 5 * clip_loss(s),
            "the sign is wrong: this is to be maximised, a loss is minimised": -clip_loss(s),
        }
    compare(got, clip_loss(s), mistakes)
    if not (isinstance(got, Tensor) and got.requires_grad):
        raise Mistake("no gradient reaches the pictures' vectors: stay in torch and do not detach")
    if not torch.isfinite(torch.as_tensor(answer(u, v, 0.001))):
        raise Mistake("at tau = 0.001 the exponentials overflow: use log_softmax or cross_entropy")


@exercise("multimodal-contrastive/zero-shot")
def zero_shot(answer: Callable[..., Tensor]) -> None:
    """`answer(u, v)` are scores (B, C): pictures u (B, D) with classes of P prompts each, v (C, P, D)."""
    u, v = _random(4, 3, seed=3), _random(5, 2, 3, seed=4) * torch.tensor([[0.2], [3.0]], dtype=torch.float64)
    unit, each = normalize(u, dim=-1), normalize(v, dim=-1)
    right = unit @ normalize(each.mean(1), dim=-1).T
    mistakes = {
        "long prompts count more: give each prompt length 1 before the mean": unit
        @ normalize(v.mean(1), dim=-1).T,
        "normalize works along dim=1 unless told, here along the prompts: say dim=-1": unit
        @ normalize(normalize(v, dim=1).mean(1), dim=-1).T,
        "the mean of unit vectors is shorter than 1: a class whose prompts disagree is punished; "
        "divide by its length": unit @ each.mean(1).T,
        "this takes each class's best prompt: take the mean vector of its prompts": torch.einsum(
            "bd,cpd->bcp", unit, each
        ).amax(-1),
        "the pictures' vectors are not of length 1, so these are no cosines": u
        @ normalize(each.mean(1), dim=-1).T,
        "this uses the first prompt only": unit @ each[:, 0].T,
        "these are probabilities: return the cosines themselves": right.softmax(-1),
    }
    compare(answer(u.clone(), v.clone()), right, mistakes)


@exercise("multimodal-contrastive/uniformity")
def spread(answer: Callable[..., Tensor]) -> None:
    """`answer(u)` is the uniformity of vectors u (B, D), a scalar."""
    u = _random(6, 3, seed=5) * 2
    got = answer(learned := u.clone().requires_grad_())
    unit = normalize(u, dim=-1)
    pairs = torch.pdist(unit).square()
    whole = torch.cdist(unit, unit).square()
    compare(
        got,
        uniformity(u),
        {
            "each vector is paired with itself too, at distance 0: leave the diagonal out": (-2 * whole)
            .exp()
            .mean()
            .log(),
            "the vectors are not of length 1: put them on the sphere first": (-2 * torch.pdist(u).square())
            .exp()
            .mean()
            .log(),
            "take the distance to the square": (-2 * torch.pdist(unit)).exp().mean().log(),
            "the factor 2 in the exponent is missing": (-pairs).exp().mean().log(),
            "this is the mean of the logarithms: take the logarithm of the mean": (-2 * pairs).mean(),
            "the logarithm is missing": (-2 * pairs).exp().mean(),
            "the sign is wrong: uniformity is negative, more so for vectors that are spread": -uniformity(u),
            "take the mean over pairs, not the sum": (-2 * pairs).exp().sum().log(),
        },
    )
    reaches(got, learned)
