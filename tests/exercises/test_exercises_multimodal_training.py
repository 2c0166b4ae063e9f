"""The exercises on training: published solutions pass, typical mistakes get their own words."""

from __future__ import annotations

CLIPS = {
    "should stay as it is": lambda g, c: g * c / g.norm(),
    "changes the direction": lambda g, c: g.clamp(-c, c),
    "not by the sum": lambda g, c: g * min(1, c / (g**2).sum()),
    "each row is shortened": lambda g, c: g * (c / g.norm(dim=-1, keepdim=True)).clamp(max=1),
    "not cut at all": lambda g, c: g,
    "multiply by c": lambda g, c: g / g.norm().clamp(min=1),
    "is right, on a small example": lambda g, c: 0 * g,
}


WEIGHTS = {
    "should count less": lambda L, s: (s.exp() * L + s / 2).sum(),
    "without the price": lambda L, s: ((-s).exp() * L).sum(),
    "half of s": lambda L, s: ((-s).exp() * L + s).sum(),
    "for squared errors": lambda L, s: ((-s).exp() * L / 2 + s / 2).sum(),
    "this one falls": lambda L, s: ((-s).exp() * L - s / 2).sum(),
    "this is their mean": lambda L, s: ((-s).exp() * L + s / 2).mean(),
    "stay in torch": lambda L, s: (L / s.detach().exp() + s.detach() / 2).sum(),
    "not the variance": lambda L, s: (L / s + s / 2).sum(),
    r"one number, got shape \(3,\)": lambda L, s: (-s).exp() * L + s / 2,
}


MISTAKES = {
    "multimodal-training/clip": CLIPS,
    "multimodal-training/uncertainty": WEIGHTS,
}
