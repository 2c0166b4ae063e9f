"""Questions about scenes: what they may mean, what is right, and what an answer is worth."""

from __future__ import annotations

import numpy as np
import pytest

from mmbook.world import KINDS, Scene, SceneBatch, Sticker, render, sample_scenes
from mmbook.world.questions import (
    ANSWERS,
    ASK,
    FORMS,
    ambiguous,
    answer_utility,
    answers,
    asks,
    best_answer,
    careless_answers,
    chance_right,
    right_answers,
    sample_questions,
    verdict,
)

STICKERS = (Sticker("cat", 0, True), Sticker("key", 1, False), Sticker("bus", 3, True))


def asked(question: str, stickers: tuple[Sticker, ...] = STICKERS) -> Scene:
    return Scene(stickers, question=question)


@pytest.mark.parametrize(
    ("question", "rights"),
    [
        ("what is at the top right?", ("a key.",)),
        ("what is at the bottom left?", ("nothing.",)),
        ("How many things are there?", ("three.",)),
        ("is there a cat?", ("yes.",)),
        ("is there an apple?", ("no.",)),
        ("where is the bus?", ("at the bottom right.",)),
        ("where is the apple?", ("nothing.",)),
        ("which is bigger, the key or the bus?", ("the bus.",)),
        ("which is bigger, the cat or the bus?", ("neither.",)),
        ("what is the small one?", ("a key.",)),
        ("what is the big one?", ("a cat.", "a bus.")),
        ("where is it?", ("at the top left.", "at the top right.", "at the bottom right.")),
        ("is it big?", ("yes.", "no.", "yes.")),
        ("what is it?", ("a cat.", "a key.", "a bus.")),
    ],
)
def test_what_is_right_depends_on_what_is_meant(question, rights) -> None:
    assert answers(asked(question)) == rights
    assert ambiguous(asked(question)) == (len(rights) > 1)


def test_a_question_whose_readings_agree_is_clear() -> None:
    scene = asked("is it big?", (STICKERS[0], STICKERS[2]))
    assert answers(scene) == ("yes.", "yes.") and not ambiguous(scene) and best_answer(scene) == "yes."


def test_another_question_is_refused() -> None:
    with pytest.raises(ValueError, match="expected one in the form of"):
        answers(asked("why?"))
    with pytest.raises(ValueError, match="question: expected a text"):
        Scene(STICKERS, question=3)


def test_utility_and_the_best_answer_by_hand() -> None:
    scene = asked("is it big?")
    assert chance_right(scene, "Yes") == pytest.approx(2 / 3) and chance_right(scene, "two.") == 0
    assert answer_utility(scene, "yes.", 0.5, 1.0) == pytest.approx(1 / 3)
    assert answer_utility(scene, "no.", 0.5, 2.0) == pytest.approx(1 / 3 - 4 / 3)
    assert answer_utility(scene, ASK, 0.5) == 0.5 and asks("Which one do you mean?")
    assert answer_utility(asked("what is the small one?"), ASK, 0.5) == -0.5
    assert best_answer(scene, 0.5) == ASK and best_answer(scene, 0.7) == "yes."
    assert [verdict(scene, x) for x in ("yes.", "blue.", ASK)] == [
        "a guess, right with 67%",
        "wrong",
        "asks back",
    ]
    assert verdict(asked("what is the small one?"), ASK) == "asks back for nothing"


def test_drawn_questions_are_in_the_language_repeatable_and_of_all_forms() -> None:
    scenes = sample_questions(600, 3)
    assert list(scenes.question) == list(sample_questions(600, 3).question)
    assert all(set(answers(scene)) <= set(ANSWERS) for scene in scenes)
    assert {" ".join(q.split()[:2]) for q in scenes.question} == {" ".join(f.split()[:2]) for f in FORMS}
    assert 0.2 < np.mean([ambiguous(scene) for scene in scenes]) < 0.35


def test_a_question_travels_with_its_scene() -> None:
    scenes = sample_questions(20, 0)
    again = SceneBatch.of(list(scenes))
    assert [Scene.from_json(s.to_json()) for s in scenes] == list(again) == list(scenes)
    assert [s.question for s in scenes[5:9].repeat(2)][::2] == list(scenes.question[5:9])
    assert "question" not in sample_scenes(1, 0)[0].to_json()
    assert (render(scenes) == render(again)).all()


def test_the_careless_clerk_has_the_habits_that_are_claimed() -> None:
    scenes, rng = sample_questions(4000, 1), np.random.default_rng(0)
    unclear = np.array([ambiguous(s) for s in scenes])
    said = careless_answers(scenes, rng)
    back = np.array([asks(x) for x in said])
    assert back[unclear].mean() == pytest.approx(0.25, abs=0.04)
    assert back[~unclear].mean() == pytest.approx(0.1, abs=0.02)
    right = [
        chance_right(s, x) == 1
        for s, x, u, b in zip(scenes, said, unclear, back, strict=True)
        if not u and not b
    ]
    assert np.mean(right) == pytest.approx(0.9, abs=0.02)
    assert set(said) <= set(ANSWERS)
    assert all(chance_right(s, x) > 0 for s, x in zip(scenes, right_answers(scenes, rng), strict=True))
    assert len(ANSWERS) == 2 * len(KINDS) + 12 == len(set(ANSWERS))
