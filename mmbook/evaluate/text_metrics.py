"""BLEU, ROUGE-L and chrF of captions beside references, from sacrebleu and rouge-score."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mmbook.world import normalise

METRICS = ("BLEU", "ROUGE-L", "chrF")


class _Words:
    """How rouge-score is to cut a text: as the captions of this book are cut."""

    def tokenize(self, text: str) -> list[str]:
        return normalise(text).split()


def _checked(
    captions: Sequence[str], references: Sequence[Sequence[str]]
) -> tuple[list[str], list[list[str]]]:
    """Captions and references, cut into words that a blank separates."""
    some = {len(r) for r in references}
    if not len(captions) or len(captions) != len(references) or len(some) != 1 or 0 in some:
        raise ValueError(
            "references: expected as many lists as captions, one or more, with equally many references each, "
            f"got {len(references)} lists of {sorted(some)} for {len(captions)} captions"
        )
    return [normalise(c) for c in captions], [[normalise(x) for x in r] for r in references]


def caption_scores(captions: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, np.ndarray]:
    """`METRICS` of each caption (n,), 0 to 1, beside its own references.

    BLEU of one caption is smoothed as sacrebleu does by default: the first n-gram without a match counts as
    half a match, the next as a quarter. Raises ValueError for other numbers of references.
    Source: {cite}`post2018bleu`, {cite}`lin2004rouge`, {cite}`popovic2015chrf`.
    """
    from rouge_score.rouge_scorer import RougeScorer  # slow to import
    from sacrebleu.metrics import BLEU, CHRF

    said, told = _checked(captions, references)
    bleu, letters = BLEU(tokenize="none", effective_order=True), CHRF()
    rouge = RougeScorer(["rougeL"], tokenizer=_Words())
    rows = [
        (
            bleu.sentence_score(y, r).score / 100,
            rouge.score_multi(r, y)["rougeL"].fmeasure,
            letters.sentence_score(y, r).score / 100,
        )
        for y, r in zip(said, told, strict=True)
    ]
    return dict(zip(METRICS, np.array(rows).T, strict=True))


def corpus_scores(captions: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, float]:
    """`METRICS` of a whole test set, 0 to 1: BLEU and chrF of summed counts, ROUGE-L as the mean.

    BLEU is not smoothed. Raises ValueError for other numbers of references.
    """
    from sacrebleu.metrics import BLEU, CHRF

    said, told = _checked(captions, references)
    streams: list[Any] = [list(x) for x in zip(*told, strict=True)]
    bleu = BLEU(tokenize="none", smooth_method="none", force=True)
    return {
        "BLEU": bleu.corpus_score(said, streams).score / 100,
        "ROUGE-L": float(caption_scores(captions, references)["ROUGE-L"].mean()),
        "chrF": CHRF().corpus_score(said, streams).score / 100,
    }


def ranked_right(x: np.ndarray, right: np.ndarray) -> float:
    """How often a right answer scores above a wrong one, equal scores counting half: the area under ROC.

    x (n,) are scores, right (n,) is true or false. Raises ValueError where all answers are right, or none.
    """
    from scipy.stats import rankdata

    x, right = np.asarray(x, float), np.asarray(right, bool)
    if x.shape != right.shape or right.all() or not right.any():
        raise ValueError(f"right: expected some of {x.shape} right and some wrong, got {right.sum()} right")
    n = right.sum()
    return float((rankdata(x)[right].sum() - n * (n + 1) / 2) / (n * (len(x) - n)))
