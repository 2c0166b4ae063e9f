"""Checkers of the chapter on feedback."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mmbook.equations import answer_entropy, cohen_kappa, information_gain, tie_probabilities
from mmbook.exercises import Mistake, exercise
from mmbook.exercises.comparing import compare
from mmbook.feedback.intervals import wilson

F64 = torch.float64


@exercise("rlhf-feedback/kappa")
def kappa(answer: Callable[..., Any]) -> None:
    """`answer(a, b)` is Cohen's kappa of two people's categories (N,)."""
    a = torch.tensor([0, 0, 0, 1, 1, 2, 0, 1, 2, 0])
    b = torch.tensor([0, 0, 1, 1, 1, 2, 0, 2, 1, 1])
    A, B = (torch.nn.functional.one_hot(x, 3).to(F64).mean(0) for x in (a, b))
    same, chance, pooled = (a == b).to(F64).mean(), A @ B, ((A + B) / 2).square().sum()
    third = torch.tensor(1 / 3, dtype=F64)
    mistakes = {
        "this is the plain share of agreement: take off what habits alone would give": same,
        "this is what habits alone would give, not how far the two are beyond it": chance,
        "divide by what is left above chance, 1 less the agreement of habits": same - chance,
        "chance is not one in three: each person has habits; multiply their shares, and add": (same - third)
        / (1 - third),
        "this takes the habits of both together, as Scott's pi does; multiply a's shares with b's": (
            same - pooled
        )
        / (1 - pooled),
        "you divide by chance itself: divide by 1 less chance": (same - chance) / chance,
    }
    compare(_number(answer(a, b)), cohen_kappa(a, b), mistakes)
    c, d = torch.tensor([0, 1, 0, 1, 0]), torch.tensor([1, 0, 1, 0, 0])
    if not torch.allclose(torch.as_tensor(_number(answer(c, d))).to(F64), cohen_kappa(c, d)):
        raise Mistake("kappa is below 0 where people agree less than their habits would")
    d = torch.tensor([1, 0, 2, 0, 0])  # 2 is said by one of them only
    for x, y in ((c, d), (d, c), (2 * c, 2 * d)):
        if not torch.allclose(torch.as_tensor(_number(answer(x, y))).to(F64), cohen_kappa(x, y)):
            raise Mistake("a category may be said by one person only, or by nobody")


@exercise("rlhf-feedback/side")
def side(answer: Callable[..., Any]) -> None:
    """`answer(k, n)` is the 95 % Wilson interval (low, high) of a share, k of n."""
    k, n, z = 17, 20, 1.959964
    p = k / n

    def around(middle: float, half: float) -> Tensor:
        return torch.tensor([middle - half, middle + half], dtype=F64)

    wald = (p * (1 - p) / n) ** 0.5
    centre, spread = (k + z * z / 2) / (n + z * z), (k * (n - k) / n + z * z / 4) ** 0.5 / (n + z * z)
    mistakes = {
        "this is the interval p ± z √(p (1 - p) / n): it reaches beyond 1 for extreme shares, and has no "
        "width at all for n of n; use Wilson's": around(p, z * wald),
        "this is one standard error: multiply it by 1.96 for 95 %": around(centre, spread),
        "1.64 standard errors hold 90 %; 95 % need 1.96": around(
            (k + 1.645**2 / 2) / (n + 1.645**2),
            1.645 * (k * (n - k) / n + 1.645**2 / 4) ** 0.5 / (n + 1.645**2),
        ),
        "the middle is drawn towards one half: (k + z²/2) / (n + z²)": around(p, z * spread),
        "these are counts: divide by n": n * torch.tensor(wilson(k, n), dtype=F64),
        "low comes first, then high": torch.tensor(wilson(k, n)[::-1], dtype=F64),
    }
    compare(_pair(answer(k, n)), torch.tensor(wilson(k, n), dtype=F64), mistakes, rtol=1e-3)
    for all_or_none in (20, 0):
        low, high = wilson(all_or_none, 20)
        found = _pair(answer(all_or_none, 20))
        if not torch.allclose(found, torch.tensor([low, high], dtype=F64), rtol=1e-3, atol=1e-6):
            says = f"{all_or_none} of 20 choices have the interval {low:.2f} to {high:.2f}"
            raise Mistake(f"{says}, got {found.tolist()}")


@exercise("rlhf-feedback/gain")
def gain(answer: Callable[..., Any]) -> None:
    """`answer(p)` is the information gain (N,) of questions, for probabilities p (K, N, C)."""
    p = torch.tensor([[[0.5, 0.5], [0.9, 0.1], [0.7, 0.3]], [[0.5, 0.5], [0.2, 0.8], [0.6, 0.4]]], dtype=F64)
    mean, each = answer_entropy(p), torch.stack([answer_entropy(q[None]) for q in p]).mean(0)
    right = information_gain(p)
    mistakes = {
        "this is the entropy of the mean prediction: it is largest where all agree that nobody knows; take "
        "the mean entropy of the models off": mean,
        "this is the mean of the models' entropies, how undecided each of them is; take it off the entropy "
        "of their mean": each,
        "the sign is the other way round: entropy of the mean less mean of the entropies": -right,
        "you count in bits; the equation counts in nats, so use the natural logarithm": right
        / torch.tensor(2.0).log(),
        "you average over the answers: add them up": right / 2,
        "you add over the models: take their mean": mean - 2 * each,
        "this is the variance of the first answer's probability": p[..., 0].var(0, correction=0),
    }
    compare(answer(p), right, mistakes)
    opposite = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]], dtype=F64)
    sure = torch.as_tensor(answer(opposite)).to(F64)
    if not torch.isfinite(sure).all():
        raise Mistake("a model that is sure gives 0 log 0, which is 0 and not NaN; use torch.xlogy(p, p)")
    if not torch.allclose(sure, information_gain(opposite), rtol=1e-4):
        raise Mistake("two models that are sure of opposite answers disagree by log 2: only 0 log 0 is 0")


@exercise("rlhf-feedback/tie-entropy")
def tie_entropy(answer: Callable[..., Any]) -> None:
    """`answer(d, nu)` is the entropy (N,) of the three answers to pairs with lead d (N,)."""
    d, nu = torch.tensor([0.0, 0.5, -3.0], dtype=F64), 6.0
    zero = torch.zeros_like(d)
    p = tie_probabilities(d, zero, nu)
    two = torch.stack([torch.sigmoid(d), torch.sigmoid(-d)], -1)
    flat = torch.stack([d.exp(), zero + 1, zero + nu], -1)
    flat = flat / flat.sum(-1, keepdim=True)
    missing = -torch.xlogy(p[:, :2], p[:, :2]).sum(-1)
    mistakes = {
        "a tie is an answer too: this is the entropy of the two choices alone": answer_entropy(two[None]),
        "the tie's own term is missing from the sum": missing,
        "the tie's strength is nu times exp(d / 2), the root of the two strengths' product": answer_entropy(
            flat[None]
        ),
        "the sign is the other way round: an entropy is never negative": -answer_entropy(p[None]),
        "you count in bits; use the natural logarithm": answer_entropy(p[None]) / torch.tensor(2.0).log(),
        "nu is not used": answer_entropy(tie_probabilities(d, zero, 1.0)[None]),
    }
    compare(answer(d, nu), answer_entropy(p[None]), mistakes)
    far = torch.as_tensor(answer(torch.tensor([900.0, -900.0], dtype=F64), nu)).to(F64)
    if not torch.isfinite(far).all():
        raise Mistake("with a lead of 900 exp overflows: divide by the tie's strength, or use log_softmax")
    if not torch.allclose(far, torch.zeros_like(far), atol=1e-6):
        raise Mistake(f"with a lead of 900 the answer is certain, and the entropy 0, got {far.tolist()}")


@exercise("rlhf-feedback/vote")
def vote(answer: Callable[..., Any]) -> None:
    """`answer(y, q)` is the probability (N,) that 1 is right: y (M, N) answers, q (M,) reliabilities."""
    y = torch.tensor([[1, 0, 1, 0], [0, 0, 1, 1], [0, 1, 1, 1]])
    q = torch.tensor([0.95, 0.6, 0.55], dtype=F64)
    sign, odds = (2 * y - 1).to(F64), torch.log(q / (1 - q))
    likely = [torch.where(y == k, q[:, None], 1 - q[:, None]).prod(0) for k in (1, 0)]
    mistakes = {
        "every voice counts alike: weigh each by the log odds of its reliability": y.to(F64).mean(0),
        "this is the answer, not its probability": (odds @ sign > 0).to(F64),
        "you weigh by the reliability itself: somebody at 1/2 would still be heard; weigh by its log odds": (
            q @ y.to(F64)
        )
        / q.sum(),
        "this is the likelihood of the answers if 1 is right: divide by the sum over both cases": likely[0],
        "this is the probability that 0 is right": torch.sigmoid(-(odds @ sign)),
        "these are log odds: turn them into a probability with the logistic function": odds @ sign,
        "an answer 0 speaks against 1: count it as -1": torch.sigmoid(odds @ y.to(F64)),
    }
    compare(answer(y, q), likely[0] / (likely[0] + likely[1]), mistakes)
    one, liar = torch.tensor([[1]]), torch.tensor([0.1], dtype=F64)
    if not torch.allclose(torch.as_tensor(answer(one, liar)).to(F64), liar):
        raise Mistake(
            "a reader who is right one time in ten tells as much as one who is right nine times: believe the "
            "opposite"
        )


def _number(got: Any) -> Any:
    return got if got is None else torch.as_tensor(got, dtype=F64)


def _pair(got: Any) -> Tensor:
    found = torch.as_tensor(got, dtype=F64) if got is not None else torch.tensor(torch.nan)
    if found.shape != (2,):
        raise Mistake(f"give two numbers, low and high, got {got!r}")
    return found
