"""The kept libraries, as captions are put to them: equal to the equations, and to sums over a test set."""

from __future__ import annotations

import numpy as np
import pytest

from mmbook.equations import bleu, chrf, clipped_matches, rouge_l
from mmbook.evaluate.text_metrics import METRICS, caption_scores, corpus_scores, ranked_right
from mmbook.world import careless_captions, describe, normalise, sample_scenes, say


def texts(n: int = 30) -> tuple[list[str], list[list[str]]]:
    scenes = sample_scenes(n, seed=4)
    said = careless_captions(scenes, np.random.default_rng(4))
    return said, [[say(describe(s, style)) for style in ("plain", "rambling")] for s in scenes]


def test_captions_score_what_the_equations_say() -> None:
    said, told = texts()
    found = caption_scores(said, told)
    assert tuple(found) == METRICS
    for i, (y, r) in enumerate(zip(said, told, strict=True)):
        words, others = normalise(y).split(), [normalise(x).split() for x in r]
        assert found["ROUGE-L"][i] == pytest.approx(max(rouge_l(words, x) for x in others))
        assert found["chrF"][i] == pytest.approx(max(chrf(normalise(y), normalise(x)) for x in r))
        m = [clipped_matches(words, others, n) for n in (1, 2, 3, 4)]
        if min(m) and len(words) >= 4:
            closest = min((abs(len(words) - len(x)), len(x)) for x in others)[1]
            h = [len(words) - n + 1 for n in (1, 2, 3, 4)]
            assert found["BLEU"][i] == pytest.approx(bleu(m, h, len(words), closest))


def test_a_test_set_has_sums_not_means() -> None:
    said, told = texts()
    whole, each = corpus_scores(said, told), caption_scores(said, told)
    assert whole["ROUGE-L"] == pytest.approx(each["ROUGE-L"].mean())
    rows = [
        (normalise(y).split(), [normalise(x).split() for x in r]) for y, r in zip(said, told, strict=True)
    ]
    m = [sum(clipped_matches(y, r, n) for y, r in rows) for n in (1, 2, 3, 4)]
    h = [sum(max(0, len(y) - n + 1) for y, _ in rows) for n in (1, 2, 3, 4)]
    r = sum(min((abs(len(y) - len(x)), len(x)) for x in r)[1] for y, r in rows)
    assert whole["BLEU"] == pytest.approx(bleu(m, h, sum(len(y) for y, _ in rows), r))
    assert abs(whole["BLEU"] - each["BLEU"].mean()) > 0.001
    perfect = corpus_scores([r[0] for r in told], told)
    assert perfect == pytest.approx(dict.fromkeys(METRICS, 1.0))
    assert corpus_scores(["rocket!"], [["a cat."]])["BLEU"] == 0


def test_blanks_and_case_do_not_matter() -> None:
    a, b = ([["a cat and a dog."]], [["A cat  and a dog ."]])
    assert corpus_scores(["A CAT and a dog ."], a) == corpus_scores(["a cat and a dog."], b)


def test_missing_references_are_refused() -> None:
    for said, told in ((["a"], []), ([], []), (["a"], [[]]), (["a", "b"], [["a"], ["a", "b"]])):
        for score in (caption_scores, corpus_scores):
            with pytest.raises(ValueError, match="references: expected as many lists as captions"):
                score(said, told)


def test_ranked_right_counts_all_pairs() -> None:
    rng = np.random.default_rng(0)
    x, right = rng.integers(6, size=50), rng.random(50) < 0.4
    pairs = [(a > b) + 0.5 * (a == b) for a in x[right] for b in x[~right]]
    assert ranked_right(x, right) == pytest.approx(np.mean(pairs))
    assert ranked_right(right, right) == 1 and ranked_right(-1.0 * right, right) == 0
    with pytest.raises(ValueError, match="right: expected some of"):
        ranked_right(x, right[:3])
