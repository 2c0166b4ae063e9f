"""The exercises beside PPO: published solutions pass, typical mistakes get their own words."""

from __future__ import annotations

import torch
from torch.nn.functional import logsigmoid


def dpo(lead):
    return lambda c, r, x, y, beta: -logsigmoid(lead(c, r, x.detach(), y.detach(), beta)).mean()


LOSSES = {
    "reference is missing": dpo(lambda c, r, x, y, beta: beta * (c - r)),
    "exchanged": dpo(lambda c, r, x, y, beta: beta * (r - y - c + x)),
    "beta is missing": dpo(lambda c, r, x, y, beta: c - x - r + y),
    "belongs inside": lambda c, r, x, y, beta: beta * dpo(lambda c, r, x, y, b: c - x - r + y)(c, r, x, y, 1),
    "minus its logarithm": lambda c, r, x, y, beta: torch.sigmoid(beta * (c - x - r + y)).mean(),
    "added, not taken off": dpo(lambda c, r, x, y, beta: beta * (c + x - r - y)),
    "not the sum": lambda c, r, x, y, beta: -logsigmoid(beta * (c - x - r + y)).sum(),
    "flow into the reference": lambda c, r, x, y, beta: -logsigmoid(beta * (c - x - r + y)).mean(),
    "no gradient reaches": lambda *a: dpo(lambda c, r, x, y, beta: beta * (c - x - r + y))(*a).detach(),
    "should be one number": lambda c, r, x, y, beta: -logsigmoid(beta * (c - x - r + y)),
    "where .* is right": lambda c, r, x, y, beta: (c - x - r + y).mean(),
    "stopped with TypeError": lambda c: c,
}


def picked(z, ids):
    return z.log_softmax(-1).gather(-1, ids[..., None])[..., 0]


RESPONSES = {
    "padding is counted": lambda z, ids, m: picked(z, ids).sum(1),
    "mean over tokens": lambda z, ids, m: (picked(z, ids) * m).sum(1) / m.sum(1),
    "EOS, is missing": lambda z, ids, m: (picked(z, ids) * torch.nn.functional.pad(m[:, 1:], (0, 1))).sum(1),
    "shifted by one": lambda z, ids, m: (picked(z[:, :-1], ids[:, 1:]) * m[:, 1:]).sum(1),
    "these are logits": lambda z, ids, m: (z.gather(-1, ids[..., None])[..., 0] * m).sum(1),
    "these are probabilities": lambda z, ids, m: (picked(z, ids) * m).sum(1).exp(),
    "stay in torch": lambda z, ids, m: (picked(z, ids) * m).sum(1).detach(),
    r"shape \(4,\), got shape \(\)": lambda z, ids, m: (picked(z, ids) * m).sum(),
}


def levels(p, R):
    return (p * (R[:, None] >= R)).sum(-1), (p * (R[:, None] > R)).sum(-1)


def fair(p, R, n):
    at_most, below = levels(p, R)
    return p * sum(below ** (j - 1) * at_most ** (n - j) for j in range(1, n + 1))


def in_order(p, R, n):
    out, order = torch.zeros_like(p), torch.argsort(R, stable=True)
    F = p[order].cumsum(0)
    out[order] = F**n - torch.cat([F.new_zeros(1), F[:-1]]) ** n
    return out


WINNERS = {
    "all n earn no more": lambda p, R, n: levels(p, R)[0] ** n,
    "whole share of their level": lambda p, R, n: levels(p, R)[0] ** n - levels(p, R)[1] ** n,
    "put in some order": in_order,
    "n, not n - 1": lambda p, R, n: fair(p, R, n - 1) if n > 1 else p,
    "the reference itself": lambda p, R, n: p,
    "not to see it win": lambda p, R, n: 1 - (1 - p) ** n,
    "with n = 1": lambda p, R, n: fair(p, R, 3),
}


MISTAKES = {
    "rlhf-beyond-ppo/dpo-loss": LOSSES,
    "rlhf-beyond-ppo/response-log-prob": RESPONSES,
    "rlhf-beyond-ppo/best-of-n": WINNERS,
}
