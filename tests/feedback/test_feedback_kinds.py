"""Ratings, edits and rankings: collected, refused where they are wrong, and read as judgements."""

import pytest

from mmbook import collect_human_feedback, load_pretrained_model
from mmbook.feedback import Feedback, SimulatedAnnotator, validate
from mmbook.feedback.items import make_items
from mmbook.world import Scene, check, normalise


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
    record |= {"responses": [said[0], said[1], said[0].upper()], "order": [2, 1, 0]}
    feedback = Feedback([], tmp_path / "log.jsonl")
    feedback.append([{"op": "label", "record": record}])
    assert [j.captions for j in feedback.judgements()] == [(said[0].upper(), said[1])]


@pytest.mark.parametrize(
    "kind, field, value, expected",
    [
        ("edit", "edit", "", "not empty"),
        ("edit", "responses", ["a", "b"], "one text"),
        ("edit", "outcome", "tie", "'label'"),
        ("ranking", "order", [0, 1, 2], "each index of the 4 responses once"),
        ("ranking", "order", [0, 1, 2, 2], "each index of the 4 responses once"),
        ("ranking", "order", "0123", "a list of whole numbers"),
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
