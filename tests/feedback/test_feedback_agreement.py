"""Agreement, side, time: counted by hand, and with readers whose habits are known."""

import math

import krippendorff
import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from mmbook.feedback import SimulatedAnnotator, make_record
from mmbook.feedback.agreement import (
    answers,
    first_shown,
    gold,
    question,
    self_agreement,
    unusual_times,
)
from mmbook.feedback.items import make_items
from mmbook.world import Scene, normalise


def said(item, who, choice, **more):
    outcome = {"choice": choice, "outcome": "label"} if choice in (0, 1) else {"outcome": choice}
    return make_record(item, annotator=who, **outcome, **more)


def turned(item):
    """The same question with its responses the other way round."""
    return item | {"id": item["id"] + "-again", "responses": item["responses"][::-1]}


def test_a_question_is_the_same_in_another_order(items):
    first, again = said(items[0], "ann", 0), said(turned(items[0]), "ann", 1)
    assert question(first) == question(again) != question(said(items[1], "ann", 0))
    assert self_agreement([first, again]) == {"ann": (1, 1)}
    assert self_agreement([first, said(turned(items[0]), "ann", 0)]) == {"ann": (0, 1)}


def test_the_table_holds_first_answers(items):
    records = [said(item, "ann", 0) for item in items] + [said(turned(item), "bob", 1) for item in items[:4]]
    records += [said(items[0], "bob", "tie"), said(items[5], "bob", "skip")]
    table = answers(records)
    assert table.people == ("ann", "bob") and table.overlap == 4
    assert table.m.sum(1).tolist() == [6, 4] and (table.x[0] == table.x[1])[table.m[1].bool()].all()
    assert table.alpha() == pytest.approx(1) and table.kappa() == {("ann", "bob"): pytest.approx(1)}


def test_agreement_of_four_answers_by_hand(items):
    """Two people, four questions, three alike: 1 - 7 * 2 / (2 * 5 * 3) for alpha with 3 and 5 answers."""
    by_text = [sorted(range(2), key=lambda i: normalise(item["responses"][i])) for item in items]
    pick = [by_text[i] for i in range(4)]
    records = [said(items[i], "ann", pick[i][v]) for i, v in enumerate((0, 0, 1, 1))]
    records += [said(items[i], "bob", pick[i][v]) for i, v in enumerate((0, 1, 1, 1))]
    table = answers(records)
    assert table.alpha() == pytest.approx(1 - 7 * 2 / (2 * 5 * 3))
    assert table.kappa()["ann", "bob"] == pytest.approx((0.75 - 0.5) / 0.5)
    assert table.fleiss() == pytest.approx((0.75 - 34 / 64) / (1 - 34 / 64))


def test_ratings_have_levels(speaker):
    items = make_items(speaker, 40, seed=1, kind="rating")
    rng = np.random.default_rng(0)
    worth = rng.integers(2, 5, size=40)
    near = [
        make_record(x, annotator="ann", outcome="label", rating=int(w))
        for x, w in zip(items, worth, strict=True)
    ]
    near += [
        make_record(x, annotator="bob", outcome="label", rating=int(w + rng.integers(-1, 2)))
        for x, w in zip(items, worth, strict=True)
    ]
    table = answers(near, "rating")
    assert table.alpha("nominal") < table.alpha("interval") < 1
    low, high = table.interval(lambda t: t.alpha("interval"), draws=200)
    assert low < table.alpha("interval") < high
    assert (low, high) == table.interval(lambda t: t.alpha("interval"), draws=200)


def test_other_libraries_find_the_same_in_the_same_records(speaker):
    """Three people answer most of 40 questions, one of them with the responses the other way round."""
    items, rng = make_items(speaker, 40, seed=4), np.random.default_rng(0)
    kinds, given, records = [0, 1, "tie", "both_bad"], np.full((3, 40), np.nan), []
    for who, name in enumerate(("ann", "bob", "cy")):
        for i, item in enumerate(items):
            if rng.random() < 0.8:
                value = int(rng.integers(4))
                given[who, i] = value
                choice = kinds[value]
                if name == "bob":
                    item, choice = turned(item), 1 - choice if value < 2 else choice
                records.append(said(item, name, choice))
    table = answers(records)
    first = np.array([normalise(x["responses"][0]) > normalise(x["responses"][1]) for x in items])
    by_text = np.where(given < 2, np.abs(given - (1 - first)), given)  # as in `answers`: by the texts
    assert table.alpha() == pytest.approx(krippendorff.alpha(by_text, level_of_measurement="nominal"))
    for (a, b), kappa in table.kappa().items():
        rows = by_text[[("ann", "bob", "cy").index(name) for name in (a, b)]]
        rows = rows[:, ~np.isnan(rows).any(0)]
        assert kappa == pytest.approx(cohen_kappa_score(*rows.astype(int)))


def test_skips_pictures_sounds_and_imports(speaker, items):
    rated = make_items(speaker, 2, seed=1, kind="rating")
    skipped = [make_record(x, annotator="ann", outcome="skip") for x in (*rated, items[0])]
    assert self_agreement(skipped) == {} == first_shown(skipped)
    uri = "data:image/png;base64,AAAA"
    base = {k: v for k, v in items[0].items() if k != "scene"} | {"image": None}
    drawn = base | {"responses": [{"picture": uri}, {"picture": uri + "BBBB"}]}
    assert question(said(drawn, "ann", 0)) == question(said(turned(drawn), "ann", 0))
    assert question(said(drawn, "ann", 0)) != question(said(drawn | {"image": uri}, "ann", 0))
    heard = base | {"responses": [{"sound": uri}, {"sound": uri + "BBBB"}]}
    records = [said(x, who, 0) for x in (drawn, heard) for who in ("ann", "bob")] + skipped
    records.append(said(turned(drawn), "ann", 1))
    table = answers(records)
    assert table.overlap == 2 and table.x[0].equal(table.x[1])
    assert self_agreement(records) == {"ann": (1, 1)}
    assert first_shown([{**records[0], "imported": True}, records[1]]) == {"bob": (1, 1)}


def test_noise_costs_agreement_and_coins_have_none(speaker):
    items = make_items(speaker, 150, seed=2)

    def judged(who, annotator):
        found = [annotator(Scene.from_json(x["scene"]), x["responses"]) for x in items]
        return [said(x, who, choice) for x, choice in zip(items, found, strict=True)]

    calm = judged("ann", SimulatedAnnotator("terse"))
    alphas = [
        answers([*calm, *judged("bob", SimulatedAnnotator("terse", seed=1, noise=noise))]).alpha()
        for noise in (0, 0.2, 0.5)
    ]
    assert alphas[0] == pytest.approx(1) and alphas[0] > alphas[1] > alphas[2]
    coins = [answers([*calm, *judged("bob", SimulatedAnnotator("random", seed=s))]) for s in range(20)]
    assert abs(np.mean([coin.kappa()["ann", "bob"] for coin in coins])) < 0.04
    assert abs(np.mean([coin.alpha() for coin in coins])) < 0.04


def test_the_interval_covers_what_it_should(items):
    """Bootstrap intervals of kappa for two coins cover 0 about as often as they say."""
    item, covered = items[0], 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        records = []
        for i in range(60):
            x = item | {"id": str(i), "responses": [f"a {i}", f"b {i}"]}
            records += [said(x, who, int(rng.integers(2))) for who in ("ann", "bob")]
        low, high = answers(records).interval(lambda t: t.kappa()["ann", "bob"], draws=200)
        covered += low <= 0 <= high
    assert 33 <= covered <= 40


def test_side_and_gold_are_counted(items):
    records = [said(item, "ann", 1, side=1) for item in items[:4]] + [said(items[4], "ann", 0, side=1)]
    records += [said(items[5], "ann", "tie", side=1), said(items[0], "bob", 0, side=1)]
    assert first_shown(records) == {"ann": (4, 5), "bob": (0, 1)}
    right = {items[0]["id"]: 1, items[1]["id"]: 0, items[5]["id"]: 1}
    assert gold(records, right) == {"ann": (1, 3), "bob": (0, 1)}
    with pytest.raises(ValueError, match="expected 0 or 1"):
        gold(records, {"x": 2})


def test_unusual_times_are_told_apart(items):
    rng = np.random.default_rng(0)
    times = [int(1000 * math.exp(0.3 * rng.standard_normal())) for _ in range(40)]
    records = [said(items[i % 6], "ann", 0, ms=ms) for i, ms in enumerate(times)]
    fast, slow = said(items[0], "ann", 0, ms=60), said(items[1], "ann", 1, ms=600_000)
    found = unusual_times([*records, fast, slow, said(items[2], "bob", 0, ms=9)])
    assert [r for r, _ in found] == [fast, slow]
    assert found[0][1] < 0 < found[1][1]
    assert unusual_times([said(item, "ann", 0, ms=500) for item in items]) == []


def test_refusals(items):
    with pytest.raises(ValueError, match="pair or rating"):
        answers([], "edit")
    with pytest.raises(ValueError, match="got none in 1 records"):
        answers([said(items[0], "ann", "skip")])
    with pytest.raises(ValueError, match="too few answers"):
        answers([said(items[0], "ann", 0), said(items[0], "bob", 1)]).interval(lambda t: math.nan, draws=20)
