"""Ratings, edits and rankings: collected, refused where they are wrong, and read as judgements."""

from itertools import permutations

import numpy as np
import pytest
import torch

from mmbook import collect_human_feedback, load_pretrained_model, train_reward_model
from mmbook.feedback import Feedback, SimulatedAnnotator, make_record, validate
from mmbook.feedback.items import make_items
from mmbook.feedback.media import picture_uri
from mmbook.rlhf import RewardConfig, fine_tune_on_pairs
from mmbook.rlhf.reward_fit import Features, Judge, comparisons
from mmbook.world import Scene, check, normalise, render


@pytest.fixture(scope="module")
def model():
    return load_pretrained_model("tiny", device="cpu")


@pytest.fixture(scope="module")
def asked(model):
    """Twelve judgements of each kind by a reader without noise."""
    return {
        kind: collect_human_feedback(model, 12, annotator=SimulatedAnnotator("utility"), seed=3, kind=kind)
        for kind in ("pair", "rating", "edit", "ranking")
    }


def utility(scene, caption):
    return check(caption, scene).utility


def test_every_kind_is_written_as_the_reader_judged(asked):
    for kind, feedback in asked.items():
        records = feedback.records
        assert len(records) == 12 and {r["kind"] for r in records} == {kind}
        assert not feedback.problems and not any(map(validate, records))
    for r in asked["rating"].records:
        assert r["rating"] == SimulatedAnnotator("utility").rate(Scene.from_json(r["scene"]), *r["responses"])
    for r in asked["edit"].records:
        assert check(r["edit"], Scene.from_json(r["scene"])).full and len(r["responses"]) == 1
    for r in asked["ranking"].records:
        worth = [utility(Scene.from_json(r["scene"]), r["responses"][i]) for i in r["order"]]
        assert len(worth) == 4 and worth == sorted(worth, reverse=True)


def test_judgements_put_the_best_first_and_demonstrations_are_the_edits(asked):
    for kind in ("pair", "ranking"):
        for judged in asked[kind].judgements():
            worth = [utility(judged.scene, caption) for caption in judged.captions]
            assert worth == sorted(worth, reverse=True)
            assert (judged.kind == "tie") == (kind == "pair" and len(set(worth)) == 1)
    edits = asked["edit"]
    changed = [r for r in edits.records if normalise(r["edit"]) != normalise(r["responses"][0])]
    assert 0 < len(changed) < 12
    assert [j.captions for j in edits.judgements()] == [(r["edit"], *r["responses"]) for r in changed]
    assert {j.kind for j in edits.judgements()} == {"pair"}
    assert edits.demonstrations() == [(Scene.from_json(r["scene"]), r["edit"]) for r in edits.records]
    assert [j.rating for j in asked["rating"].judgements()] == [r["rating"] for r in asked["rating"].records]
    merged = Feedback.merge(list(asked.values()))
    assert len(merged.judgements()) == sum(len(f.judgements()) for f in asked.values())
    assert len(merged.pairs()) == len(asked["pair"].pairs())  # what was asked as a pair


def test_the_same_caption_twice_in_a_ranking_counts_at_its_best_place(asked, tmp_path):
    record = dict(asked["ranking"].records[0])
    said = list(record["responses"])
    record |= {"responses": [said[0], said[1], said[0].upper()], "order": [2, 1, 0], "shown": [0, 1, 2]}
    feedback = Feedback([], tmp_path / "log.jsonl")
    feedback.append([{"op": "label", "record": record}])
    assert [j.captions for j in feedback.judgements()] == [(said[0].upper(), said[1])]


@pytest.mark.parametrize(
    "kind, field, value, expected",
    [
        ("edit", "edit", "", "not empty"),
        ("edit", "responses", ["a", "b"], "one text"),
        ("edit", "outcome", "tie", "'label'"),
        ("ranking", "order", [], "different indices of the 4 responses, one or more"),
        ("ranking", "order", [0, 1, 2, 2], "different indices of the 4 responses, one or more"),
        ("ranking", "order", [0, 4], "different indices of the 4 responses, one or more"),
        ("ranking", "order", "0123", "different indices of the 4 responses, one or more"),
        ("ranking", "responses", ["a"], "two texts or more"),
        ("ranking", "responses", ["a", 3], "two texts or more"),
    ],
)
def test_a_wrong_answer_is_named(asked, kind, field, value, expected):
    wrong = validate({**asked[kind].records[0], field: value})
    assert len(wrong) == 1 and wrong[0].startswith(field) and expected in wrong[0]


def test_unfitting_requests_are_refused(model):
    with pytest.raises(TypeError, match=r"expected one with .rate\(\) for kind='rating'"):
        collect_human_feedback(model, 2, annotator=lambda scene, captions: 0, kind="rating")
    with pytest.raises(ValueError, match="kind: expected one of pair, rating, edit, ranking"):
        make_items(model, 2, 0, kind="essay")
    with pytest.raises(ValueError, match="'pair' for near misses, got 'ranking'"):
        make_items(model, 2, 0, candidates="near-miss", kind="ranking")


def written(path, records, **how):
    feedback = Feedback([], path, **how)
    feedback.append([{"op": "label", "record": record} for record in records])
    assert not feedback.problems
    return feedback


def test_a_partial_ranking_has_the_rest_behind(asked, tmp_path):
    record = asked["ranking"].records[0]
    said = record["responses"]
    orders = [[2], [3, 1], [0, 2, 1], [1, 3, 2, 0]]
    feedback = written(tmp_path / "log", [{**record, "order": order} for order in orders])
    found = [([said.index(c) for c in j.captions], j.ranked) for j in feedback.judgements()]
    assert found == [([2, 0, 1, 3], 1), ([3, 1, 0, 2], 2), ([0, 2, 1, 3], 0), ([1, 3, 2, 0], 0)]
    again = {**record, "responses": [said[0], said[1], said[0].upper(), said[2]], "order": [0]}
    assert written(tmp_path / "twice", [again]).judgements()[0][2::3] == ((said[0], said[1], said[2]), 1)


def test_the_loss_of_a_partial_ranking_is_that_of_its_choices():
    """Against every complete order that begins alike, and against choices one by one."""
    R = torch.tensor([[0.3, -1.2, 2.0, 0.7, -0.1]], dtype=torch.float64)
    for K in (2, 3, 5):
        for m in range(1, K + 1):
            features = Features.__new__(Features)
            features.kind, features.size, features.ranked = (torch.tensor([x]) for x in (3, K, m))
            loss = Judge(ties=False).double().loss(R, features, torch.arange(1))
            choices = -sum(R[0, i:K].log_softmax(0)[0] for i in range(m))
            e = R[0].exp()
            whole = [[*range(m), *rest] for rest in permutations(range(m, K))]
            p = sum(torch.stack([e[o[i]] / e[o[i:]].sum() for i in range(K)]).prod() for o in whole)
            torch.testing.assert_close(loss, choices)
            torch.testing.assert_close(loss, -p.log())


def test_comparisons_of_a_partial_ranking_are_with_the_last_in_order():
    features = Features.__new__(Features)
    features.kind, features.size, features.ranked = (torch.tensor([x]) for x in (3, 4, 2))
    features.rating = torch.zeros(1)
    right = [([5, 4, 1, 3], 3), ([5, 4, 3, 1], 3), ([4, 5, 1, 3], 2), ([5, 2, 1, 3], 2), ([0, 1, 2, 3], 0)]
    for R, n in right:
        assert comparisons(torch.tensor([R]).float(), features, torch.arange(1)) == (n, 3)


def test_pictures_and_what_has_none_or_judges_none(asked, tmp_path):
    """Skipped, without a picture, and answers that are pictures or sounds: kept, not learned from."""
    record = asked["pair"].records[0]
    scene = Scene.from_json(record["scene"])
    bare = {k: v for k, v in record.items() if k not in ("scene", "choice")} | {
        "responses": ["a cat", "a dog"]
    }
    pixels = render([scene])[0]
    uri = picture_uri(pixels, colours=0)
    told = {"annotator": "ann", "outcome": "label"}
    one = {**bare, "image": uri, "responses": ["a cat"]}
    shown = make_record({**bare, "image": uri}, **told, choice=1)
    silent = make_record({**bare, "image": None}, **told, choice=1)
    drawn = make_record({**bare, "image": None, "responses": [{"picture": uri}] * 2}, **told, choice=0)
    heard = {**drawn, "responses": [{"sound": "data:audio/wav;base64,UklG"}] * 2}
    rated = make_record({**one, "kind": "rating"}, **told, rating=4, aspects={"true": 5})
    style = {**one, "kind": "edit", "responses": [{"picture": uri}]}
    edited = [
        make_record({**one, "kind": "edit"}, **told, edit="a big cat"),
        make_record(style, **told, edit={"contrast": 1.5}),
    ]
    skipped = [
        make_record({**x, "kind": k}, annotator="ann", outcome="skip")
        for x, k in [
            (bare | {"image": uri}, "pair"),
            (one, "rating"),
            (one, "edit"),
            (bare | {"image": uri}, "ranking"),
        ]
    ]
    broken = {**shown, "id": "broken", "image": "data:image/png;base64,AAAA"}
    records = [shown, silent, drawn, heard, rated, *edited, *skipped]
    feedback = written(tmp_path / "log", records)
    assert feedback.records == records
    kinds = [(j.kind, j.captions, j.rating) for j in feedback.judgements()]
    assert kinds == [
        ("pair", ("a dog", "a cat"), 0),
        ("rating", ("a cat",), 4),
        ("pair", ("a big cat", "a cat"), 0),
    ]
    assert all((j.scene == pixels).all() for j in feedback.judgements())
    assert [p[1:] for p in feedback.pairs()] == [("a dog", "a cat", shown)]
    assert [caption for _, caption in feedback.demonstrations()] == ["a big cat"]
    assert "skipped 4" in feedback.summary() and feedback.contradictions() == 0
    turned = {**drawn, "responses": [{"picture": uri}, {"picture": picture_uri(pixels[:9], 0)}]}
    odds = [turned, {**turned, "choice": 1}, {**silent, "choice": 0}]
    assert written(tmp_path / "odds", odds).contradictions() == pytest.approx(2 / 3)
    with pytest.warns(UserWarning, match="record 'broken': image: picture: expected a PNG, JPEG or WebP"):
        assert len(written(tmp_path / "broken", [broken, shown]).judgements()) == 1


def test_a_reward_is_learned_from_pictures_beside_scenes(model, tmp_path):
    """The same labels with half of the scenes as pictures of what the model itself sees: the same reward."""
    feedback = collect_human_feedback(model, 40, annotator=SimulatedAnnotator("terse"), seed=5)
    records = []
    for i, r in enumerate(feedback.records):
        if i % 2:
            picture = render([Scene.from_json(r["scene"])], model.picture_size)[0]
            r = {k: v for k, v in r.items() if k != "scene"} | {"image": picture_uri(picture, colours=0)}
        records.append(r)
    mixed = written(tmp_path / "log", records, model=model)
    assert {type(j.scene) for j in mixed.judgements()} == {Scene, np.ndarray}
    config = RewardConfig(looks=False, reads=True, epochs=3, folds=2)
    scenes, captions = zip(*((j.scene, j.captions[0]) for j in feedback.judgements()), strict=True)
    one, other = (train_reward_model(f, config=config) for f in (feedback, mixed))
    torch.testing.assert_close(one.score(scenes, captions), other.score(scenes, captions))


def test_a_policy_learns_from_pictures_beside_scenes(model, tmp_path):
    """As above, for preferences without a reward model."""
    feedback = collect_human_feedback(model, 20, annotator=SimulatedAnnotator("terse"), seed=5)
    pictures = [
        {k: v for k, v in r.items() if k != "scene"}
        | {"image": picture_uri(render([Scene.from_json(r["scene"])], model.picture_size)[0], colours=0)}
        for r in feedback.records
    ]
    mixed = written(tmp_path / "log", [*feedback.records[:9], *pictures[9:]], model=model)
    one, other = (
        fine_tune_on_pairs(model, f, epochs=1, progress=False).history[-1]["loss"] for f in (feedback, mixed)
    )
    assert one == pytest.approx(other, rel=1e-4)
