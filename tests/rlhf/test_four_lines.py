"""The four lines that move a model, as a reader writes them, with small numbers."""

import warnings

import pytest

import mmbook
from mmbook import collect_human_feedback, fine_tune_with_rl, load_pretrained_model, train_reward_model
from mmbook.feedback import SimulatedAnnotator

CURVES = {"beta", "score", "kl", "approximate_kl", "clip_fraction", "explained_variance", "words"}


def four_lines(taste: str, pairs: int = 30, seed: int = 0, **changes):
    model = load_pretrained_model("tiny", device="cpu")
    feedback = collect_human_feedback(
        model, pairs=pairs, annotator=SimulatedAnnotator(taste, seed=seed), seed=seed
    )
    reward_model = train_reward_model(feedback, seed=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tuned = fine_tune_with_rl(model, reward_model, seed=seed, **{"progress": False, **changes})
    return model, tuned


def share(model, style: str) -> float:
    return mmbook.evaluate.captions(model, scenes=512, seed=1)["style"][style]


def test_thirty_terse_labels_make_the_model_terse():
    model, tuned = four_lines("terse", updates=6, batch=64)
    assert tuned is not model and tuned.hash != model.hash
    assert model.hash == load_pretrained_model("tiny", device="cpu").hash and model.history == []
    before, after = (mmbook.evaluate.captions(m, scenes=512, seed=1) for m in (model, tuned))
    assert before["style"]["terse"] < 0.25 and after["style"]["terse"] > 0.7
    assert after["grammatical"] > 0.95 and after["full"] > before["full"] - 0.05
    assert len(tuned.history) == 6 and all(set(row) == CURVES for row in tuned.history)
    first, last = tuned.history[0], tuned.history[-1]
    assert last["score"] > first["score"] + 0.5 and last["words"] < first["words"] - 3
    assert abs(first["kl"]) < 1e-3 < 0.3 < last["kl"]


def test_coin_flips_do_not():
    model, tuned = four_lines("random", updates=6, batch=64)
    assert tuned.hash != model.hash  # it did train
    assert abs(share(tuned, "terse") - share(model, "terse")) < 0.2


def test_one_seed_gives_one_model():
    small = {"pairs": 20, "updates": 1, "batch": 16, "minibatches": 2}
    first, again, other = (four_lines("terse", seed=seed, **small)[1] for seed in (0, 0, 1))
    assert first.hash == again.hash and first.history == again.history
    assert first.hash != other.hash


@pytest.mark.parametrize(
    "changes, says",
    [
        ({"beta": float("nan")}, "beta: expected a number, 0 or more, got nan"),
        ({"lr": -1.0}, "lr: expected a positive number, got -1.0"),
        ({"batch": 0}, "batch: expected a whole number, 1 or more, got 0"),
        ({"batch": 3}, "minibatches [*] accumulate = 4, got 3"),
    ],
)
def test_impossible_settings_are_named(tiny, reward, changes, says):
    with pytest.raises(ValueError, match=says):
        fine_tune_with_rl(tiny, reward, **changes)


def test_swapped_arguments_and_paths_are_named(tiny):
    with pytest.raises(TypeError, match=r"fine_tune_with_rl\(model, reward_model\)"):
        mmbook.fine_tune_with_rl("reward model", tiny)
    with pytest.raises(TypeError, match=r"Feedback\.from_log"):
        mmbook.train_reward_model("labels.jsonl")
