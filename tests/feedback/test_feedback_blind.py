"""A blind test of two models: nothing tells which is whose before the end, and the count is right."""

from __future__ import annotations

import json

import numpy as np
import pytest

from mmbook.feedback import SimulatedAnnotator, read_log
from mmbook.feedback.blind import blind_test
from mmbook.feedback.habits import PositionBiased
from mmbook.world import describe, say


class Says:
    """A captioner that tells the truth in one style; `hash` is its name."""

    prompt = "Describe the picture."

    def __init__(self, style: str, hash: str) -> None:
        self.style, self.hash = style, hash

    def sample(self, scenes, temperature=1.0, seed=0, greedy=False, samples=1):
        return [say(describe(scene, self.style)) for scene in scenes]


TERSE, POLITE = Says("terse", "hash-of-terse"), Says("polite", "hash-of-polite")


def test_a_reader_of_one_taste_gives_every_win_to_one_model() -> None:
    for first, second, won in ((TERSE, POLITE, 1.0), (POLITE, TERSE, 0.0)):
        test = blind_test(first, second, 60, SimulatedAnnotator("polite"), seed=3)
        assert test.wins().tolist() == [won] * 60 and test.same == 0


def test_nothing_that_is_written_or_shown_tells_the_models_apart(tmp_path) -> None:
    path = tmp_path / "log.jsonl"
    test = blind_test(TERSE, POLITE, 60, SimulatedAnnotator("polite"), path, seed=3, names=("old", "new"))
    written = path.read_text() + json.dumps(test.items) + test.show()._page
    assert not any(word in written for word in ("hash-of", '"old"', '"new"', "models"))
    assert (
        test.items[0]["model"] == blind_test(POLITE, TERSE, 60, SimulatedAnnotator("terse")).items[0]["model"]
    )
    places = [r["responses"][0].startswith("hello") for r in test.records]
    assert 15 < sum(places) < 45  # the polite caption comes first in about half
    shown = [r["side"] == r["choice"] for r in test.records]
    assert 15 < sum(shown) < 45


def test_the_reveal_names_the_model_of_each_response() -> None:
    test = blind_test(TERSE, POLITE, 40, SimulatedAnnotator("polite"), seed=1, names=("old", "new"))
    for record in test.reveal():
        for text, name in zip(record["responses"], record["models"], strict=True):
            assert text.startswith("hello") == (name == "new")
    assert all("models" not in r for r in read_log(test.path)[0])


def test_a_look_before_the_end_is_refused(tmp_path) -> None:
    path, reader = tmp_path / "log.jsonl", SimulatedAnnotator("polite")
    whole = blind_test(TERSE, POLITE, 10, reader, path, seed=3)
    lines = path.read_text().splitlines()
    path.write_text("\n".join(lines[:-4]) + "\n")

    def resumed(answer):
        return blind_test(TERSE, POLITE, 10, answer, path, seed=3)

    def stops(scene, captions):
        raise KeyboardInterrupt

    stops.name = reader.name
    with pytest.raises(KeyboardInterrupt):
        resumed(stops)
    test = resumed(SimulatedAnnotator("polite"))  # goes on where the log ends
    assert len(test.records) == 10 and test.wins().tolist() == whole.wins().tolist()
    path.write_text("\n".join(lines[:-4]) + "\n")
    for look in (whole.reveal, whole.wins):
        with pytest.raises(ValueError, match="4 of 10 items are not judged yet"):
            look()
    assert len(whole.wins(early=True)) == 6


def test_skips_are_out_and_the_same_captions_are_ties() -> None:
    answers = iter(["skip", "tie", "both_bad", 0, 1] * 100)

    def reader(scene, captions):
        return next(answers)

    class Sometimes(Says):
        def sample(self, scenes, **how):
            return [say(describe(s, "terse" if i % 4 == 0 else "polite")) for i, s in enumerate(scenes)]

    test = blind_test(TERSE, Sometimes("", "hash-of-both"), 40, reader)
    assert test.same == 10 and len(test.items) == 30
    won = test.wins()
    assert len(won) == 40 - 6 and np.sum(won == 0.5) == 10 + 12


def test_a_position_habit_becomes_noise_and_not_a_winner() -> None:
    always_first = PositionBiased(SimulatedAnnotator("random"), 1.0)
    test = blind_test(TERSE, POLITE, 400, always_first, seed=5)
    assert abs(test.wins().mean() - 0.5) < 3 * 0.5 / 20


def test_what_cannot_be_told_apart_is_refused() -> None:
    with pytest.raises(ValueError, match="names: expected two that differ"):
        blind_test(TERSE, POLITE, 5, SimulatedAnnotator("terse"), names=("a", "a"))
    with pytest.raises(ValueError, match="the same captions of all 5 scenes"):
        blind_test(TERSE, TERSE, 5, SimulatedAnnotator("terse"))
