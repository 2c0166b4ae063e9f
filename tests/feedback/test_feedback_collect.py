"""Collecting: what is asked, how an answer becomes a record, where the log lies, and what is refused."""

import json
import subprocess
import sys

import numpy as np
import pytest

from mmbook.feedback import Feedback, collect_human_feedback, shown_first, validate
from mmbook.feedback.items import items_hash, make_items, shown_order
from mmbook.world import STYLES, Scene, check, normalise


def shorter(scene, captions):
    return int(len(captions[1]) < len(captions[0]))


def contents(feedback):
    return [{k: v for k, v in r.items() if k not in ("time", "ms")} for r in feedback.records]


def test_items_are_different_and_each_has_two_different_captions_of_its_scene(speaker):
    items = make_items(speaker, 60, seed=0)
    assert len(items) == 60 == len({item["id"] for item in items})
    for item in items:
        a, b = item["responses"]
        assert normalise(a) != normalise(b)
        assert check(a, Scene.from_json(item["scene"])).full and check(b, Scene.from_json(item["scene"])).full
    assert make_items(speaker, 60, seed=0) == items
    assert items_hash(make_items(speaker, 60, seed=1)) != items_hash(items)


def test_nobody_is_asked_about_a_caption_without_words(speaker):
    class Mute(type(speaker)):
        def sample(self, *args, **kwargs):
            return ["" if i % 3 == 0 else c for i, c in enumerate(super().sample(*args, **kwargs))]

    items = make_items(Mute(), 30, seed=0)
    assert len(items) == 30 and all(normalise(c) for item in items for c in item["responses"])
    speaker.sample = lambda scenes, samples, **_: [" "] * len(scenes) * samples
    with pytest.raises(ValueError, match="said the same again, or nothing"):
        make_items(speaker, 2, seed=0)


def test_captions_that_differ_only_in_spelling_are_never_paired(speaker):
    class Shouter(type(speaker)):
        def sample(self, *args, **kwargs):
            captions = super().sample(*args, **kwargs)
            return [c.upper().replace(",", " ,") if i % 2 else c for i, c in enumerate(captions)]

    for item in make_items(Shouter(["terse", "plain"]), 30, seed=0):
        assert normalise(item["responses"][0]) != normalise(item["responses"][1])
    with pytest.raises(ValueError, match=r"only 0 of 5 pairs.*200 scenes.*raise the temperature from 1.0"):
        make_items(Shouter(["terse"]), 5, seed=0)


def test_near_misses_have_one_true_caption_each(speaker):
    for item in make_items(speaker, 40, seed=0, candidates="near-miss"):
        checks = [check(c, Scene.from_json(item["scene"])) for c in item["responses"]]
        assert sorted(c.true for c in checks) == [False, True] and checks[0].style == checks[1].style
        assert item["temperature"] is None and item["model"] == "near-miss"


def test_the_choice_is_the_caption_meant_whichever_was_shown_first(speaker):
    seen = []

    def annotator(scene, captions):
        seen.append(captions)
        return shorter(scene, captions)

    feedback = collect_human_feedback(speaker, 40, annotator, seed=5)
    for record, shown in zip(feedback.records, seen, strict=True):
        assert shown == [record["responses"][record["side"]], record["responses"][1 - record["side"]]]
        assert record["side"] == shown_first(5, "annotator", record["id"])
    assert 8 < sum(r["side"] for r in feedback.records) < 32
    for _, better, worse, _ in feedback.pairs():
        assert len(better) <= len(worse)


def test_an_annotator_who_always_clicks_left_says_nothing_about_the_captions(speaker):
    records = collect_human_feedback(speaker, 400, lambda scene, captions: 0).records
    assert all(r["choice"] == r["side"] for r in records)
    assert 160 < sum(r["choice"] for r in records) < 240


def test_ties_and_skips_are_recorded_but_are_no_pairs(speaker):
    answers = iter(["tie", "both_bad", "skip", 0, np.int64(1)])
    feedback = collect_human_feedback(speaker, 5, lambda *_: next(answers))
    assert [r["outcome"] for r in feedback.records] == ["tie", "both_bad", "skip", "label", "label"]
    assert len(feedback.pairs()) == 2 and feedback.ready(2) and not feedback.ready(3)
    assert feedback.summary() == "5 of 5 items judged: labels 2, ties 1, both bad 1, skipped 1"
    with pytest.raises(ValueError, match=r"2 usable pairs, but 20 are needed .*Label some more"):
        feedback.pairs(minimum=20)


@pytest.mark.parametrize(
    "answer, error",
    [
        (2, ValueError),
        (-1, ValueError),
        ("left", ValueError),
        (None, TypeError),
        (0.0, TypeError),
        (True, TypeError),
        ([0], TypeError),
    ],
)
def test_any_other_answer_is_an_error_that_shows_it_and_keeps_what_came_before(
    speaker, tmp_path, answer, error
):
    answers = iter([0, "tie", answer])
    with pytest.raises(error, match=r"annotator: expected .*'both_bad' or 'skip', got"):
        collect_human_feedback(speaker, 5, lambda *_: next(answers), path=tmp_path / "log")
    assert [r["outcome"] for r in Feedback.from_log(tmp_path / "log").records] == ["label", "tie"]


def test_seeds_are_ints_or_generators(speaker):
    torch = pytest.importorskip("torch")
    one = collect_human_feedback(speaker, 5, shorter, seed=1)
    assert contents(one) == contents(collect_human_feedback(speaker, 5, shorter, seed=np.int64(1)))
    for generator in (np.random.default_rng, lambda s: torch.Generator().manual_seed(s)):
        rng = generator(4)
        first, second = (collect_human_feedback(speaker, 5, shorter, seed=rng) for _ in range(2))
        assert contents(first) == contents(collect_human_feedback(speaker, 5, shorter, seed=generator(4)))
        assert contents(first) != contents(second)


@pytest.mark.parametrize(
    "wrong, error, message",
    [
        ({"pairs": 0}, ValueError, "pairs: expected a whole number, 1 or more, got 0"),
        ({"pairs": -3}, ValueError, "got -3"),
        ({"pairs": 2.5}, ValueError, "got 2.5"),
        ({"annotator": "terse"}, TypeError, "annotator: expected a function"),
        ({"candidates": "human"}, ValueError, "candidates: expected 'model' or 'near-miss', got 'human'"),
        ({"seed": "x"}, TypeError, "seed: expected an int"),
        ({"seed": -1}, ValueError, "seed: expected 0 or more"),
    ],
)
def test_wrong_arguments_are_named(speaker, wrong, error, message):
    with pytest.raises(error, match=message):
        collect_human_feedback(speaker, **wrong)


def test_each_call_with_an_annotator_has_a_log_of_its_own(speaker):
    one, two = (collect_human_feedback(speaker, 3, shorter) for _ in range(2))
    assert one.path != two.path and len(one.records) == 3 == len(two.records) and one.path.exists()


def test_a_path_is_resumed_for_the_same_items_and_refused_for_others(speaker, tmp_path):
    path, asked = tmp_path / "log.jsonl", []

    def stops(scene, captions):
        asked.append(captions)
        if len(asked) == 4:
            raise KeyboardInterrupt
        return 0

    with pytest.raises(KeyboardInterrupt):
        collect_human_feedback(speaker, 6, stops, path=path)
    feedback = collect_human_feedback(speaker, 6, stops, path=path)
    assert len(asked) == 7 and [r["id"] for r in feedback.records] == [i["id"] for i in feedback.items]
    before = path.read_bytes()
    with pytest.raises(
        ValueError, match=r"begun with other items \(it holds 6 judgements\)\. Give another path"
    ):
        collect_human_feedback(speaker, 6, stops, path=path, seed=1)
    assert path.read_bytes() == before


def test_a_reader_gets_a_live_feedback_at_once_that_resumes(speaker, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MMBOOK_ANNOTATOR", "Zoë / ../x")
    feedback = collect_human_feedback(speaker, 4)
    assert feedback.live and feedback.records == [] and not feedback.path.exists() and not feedback.ready(1)
    assert feedback.path.as_posix() == f"labels/Zoë-..-x-{items_hash(feedback.items)}.jsonl"
    simulated = collect_human_feedback(speaker, 4, shorter, path=feedback.path)
    monkeypatch.chdir("/")
    assert len(feedback.records) == 4 == len(simulated.records)  # the same log, wherever the notebook goes


def test_contradictory_judgements_are_kept_and_counted(records, items, tmp_path):
    feedback = Feedback(items, tmp_path / "log")
    feedback.append([{"op": "label", "record": r} for r in records])
    assert feedback.contradictions() == 0.0
    a, b = records[0]["responses"]
    swapped = {**records[0], "annotator": "bob", "responses": [b, a]}  # the other caption now has index 0
    feedback.append([{"op": "label", "record": swapped}])
    assert len(feedback.pairs()) == 7 and feedback.contradictions() == pytest.approx(2 / 7)
    assert "29% of the labels contradict another" in feedback.summary()


def test_a_file_of_bare_records_reads_like_a_log(records, items, tmp_path):
    (tmp_path / "down.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records) + "oops\n")
    feedback = Feedback.from_log(tmp_path / "down.jsonl")
    assert feedback.records == records and feedback.items == items and len(feedback.problems) == 1
    assert Feedback(items, tmp_path / "down.jsonl").records == records
    with pytest.raises(ValueError, match="other items"):
        Feedback(items[:3], tmp_path / "down.jsonl")


def test_a_log_without_judgements_is_an_error(items, tmp_path):
    Feedback(items, tmp_path / "log").append([])
    with pytest.raises(ValueError, match="holds no judgement yet"):
        Feedback.from_log(tmp_path / "log")


def test_the_room_loads_without_torch_and_without_widgets():
    heavy = ("torch", "anywidget", "ipywidgets")
    program = f"import sys, mmbook.feedback; print([m for m in {heavy} if m in sys.modules])"
    assert (
        subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True
        ).stdout.strip()
        == "[]"
    )


def test_every_style_of_the_world_can_be_asked_about(speaker):
    said = {
        check(r, Scene.from_json(i["scene"])).style
        for i in make_items(speaker, 80, seed=0)
        for r in i["responses"]
    }
    assert said == set(STYLES)


def test_a_file_that_is_no_log_is_never_written_to(items, tmp_path):
    (tmp_path / "notes.txt").write_text("my notes\n")
    with pytest.raises(ValueError, match=r"this is no feedback log \(notes.txt, line 1: not JSON"):
        Feedback(items, tmp_path / "notes.txt")
    assert (tmp_path / "notes.txt").read_text() == "my notes\n"


def test_merged_feedback_reads_several_logs_as_one_and_writes_to_none(speaker, tmp_path):
    rounds = [
        collect_human_feedback(speaker, 4 + r, shorter, tmp_path / f"round-{r}.jsonl", seed=r, round=r)
        for r in range(2)
    ]
    rounds[1].path.write_text(rounds[1].path.read_text() + "{broken\n")
    merged = Feedback.merge(rounds, model="base")
    assert merged.records == rounds[0].records + rounds[1].records and len(merged.records) == 9
    assert [r["round"] for *_, r in merged.pairs()] == [
        r["round"] for part in rounds for *_, r in part.pairs()
    ]
    assert merged.model == "base" and Feedback.merge(rounds).model is speaker
    assert merged.problems == rounds[1].problems != [] and "9 of 9 items judged" in merged.summary()
    files = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(ValueError, match="several logs read as one"):
        merged.append([])
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == files
    rounds[0].append([{"op": "undo", "id": rounds[0].records[0]["id"]}])
    assert len(merged.records) == 8  # what happens to a part happens here
    assert Feedback.merge(rounds[1:]).records == rounds[1].records
    many = Feedback.merge(rounds * 20)  # no file can have all their names
    assert many.records == merged.records and many.path.name.endswith("round-0.jsonl + 37 more")
    with pytest.raises(ValueError, match="feedbacks: expected one or more, got none"):
        Feedback.merge([])


def test_a_ranking_is_shown_in_a_seeded_order_and_recorded_by_index(speaker):
    seen = []

    class Reader:
        name = "ann"

        def __call__(self, scene, captions):
            return 0

        def rank(self, scene, captions):
            seen.append(captions)
            return [2, 0]  # the other two are worse

        def edit(self, scene, caption):
            return None

    records = collect_human_feedback(speaker, 12, Reader(), seed=3, kind="ranking").records
    for record, captions in zip(records, seen, strict=True):
        assert record["shown"] == shown_order(3, "ann", record["id"], 4) and not validate(record)
        assert [record["responses"][i] for i in record["order"]] == [captions[2], captions[0]]
    assert len({tuple(r["shown"]) for r in records}) > 5
    edits = collect_human_feedback(speaker, 3, Reader(), kind="edit").records
    assert [r["outcome"] for r in edits] == ["skip"] * 3 and not any("edit" in r for r in edits)


def test_the_order_of_asking_is_followed(speaker):
    def backwards(feedback):
        return [item["id"] for item in feedback.items[::-1]]

    feedback = collect_human_feedback(speaker, 6, shorter, ordering=backwards)
    assert [r["id"] for r in feedback.records] == backwards(feedback)
    plain = collect_human_feedback(speaker, 6, shorter)
    assert [r["id"] for r in plain.records] == [item["id"] for item in plain.items] == plain.order()
    with pytest.raises(ValueError, match="ordering: expected one of random, uncertainty, disagreement"):
        collect_human_feedback(speaker, 6, shorter, ordering="best")


@pytest.mark.parametrize(
    "kind, answer, expected",
    [
        ("rating", 7, "rating: expected a whole number from 1 to 5, got 7"),
        ("ranking", [0, 4], "order: expected different indices of the 4 responses"),
        ("ranking", [-1], "order: expected different indices"),
        ("ranking", [1, 1], "order: expected different indices"),
        ("edit", "", "edit: expected a text that is not empty, got ''"),
    ],
)
def test_an_answer_that_is_none_is_refused_and_what_came_before_is_kept(
    speaker, tmp_path, kind, answer, expected
):
    answers = {"rating": [3], "ranking": [[0]], "edit": ["cat."]}[kind] + [answer]
    reader = type("Reader", (), {"__call__": None, "name": "ann"})()
    reader.rate = reader.rank = reader.edit = lambda scene, said: answers.pop(0)
    with pytest.raises(ValueError, match=f"annotator: {expected}"):
        collect_human_feedback(speaker, 3, reader, tmp_path / "log", kind=kind)
    assert len(Feedback.from_log(tmp_path / "log").records) == 1
