"""What clicks tell: a planted taste is found, coin tosses tell nothing, and the fit is the minimum."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import minimize

from mmbook.evaluate import wilson
from mmbook.feedback import Feedback, SimulatedAnnotator, collect_human_feedback, make_record
from mmbook.feedback.habits import PositionBiased
from mmbook.feedback.taste import (
    comparisons_of,
    disagreements,
    favours,
    features_of,
    fit,
    join,
    marks,
    table,
    taste,
    taste_card,
)
from mmbook.world import STYLES, say
from mmbook.world.writers import describe


def named(feedback):
    return [leaning.name for leaning in taste(feedback).leanings if leaning.clear]


def judged(speaker, reader, n, seed):
    return collect_human_feedback(speaker, n, SimulatedAnnotator(reader, seed), seed=seed)


@pytest.mark.parametrize(
    "reader, name, sign",
    [("polite", "style: polite", 1), ("terse", "(length)", -1), ("plain", "style: plain", 1)],
)
def test_two_dozen_clicks_tell_a_planted_taste(speaker, reader, name, sign):
    """Two dozen items; a reader of style ties where neither caption is in it, so fewer say something."""
    found = [taste(judged(speaker, reader, 24, seed)) for seed in range(20)]
    assert sum(bool(t.leanings) and t.leanings[0].name == name for t in found) >= 16
    for t in found:
        assert all(x.name == name and x.weight * sign > 0 for x in t.leanings[:1])


def test_coin_tosses_tell_nothing_in_most_seeds(speaker):
    assert sum(bool(named(judged(speaker, "random", n, seed))) for seed in range(20) for n in (24, 40)) <= 8


def test_features_are_styles_words_once_and_length():
    assert features_of("A cat, a DOG, don’t!", ["terse"]) == {
        "style: terse": 1, "a": 1, "cat": 1, "dog": 1, "don’t": 1, "(length)": 0.5,
    }  # fmt: skip
    assert features_of({"picture": "data:"}, ["warm"]) == {"style: warm": 1}
    assert features_of("", []) == {"(length)": 0}


def test_styles_are_read_from_captions(items):
    for item in items:
        assert all(len(words) == 1 and words[0] in STYLES for words in marks(item))
    odd = {"responses": ["no caption at all!", {"sound": "data:"}]}
    assert marks(odd) == [[], []]


def test_what_each_kind_of_label_says():
    item = {"id": "x", "responses": list("abcd"), "marks": [["m"], [], [], []]}
    pair, one = {"id": "x", "responses": ["a", "b"]}, {"id": "x", "responses": ["a"], "marks": [["m"]]}
    ((better, worse, weight),) = comparisons_of(pair, {"outcome": "label", "choice": 1})
    assert "b" in better and "a" in worse and weight == 1
    ((better, worse, weight),) = comparisons_of(one, {"outcome": "label", "edit": "z z"})
    assert better == {"z": 1, "(length)": 0.2} and worse == {"a": 1, "(length)": 0.1} and weight == 1
    full = comparisons_of(item, {"outcome": "label", "order": [2, 0, 1, 3]})
    assert [round(a, 6) for *_, a in full] == [0.333333] * 3 + [0.5] * 2 + [1]  # three choices, each weighs 1
    partial = comparisons_of(item, {"outcome": "label", "order": [2]})
    assert [a for *_, a in partial] == [1 / 3] * 3 and all("c" in b for b, *_ in partial)
    for outcome in ("tie", "both_bad", "skip"):
        assert comparisons_of(pair, {"outcome": outcome}) == []
    assert comparisons_of(one, {"outcome": "label", "rating": 4}) == []
    assert comparisons_of(one, {"outcome": "label", "edit": {"brightness": 2}}) == []


@pytest.mark.parametrize("seed", range(5))
def test_the_fit_is_the_minimum_that_scipy_finds(seed):
    rng = np.random.default_rng(seed)
    X, a = rng.normal(size=(30, 6)) * 2, rng.random(30)
    X[:, 5] = X[:, 4]  # only their sum is known
    w, error = fit(X, a)

    def loss(w):
        return a @ np.logaddexp(0, -X @ w) + w @ w / 2

    found = minimize(loss, np.zeros(6), method="BFGS", options={"gtol": 1e-10})
    assert w == pytest.approx(found.x, abs=1e-5) and loss(w) <= found.fun + 1e-12
    h, eye = 1e-4, np.eye(6)
    H = [
        [
            (loss(w + i + j) - loss(w + i - j) - loss(w - i + j) + loss(w - i - j)) / (4 * h * h)
            for i in h * eye
        ]
        for j in h * eye
    ]
    assert error == pytest.approx(np.sqrt(np.diag(np.linalg.inv(H))), rel=1e-3)


def test_choices_that_all_go_one_way_have_a_finite_weight():
    w, error = fit(np.ones((1000, 1)), np.ones(1000))
    assert 0 < w[0] < 10 and w[0] == pytest.approx(1000 / (1 + math.exp(w[0])), abs=1e-8) and error[0] < 1
    assert fit(np.zeros((0, 0)), np.zeros(0))[0].shape == (0,)


def test_what_is_said_already_does_not_join_and_what_is_new_does():
    rng = np.random.default_rng(0)
    x, y = rng.integers(-1, 2, size=(2, 200)).astype(float)
    X = np.stack([x, y], 1) * np.where(x + y + rng.logistic(size=200) / 3 > 0, 1, -1)[:, None]
    columns = np.stack([X[:, 0], X[:, 0], X[:, 1], rng.normal(size=200)], 1)
    assert sorted(join(columns, np.ones(200))) == [0, 2]


def test_candidates_are_ordered_by_kind_frequency_and_code_point():
    better = [{"style: b": 1.0, "a": 1.0, "\U00010400": 1.0, "\uff5a": 1.0, "(length)": 0.3}] * 3
    worse = [{"(length)": 0.1}] * 3
    names, X, _ = table([*zip(better, worse, [1.0] * 3, strict=True), ({"a": 1.0, "rare": 1.0}, {}, 1.0)])
    assert names == ["style: b", "(length)", "a", "\uff5a", "\U00010400"] and X.shape == (4, 5)
    many = {f"w{i:02}": 1.0 for i in range(60)}
    assert len(table([(many, {}, 1.0)] * 3)[0]) == 40


def test_the_taste_is_said_with_care_and_as_text(speaker, items, tmp_path):
    t = taste(judged(speaker, "polite", 40, 0))
    assert repr(t).startswith("Your 13 choices favour: polite (won 13 of 13)")
    t = taste(judged(speaker, "terse", 40, 0))
    assert "favour: shorter captions (won 36 of 36)" in repr(t)
    hostile = [{**i, "responses": ["<script> x", "y y y y"]} for i in items * 3]
    feedback = Feedback([], tmp_path / "log", "ann")
    feedback.append(
        [
            {
                "op": "label",
                "record": make_record({**item, "id": str(i)}, annotator="ann", outcome="label", choice=0),
            }
            for i, item in enumerate(hostile)
        ]
    )
    assert "<script" not in taste_card(feedback, lambda s, c: [0.0] * len(c))._repr_html_()
    one = Feedback(items, tmp_path / "one", "ann")
    assert repr(taste(one)) == "Your 0 choices do not tell yet what you favour."
    one.append([{"op": "label", "record": make_record(items[0], annotator="ann", outcome="label", choice=0)}])
    assert repr(taste(one)) == "Your 1 choice does not tell yet what you favour."
    one.append([{"op": "label", "record": make_record(items[1], annotator="bob", outcome="label", choice=0)}])
    assert taste(one).n == 1  # of those of its own annotator


def test_codes_of_pictures_are_no_words(speaker):
    feedback = judged(speaker, "terse", 24, 0)
    assert named(feedback) == ["(length)"]
    feedback.model = type("Painter", (), {"pictures": None})()
    assert "(length)" not in named(feedback)


def reward(scenes, captions):
    return np.array([-len(caption) / 40 for caption in captions])


def test_disagreements_are_the_choices_that_the_reward_finds_least_likely(speaker):
    feedback = judged(speaker, "detailed", 40, 1)
    everything = disagreements(feedback, reward, 1000)
    labelled = [r for r in feedback.records if r["outcome"] == "label"]
    assert len(everything) == len(labelled)
    for record, p in everything:
        better, worse = record["responses"][record["choice"]], record["responses"][1 - record["choice"]]
        assert p == pytest.approx(1 / (1 + math.exp((len(better) - len(worse)) / 40)))
    likely = [p for _, p in everything]
    assert likely == sorted(likely) and disagreements(feedback, reward) == everything[:3]
    model = type("Model", (), {"score": staticmethod(reward)})()
    assert disagreements(feedback, model) == everything[:3]
    with pytest.raises(ValueError, match="n: expected 1 or more, got 0"):
        disagreements(feedback, reward, 0)
    card = taste_card(feedback, reward)
    assert card.disagreements == tuple(everything[:3]) and f"gives that {likely[0]:.0%}" in repr(card)
    assert taste_card(feedback).disagreements == ()


def test_the_card_tells_a_side_from_chance(speaker):
    fair = taste_card(judged(speaker, "terse", 60, 1))
    assert fair.interval[0] < 0.5 < fair.interval[1] and "chance" not in repr(fair)
    biased = PositionBiased(SimulatedAnnotator("terse"), 0.7)
    card = taste_card(collect_human_feedback(speaker, 60, biased))
    k, n = card.first
    assert card.interval == wilson(k, n) and card.interval[0] > 0.5
    assert replace(card, first=(0, 0)).interval == (0, 1) and replace(card, first=(0, 5)).interval[0] == 0
    assert f"{k} of {n} choices fell on the response shown first" in repr(
        card
    ) and "than chance gives" in repr(card)


def test_labels_of_unknown_items_are_left_out():
    items = [{"id": str(i), "responses": ["a b", "c"], "marks": [[], []]} for i in range(9)]
    labels = [{"id": str(i), "outcome": "label", "choice": 0} for i in range(12)]
    found = favours(items, labels)
    assert found["n"] == 9 and found["features"][0]["with"] == found["features"][0]["won"] == 9


def test_every_style_has_its_mark():
    from mmbook.world import sample_scenes

    scene = sample_scenes(1, 0)[0]
    assert marks({"responses": [say(describe(scene, style)) for style in STYLES]}) == [[s] for s in STYLES]
