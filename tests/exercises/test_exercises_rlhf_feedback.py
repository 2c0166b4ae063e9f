"""The feedback exercises: published solutions pass, typical mistakes get their own words."""

from __future__ import annotations

from typing import Any

import torch


def shares(x: Any) -> Any:
    return torch.bincount(x, minlength=3).double() / len(x)


def same(a: Any, b: Any) -> Any:
    return (a == b).double().mean()


def entropy(p: Any) -> Any:
    return -torch.xlogy(p, p).sum(-1)


def three(d: Any, nu: float) -> Any:
    p = torch.stack([(d / 2).exp(), (-d / 2).exp(), torch.full_like(d, nu)], -1)
    return p / p.sum(-1, keepdim=True)


def two(d: Any) -> Any:
    return torch.stack([d.sigmoid(), (-d).sigmoid()], -1)


def unsafe(d: Any, nu: float) -> Any:
    p = torch.stack([d.exp(), d * 0 + 1, nu * (d / 2).exp()], -1)
    return p / p.sum(-1, keepdim=True)


def pi(a: Any, b: Any) -> Any:
    return 1 - (1 - same(a, b)) / (1 - shares(torch.cat([a, b])).square().sum())


def kappa_of(a: Any, b: Any) -> Any:
    chance = shares(a) @ shares(b)
    return (same(a, b) - chance) / (1 - chance)


def odds(q: Any) -> Any:
    return (q / (1 - q)).log()


def signs(y: Any) -> Any:
    return (2 * y - 1).double()


def wald(k: int, n: int) -> tuple[float, float]:
    p = k / n
    return p - 1.96 * (p * (1 - p) / n) ** 0.5, p + 1.96 * (p * (1 - p) / n) ** 0.5


def score(k: int, n: int, z: float = 1.96, half: float = 1.0) -> tuple[float, float]:
    middle, spread = (k + z * z / 2) / (n + z * z), z * (k * (n - k) / n + z * z / 4) ** 0.5 / (n + z * z)
    return middle - half * spread, middle + half * spread


MISTAKES: dict[str, dict[str, Any]] = {
    "rlhf-feedback/kappa": {
        "plain share": same,
        "this is what habits alone": lambda a, b: shares(a) @ shares(b),
        "what is left above chance": lambda a, b: same(a, b) - shares(a) @ shares(b),
        "not one in three": lambda a, b: (same(a, b) - 1 / 3) / (1 - 1 / 3),
        "Scott's pi": pi,
        "divide by chance itself": lambda a, b: same(a, b) / (shares(a) @ shares(b)) - 1,
        "one number": lambda a, b: None,
        "is right, on a small": lambda a, b: 0.123,
        "below 0": lambda a, b: max(0.0, float(kappa_of(a, b))),
        "by one person only": lambda a, b: kappa_of(a.clamp(max=a.max()), b.clamp(max=a.max())),
    },
    "rlhf-feedback/side": {
        "use Wilson's": wald,
        "one standard error": lambda k, n: score(k, n, half=1 / 1.96),
        "hold 90 %": lambda k, n: score(k, n, z=1.645),
        "drawn towards one half": lambda k, n: [x + k / n - sum(score(k, n)) / 2 for x in score(k, n)],
        "divide by n": lambda k, n: tuple(n * x for x in score(k, n)),
        "low comes first": lambda k, n: score(k, n)[::-1],
        "two numbers": lambda k, n: k / n,
        "^20 of 20": lambda k, n: score(k, n) if k < n else (1.0, 1.0),
        "^0 of 20": lambda k, n: score(k, n) if k else (0.0, 0.0),
    },
    "rlhf-feedback/gain": {
        "nobody knows": lambda p: entropy(p.mean(0)),
        "how undecided each": lambda p: entropy(p).mean(0),
        "other way round": lambda p: entropy(p).mean(0) - entropy(p.mean(0)),
        "in bits": lambda p: (entropy(p.mean(0)) - entropy(p).mean(0)) / torch.tensor(2.0).log(),
        "average over the answers": lambda p: (entropy(p.mean(0)) - entropy(p).mean(0)) / p.shape[-1],
        "add over the models": lambda p: entropy(p.mean(0)) - entropy(p).sum(0),
        "variance": lambda p: p[..., 0].var(0, correction=0),
        "xlogy": lambda p: -(p.mean(0) * p.mean(0).log()).sum(-1) + (p * p.log()).sum(-1).mean(0),
        "only 0 log 0": lambda p: (
            (entropy(p.mean(0)) - entropy(p).mean(0)) * ((p > 0) & (p < 1)).all(-1).all(0)
        ),
    },
    "rlhf-feedback/tie-entropy": {
        "is certain": lambda d, nu: entropy(three(d.clamp(-3, 3), nu)),
        "two choices alone": lambda d, nu: entropy(two(d)),
        "own term is missing": lambda d, nu: entropy(three(d, nu)[:, :2]),
        "root of the two": lambda d, nu: entropy(
            torch.stack([d.exp(), d * 0 + 1, d * 0 + nu], -1) / (d.exp() + 1 + nu)[:, None]
        ),
        "never negative": lambda d, nu: -entropy(three(d, nu)),
        "in bits": lambda d, nu: entropy(three(d, nu)) / torch.tensor(2.0).log(),
        "nu is not used": lambda d, nu: entropy(three(d, 1.0)),
        "exp overflows": lambda d, nu: entropy(unsafe(d, nu)),
    },
    "rlhf-feedback/vote": {
        "counts alike": lambda y, q: y.double().mean(0),
        "not its probability": lambda y, q: (odds(q) @ signs(y) > 0).double(),
        "reliability itself": lambda y, q: q @ y.double() / q.sum(),
        "sum over both cases": lambda y, q: torch.where(y == 1, q[:, None], 1 - q[:, None]).prod(0),
        "0 is right": lambda y, q: (-odds(q) @ signs(y)).sigmoid(),
        "these are log odds": lambda y, q: odds(q) @ signs(y),
        "count it as -1": lambda y, q: (odds(q) @ y.double()).sigmoid(),
        "believe the opposite": lambda y, q: (odds(q.clamp(min=0.5)) @ signs(y)).sigmoid(),
    },
}
