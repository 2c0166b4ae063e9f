"""Clicks on answers to questions: the customer's taste, and questions in items, records and the labeller."""

from __future__ import annotations

import numpy as np
import pytest

from mmbook.feedback import Feedback, collect_human_feedback
from mmbook.feedback.customers import Customer
from mmbook.feedback.views import Views
from mmbook.models.answerer import load_answerer
from mmbook.world import Scene, Sticker
from mmbook.world.questions import ASK, ambiguous, answer_utility

TWO = (Sticker("cat", 0, True), Sticker("key", 1, False))


def test_right_before_asking_before_a_guess_before_wrong() -> None:
    unclear, clear = Scene(TWO, question="what is it?"), Scene(TWO, question="what is the big one?")
    customer = Customer()
    assert customer(unclear, ["a cat.", ASK]) == 1 and customer(unclear, [ASK, "a bus."]) == 0
    assert customer(clear, [ASK, "a cat."]) == 1 and customer(unclear, ["a cat.", "a key."]) == "tie"
    assert Customer(price=1.2)(unclear, ["a cat.", ASK]) == 0


def test_choices_follow_bradley_and_terry() -> None:
    unclear, customer = Scene(TWO, question="what is it?"), Customer(bt=2.0, seed=0)
    asks = np.mean([customer(unclear, ["a cat.", ASK]) for _ in range(4000)])
    assert asks == pytest.approx(1 / (1 + np.exp(-2 * 0.5)), abs=0.02)


def test_a_price_is_no_gift() -> None:
    with pytest.raises(ValueError, match="price, ell"):
        Customer(price=-0.1)


def test_the_question_is_the_prompt_of_items_and_of_the_labeller(tmp_path) -> None:
    model = load_answerer()
    feedback = collect_human_feedback(model, 12, Customer(), path=tmp_path / "log.jsonl", seed=3)
    for item, view in zip(feedback.items, Views(feedback.items, model).items, strict=True):
        question = item["scene"]["question"]
        assert item["prompt"] == model.prompt_for(question) and view["prompt"] == question
    again = Feedback.from_log(tmp_path / "log.jsonl")
    assert again.problems == [] and len(again.records) == 12
    for scene, better, worse, _ in again.pairs():
        assert answer_utility(scene, better) > answer_utility(scene, worse)
    assert any(ambiguous(Scene.from_json(r["scene"])) for r in again.records)
