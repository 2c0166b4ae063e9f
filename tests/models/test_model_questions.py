"""A prompt for each picture: the same in a batch as alone, and a chat template around the question."""

from __future__ import annotations

import numpy as np
import pytest
import tiny_classes
import torch

from mmbook.models import load_pretrained_model
from mmbook.models.answerer import load_answerer, new_answerer
from mmbook.models.build import with_words
from mmbook.world import Scene, SceneBatch, Sticker, sample_scenes
from mmbook.world.questions import ANSWERS, WORDS, sample_questions

ASKED = [Scene((Sticker("cat", 0, True),), question=q) for q in ("is it big?", "how many things are there?")]


@pytest.fixture(scope="module")
def answerer():
    return load_answerer()


def test_each_picture_has_its_own_question(answerer) -> None:
    both = answerer.prefix(ASKED)
    ids, _ = answerer.tokens(["yes.", "one."])
    states = answerer.states(both, ids)
    for i, scene in enumerate(ASKED):
        alone = answerer.states(answerer.prefix([scene]), ids[i : i + 1])
        assert torch.allclose(states[i : i + 1], alone, atol=1e-4)
    same = answerer.states(answerer.prefix([Scene(ASKED[0].stickers, question="what is it?")]), ids[:1])
    assert not torch.allclose(states[:1], same, atol=1e-2)


def test_without_a_question_a_caption_is_asked_for() -> None:
    tiny = load_pretrained_model("tiny", device="cpu")
    scenes = sample_scenes(8, 0)
    assert tiny.prompt_for("") == tiny.prompt and "describe" not in tiny.prompt_for("is it big?")
    assert torch.equal(tiny.prefix(scenes).embeds, tiny.prefix(list(scenes)).embeds)
    assert with_words(tiny, WORDS).sample(scenes, greedy=True) == tiny.sample(scenes, greedy=True)


def test_all_words_of_questions_and_answers_are_known() -> None:
    model = new_answerer(load_pretrained_model("tiny", device="cpu"))
    texts = [*ANSWERS, *sample_questions(300, 0).question]
    assert model.text(*model.tokens(ANSWERS)) == list(ANSWERS)
    assert not any(model.tokenizer.unk_token_id in row for row in model.tokenizer(texts)["input_ids"])


def test_a_copy_keeps_the_questions(answerer) -> None:
    assert answerer.copy().scenes is sample_questions
    assert answerer.adapted(4, 0).model.scenes is sample_questions


def test_a_prompt_without_a_place_for_a_question_is_refused(answerer) -> None:
    other = answerer.copy()
    other.request = "say:"
    with pytest.raises(ValueError, match=r"prompt: expected 'say:' in it"):
        other.prefix(ASKED)


def test_the_chat_template_of_a_checkpoint_stays_around_the_question(tmp_path) -> None:
    model = tiny_classes.unseen("smolvlm", tmp_path)
    plain, asked = model.prompt, model.prompt_for("is it big?")
    assert asked != plain and "is it big?" in asked
    assert asked.replace("is it big?", model.request) == plain
    assert len(model.prefix(SceneBatch.of(ASKED))) == 2


def test_the_shipped_answerer_is_what_its_metrics_say(answerer) -> None:
    import json

    from mmbook.evaluate.answers import answered
    from mmbook.models.answerer import WEIGHTS

    told = json.loads((WEIGHTS.parent / "metrics.json").read_text("utf-8"))
    assert answerer.hash == told["weights"] and WEIGHTS.stat().st_size < 3e6
    scenes = sample_questions(200, 1)
    found = answered(scenes, answerer.sample(scenes, greedy=True))
    assert found["right"] == pytest.approx(told["greedy"]["right"], abs=0.08)
    turned = SceneBatch.of(list(scenes))
    turned = turned[np.roll(np.arange(200), 1)]
    turned.question = scenes.question
    blind = answered(scenes, answerer.sample(turned, greedy=True))
    assert blind["right"] < found["right"] - 0.2
