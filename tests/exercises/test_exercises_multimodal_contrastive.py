"""The exercises on contrastive learning: published solutions pass, typical mistakes get their own words."""

from __future__ import annotations

import torch
from torch.nn.functional import cross_entropy, normalize


def scores(u, v, tau):
    return normalize(u, dim=-1) @ normalize(v, dim=-1).T / tau


def way(s):
    return cross_entropy(s, torch.arange(len(s)))


def both(s):
    return (way(s) + way(s.T)) / 2


def overflowing(u, v, tau):
    e = torch.exp(scores(u, v, tau))
    return -(torch.log(e.diag() / e.sum(0)) + torch.log(e.diag() / e.sum(1))).mean() / 2


LOSSES = {
    "lengths play a part": lambda u, v, tau: both(u @ v.T / tau),
    "divided by one number": lambda u, v, tau: both((u / u.norm()) @ (v / v.norm()).T / tau),
    "each column": lambda u, v, tau: both(normalize(u, dim=0) @ normalize(v, dim=0).T / tau),
    "does the softmax itself": lambda u, v, tau: (
        (way(scores(u, v, tau).softmax(1)) + way(scores(u, v, tau).T.softmax(1))) / 2
    ),
    "from pictures to texts only": lambda u, v, tau: way(scores(u, v, tau)),
    "from texts to pictures only": lambda u, v, tau: way(scores(u, v, tau).T),
    "do not multiply": lambda u, v, tau: both(scores(u, v, 1) * tau),
    "temperature is missing": lambda u, v, tau: both(scores(u, v, 1)),
    "sum of both directions": lambda u, v, tau: 2 * both(scores(u, v, tau)),
    "sum over pairs": lambda u, v, tau: len(u) * both(scores(u, v, tau)),
    "sign is wrong": lambda u, v, tau: -both(scores(u, v, tau)),
    "no gradient reaches": lambda u, v, tau: both(scores(u, v, tau)).detach(),
    "overflow": overflowing,
    r"one number, got shape \(5, 5\)": lambda u, v, tau: scores(u, v, tau),
    "is right": lambda u, v, tau: both(scores(u, v, tau)) + 1,
    "stopped with TypeError": lambda u: u,
}


def unit(x):
    return normalize(x, dim=-1)


CLASSES = {
    "long prompts count more": lambda u, v: unit(u) @ unit(v.mean(1)).T,
    "along the prompts": lambda u, v: unit(u) @ unit(normalize(v).mean(1)).T,
    "prompts disagree": lambda u, v: unit(u) @ unit(v).mean(1).T,
    "best prompt": lambda u, v: (unit(v) @ unit(u).T).amax(1).T,
    "no cosines": lambda u, v: u @ unit(unit(v).mean(1)).T,
    "first prompt only": lambda u, v: unit(u) @ unit(v[:, 0]).T,
    "these are probabilities": lambda u, v: (unit(u) @ unit(unit(v).mean(1)).T).softmax(-1),
    r"shape \(4, 5\), got shape \(4, 2\)": lambda u, v: unit(u) @ unit(v[:, 0]).T[:, :2],
}


SPREADS = {
    "itself too": lambda u: (-2 * torch.cdist(unit(u), unit(u)) ** 2).exp().mean().log(),
    "not of length 1": lambda u: (-2 * torch.pdist(u) ** 2).exp().mean().log(),
    "to the square": lambda u: (-2 * torch.pdist(unit(u))).exp().mean().log(),
    "factor 2": lambda u: (-(torch.pdist(unit(u)) ** 2)).exp().mean().log(),
    "logarithm of the mean": lambda u: -2 * (torch.pdist(unit(u)) ** 2).mean(),
    "logarithm is missing": lambda u: (-2 * torch.pdist(unit(u)) ** 2).exp().mean(),
    "sign is wrong": lambda u: -(-2 * torch.pdist(unit(u)) ** 2).exp().mean().log(),
    "stay in torch": lambda u: (-2 * torch.pdist(unit(u)) ** 2).exp().mean().log().item(),
    "not the sum": lambda u: (-2 * torch.pdist(unit(u)) ** 2).exp().sum().log(),
}


MISTAKES = {
    "multimodal-contrastive/clip-loss": LOSSES,
    "multimodal-contrastive/zero-shot": CLASSES,
    "multimodal-contrastive/uniformity": SPREADS,
}
