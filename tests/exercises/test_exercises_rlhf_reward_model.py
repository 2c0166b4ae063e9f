"""The reward-model exercises: published solutions pass, typical mistakes get their own words."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.nn.functional import logsigmoid

from mmbook.exercises import check

LOSSES = {
    "rejected caption likelier": lambda c, r, m: -logsigmoid(r - c - m).mean(),
    "margin helps": lambda c, r, m: -logsigmoid(c - r + m).mean(),
    "margin is not used": lambda c, r, m: -logsigmoid(c - r).mean(),
    "sum over pairs": lambda c, r, m: -logsigmoid(c - r - m).sum(),
    "take the logarithm": lambda c, r, m: -torch.sigmoid(c - r - m).mean(),
    "logarithm comes after": lambda c, r, m: -torch.sigmoid(c - r - m).mean().log(),
    "other way round": lambda c, r, m: logsigmoid(c - r - m).mean(),
    "use logsigmoid": lambda c, r, m: -torch.sigmoid(c - r - m).log().mean(),
    "no gradient": lambda c, r, m: -logsigmoid(c.detach() - r - m).mean(),
    "should be one number, got": lambda c, r, m: -logsigmoid(c - r - m),
    "stopped with TypeError": lambda c: c,
    "is right, on a small": lambda c, r, m: (c - r - m).mean(),
}


def tie(a: Any, b: Any, nu: float) -> Any:
    return nu * ((a + b) / 2).exp()


TIES = {
    "not arithmetic": lambda a, b, nu: nu * (a.exp() + b.exp()) / 2 / ((1 + nu / 2) * (a.exp() + b.exp())),
    "root is missing": lambda a, b, nu: nu * (a + b).exp() / (a.exp() + b.exp() + nu * (a + b).exp()),
    "missing from what you divide by": lambda a, b, nu: tie(a, b, nu) / (a.exp() + b.exp()),
    "a is preferred": lambda a, b, nu: a.exp() / (a.exp() + b.exp() + tie(a, b, nu)),
    "nu is not used": lambda a, b, nu: tie(a, b, 1) / (a.exp() + b.exp() + tie(a, b, 1)),
    "share": lambda a, b, nu: nu / (a.exp() + b.exp() + nu),
    "exp overflows": lambda a, b, nu: tie(a, b, nu) / (a.exp() + b.exp() + tie(a, b, nu)),
    r"shape \(3,\), got shape \(\)": lambda a, b, nu: 0.3,
}


def ece(p: Any, right: Any, bins: int, low: float = 0.5, weight: bool = True, how: Any = abs) -> float:
    edges = np.linspace(low, 1, bins + 1)
    place = np.clip(np.searchsorted(edges, p, side="right") - 1, 0, bins - 1)
    gaps, shares = [], []
    for b in np.unique(place):
        gaps.append(how(p[place == b].mean() - right[place == b].mean()))
        shares.append((place == b).mean() if weight else 1 / len(np.unique(place)))
    return float(np.dot(gaps, shares))


def largest(p: Any, right: Any, bins: int) -> float:
    edges = np.linspace(0.5, 1, bins + 1)[1:-1]
    place = np.searchsorted(edges, p, side="right")
    return max(abs(p[place == b].mean() - right[place == b].mean()) for b in np.unique(place))


ERRORS = {
    "every bin counts alike": lambda p, right, bins: ece(p, right, bins, weight=False),
    "largest gap": largest,
    "squared": lambda p, right, bins: ece(p, right, bins, how=lambda g: g**2),
    "from 0 to 1": lambda p, right, bins: ece(p, right, bins, low=0.0),
    "its own outcome": lambda p, right, bins: np.abs(p - right).mean(),
    "gaps cancel: cut": lambda p, right, bins: abs(p.mean() - right.mean()),
    "should be one number, got": lambda p, right, bins: None,
    "is right, on a small": lambda p, right, bins: 0.5,
}


def test_another_right_answer_passes(capsys):
    check("rlhf-reward-model/calibration-error", ece)
    assert capsys.readouterr().out == "Right.\n"


MISTAKES = {
    "rlhf-reward-model/preference-loss": LOSSES,
    "rlhf-reward-model/ties": TIES,
    "rlhf-reward-model/calibration-error": ERRORS,
}
