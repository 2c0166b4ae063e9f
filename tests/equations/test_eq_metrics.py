"""F1, IoU, BLEU, ROUGE-L, chrF, ratings and sample sizes: against slow loops and the kept libraries."""

from __future__ import annotations

import math
import random
from itertools import combinations

import numpy as np
import pytest
import torch
from hostile import MARKUP, OTHER_TOOLS
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics import BLEU, CHRF
from scipy.optimize import minimize
from scipy.stats import norm

from mmbook.equations import (
    bleu,
    chrf,
    clipped_matches,
    f1_score,
    iou,
    preference_probability,
    rating_step,
    rouge_l,
    sample_size,
)
from mmbook.world import careless_captions, describe, sample_scenes, say

F64 = torch.float64


def confusion(seed: int, n: int = 200, classes: int = 5) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.integers(classes, size=n), rng.integers(classes, size=n)


def counted(said: np.ndarray, true: np.ndarray, classes: int = 5) -> list[torch.Tensor]:
    hits = [
        [(said == k) & (true == k), (said == k) & (true != k), (said != k) & (true == k)]
        for k in range(classes)
    ]
    return [torch.tensor([int(row[i].sum()) for row in hits]) for i in range(3)]


def test_f1_is_the_harmonic_mean_of_precision_and_recall() -> None:
    said, true = confusion(0)
    TP, FP, FN = counted(said, true)
    for got, tp, fp, fn in zip(f1_score(TP, FP, FN), TP.tolist(), FP.tolist(), FN.tolist(), strict=True):
        precision, recall = tp / (tp + fp), tp / (tp + fn)
        assert got.item() == pytest.approx(2 / (1 / precision + 1 / recall))
    none = torch.tensor([0])
    assert f1_score(none, none, none).item() == 0 and f1_score(none, none + 3, none).item() == 0
    with pytest.raises(ValueError, match="FN: expected shape"):
        f1_score(TP, FP, FN[:2])


@pytest.mark.parametrize("seed", range(5))
def test_micro_f1_is_accuracy(seed: int) -> None:
    """Checks id:micro-f1: where each item has one class, said and true."""
    said, true = confusion(seed)
    TP, FP, FN = counted(said, true)
    assert f1_score(TP.sum(), FP.sum(), FN.sum()).item() == pytest.approx((said == true).mean())
    assert f1_score(TP, FP, FN).mean().item() != pytest.approx((said == true).mean(), abs=1e-6)


def test_iou_equals_sets_and_moves_with_f1() -> None:
    """Checks id:f1-iou: F1 of one class is 2 IoU / (1 + IoU)."""
    rng = np.random.default_rng(0)
    A, B = torch.tensor(rng.random((50, 30)) < 0.3), torch.tensor(rng.random((50, 30)) < 0.4)
    got = iou(A, B)
    for a, b, value in zip(A, B, got, strict=True):
        a, b = set(a.nonzero().flatten().tolist()), set(b.nonzero().flatten().tolist())
        assert value.item() == pytest.approx(len(a & b) / len(a | b))
    f1 = f1_score((A & B).sum(-1), (A & ~B).sum(-1), (~A & B).sum(-1))
    torch.testing.assert_close(f1, 2 * got / (1 + got))
    nothing = torch.zeros(4)
    assert iou(nothing, nothing).item() == 0 and iou(A[0], A[0]).item() == 1
    with pytest.raises(ValueError, match="B: expected shape"):
        iou(A, B[:, :3])


def texts() -> list[tuple[str, list[str]]]:
    """Captions with errors beside true ones, and hostile strings beside each other."""
    scenes = sample_scenes(40, seed=4)
    said = careless_captions(scenes, np.random.default_rng(4))
    real = [
        (c, [say(describe(s, style)) for style in ("plain", "rambling", "detailed")])
        for c, s in zip(said, scenes, strict=True)
    ]
    odd = ["", " ", "a", "a a a a a a", "猫と犬。", "🐱🐶 🐱", "e\u0301 é", "\x00 \t\n x"]
    odd += MARKUP + OTHER_TOOLS
    draw = random.Random(0)
    return real + [(x, draw.sample(odd, 3)) for x in odd] + [(x, [x, x, x]) for x in odd]


def split(text: str) -> list[str]:
    return text.split()


def own_bleu(pairs: list[tuple[str, list[str]]]) -> float:
    m, h, c, r = [0] * 4, [0] * 4, 0, 0
    for y, references in pairs:
        words, others = split(y), [split(x) for x in references]
        for n in range(1, 5):
            m[n - 1] += clipped_matches(words, others, n)
            h[n - 1] += max(0, len(words) - n + 1)
        c += len(words)
        r += min((abs(len(words) - len(x)), len(x)) for x in others)[1]
    return bleu(m, h, c, r)


def test_bleu_equals_sacrebleu_on_captions_and_hostile_strings() -> None:
    theirs = BLEU(tokenize="none", smooth_method="none", force=True)
    for pairs in (texts(), texts()[:40], texts()[40:], texts()[3:5], texts()[10:11]):
        streams = [[references[i] for _, references in pairs] for i in range(3)]
        assert 100 * own_bleu(pairs) == pytest.approx(
            theirs.corpus_score([y for y, _ in pairs], streams).score
        )


def test_bleu_by_hand() -> None:
    y, r = split("the the the the the the the"), split("the cat is on the mat")
    assert clipped_matches(y, [r], 1) == 2  # Papineni's example: 2 of 7, not 7 of 7
    assert clipped_matches(y, [r, ["the"] * 3], 1) == 3
    assert bleu([2, 1], [4, 2], 4, 4) == pytest.approx(0.5)
    assert bleu([2, 1], [4, 2], 4, 8) == pytest.approx(0.5 * math.exp(-1))  # too short
    assert bleu([2, 1], [4, 2], 8, 4) == pytest.approx(0.5)  # too long is not fined here
    assert bleu([2, 0], [4, 2], 4, 4) == 0 and bleu([0], [0], 0, 5) == 0
    with pytest.raises(ValueError, match="m, h: expected one number each"):
        bleu([1], [2, 3], 1, 1)
    with pytest.raises(ValueError, match="R: expected a reference"):
        clipped_matches(y, [], 1)


class Split:
    def tokenize(self, text: str) -> list[str]:
        return split(text)


def test_rouge_l_equals_rouge_score_and_the_slow_way() -> None:
    theirs = RougeScorer(["rougeL"], tokenizer=Split())
    for y, references in texts():
        for r in references:
            want = theirs.score(r, y)["rougeL"].fmeasure
            assert rouge_l(split(y), split(r)) == pytest.approx(want), (y, r)
    y, r = split("a b c d e"), split("e a x c")
    longest = max(k for k in range(5) for s in combinations(y, k) if s in set(combinations(r, k)))
    assert rouge_l(y, r) == pytest.approx(2 * longest / 9)
    assert rouge_l([], []) == 0 and rouge_l(r, r) == 1


def test_chrf_equals_sacrebleu_on_captions_and_hostile_strings() -> None:
    for N, beta in ((6, 2), (3, 1)):
        theirs = CHRF(char_order=N, beta=beta)
        for y, references in texts():
            for r in references:
                want = theirs.sentence_score(y, [r]).score
                assert 100 * chrf(y, r, N, beta) == pytest.approx(want), (y, r)


def wins(seed: int, M: int = 4) -> torch.Tensor:
    W = torch.tensor(np.random.default_rng(seed).integers(1, 30, (M, M)), dtype=F64)
    return W.fill_diagonal_(0)


def climbed(W: torch.Tensor, steps: int = 2000) -> torch.Tensor:
    s = torch.ones(len(W), dtype=F64)
    for _ in range(steps):
        s = rating_step(W, s)
    return s


@pytest.mark.parametrize("seed", range(3))
def test_ratings_are_the_most_likely_ones(seed: int) -> None:
    W = wins(seed)

    def cost(R: np.ndarray) -> float:
        R = torch.tensor(R)
        return -(W * preference_probability(R[:, None].expand(4, 4), R[None].expand(4, 4)).log()).sum().item()

    R = climbed(W).log()
    best = minimize(cost, np.zeros(4), tol=1e-12).x
    np.testing.assert_allclose(R, best - best.mean(), atol=1e-4)
    assert R.mean().abs() < 1e-9


def test_each_step_climbs() -> None:
    W, s = wins(7), torch.ones(4, dtype=F64)
    likelihood = []
    for _ in range(20):
        likelihood.append((W * (s[:, None] / (s[:, None] + s[None])).log()).sum().item())
        s = rating_step(W, s)
    assert np.all(np.diff(likelihood) > -1e-9) and likelihood[-1] > likelihood[0]
    with pytest.raises(ValueError, match="a row and a column for each of 3 models"):
        rating_step(W, s[:3])


def test_two_ratings_are_a_win_rate() -> None:
    """Checks id:two-ratings: the lead of one of two models is the log odds of its win rate."""
    for k, n in ((12, 20), (3, 40), (7.5, 10)):
        s = climbed(torch.tensor([[0, k], [n - k, 0]], dtype=F64))
        assert (s[0] / s[1]).log().item() == pytest.approx(math.log(k / n / (1 - k / n)))


def test_the_sample_size_has_the_power_that_it_promises() -> None:
    rng = np.random.default_rng(0)
    for p, power in ((0.55, 0.8), (0.6, 0.9), (0.42, 0.95)):
        n = math.ceil(sample_size(p, 0.5, norm.isf(0.025), norm.isf(1 - power)))
        k = rng.binomial(n, p, 20000)
        seen = np.abs(k / n - 0.5) > norm.isf(0.025) * math.sqrt(0.25 / n)
        assert seen.mean() == pytest.approx(power, abs=0.02)
    assert round(sample_size(0.55, 0.5)) == 783
    for wrong in ((0.5, 0.5), (0.0, 0.5), (0.6, 1.2)):
        with pytest.raises(ValueError, match="p, p_0: expected two shares that differ"):
            sample_size(*wrong)
