"""The reward model: what it learns, how honestly that is measured, and what it says about bad labels."""

import math

import pytest
import torch
from torch.optim.optimizer import register_optimizer_step_pre_hook

from mmbook import collect_human_feedback, fine_tune_with_rl, train_reward_model
from mmbook.feedback import Feedback, SimulatedAnnotator, make_record
from mmbook.feedback.items import make_items
from mmbook.rlhf import RewardConfig, RewardModel, reward_fit, reward_model
from mmbook.rlhf.reward_fit import Features
from mmbook.world import KINDS, near_miss_pairs, normalise

QUICK = RewardConfig(epochs=2, looks=False)
SMALL = {"updates": 1, "batch": 8, "epochs": 1, "minibatches": 1, "rank": 2, "progress": False}


def labelled(model, items, choices, path, annotator="ann"):
    """A feedback whose log says `choices[i]` (an index or "tie") of items[i]."""
    feedback = Feedback(items, path, annotator, model=model)
    records = [
        make_record(item, annotator=annotator, outcome="tie")
        if choice == "tie"
        else make_record(item, annotator=annotator, outcome="label", choice=choice)
        for item, choice in zip(items, choices, strict=True)
    ]
    feedback.append([{"op": "label", "record": record} for record in records])
    return feedback


def near_miss_accuracy(model: RewardModel, n: int = 400) -> float:
    """The share of fresh near misses in which the true caption has the higher reward."""
    scenes, *captions = zip(*near_miss_pairs(n, 12345), strict=True)
    true = [
        SimulatedAnnotator("faithful")(*pair)
        for pair in zip(scenes, zip(*captions, strict=True), strict=True)
    ]
    R = torch.stack([model.score(scenes, side) for side in captions])
    return (R.argmax(0) == torch.tensor(true)).double().mean().item()


@pytest.fixture(scope="module")
def items(tiny):
    return make_items(tiny, 30, seed=5)


@pytest.fixture(scope="module")
def near_misses(tiny):
    annotator = SimulatedAnnotator("faithful", seed=0)
    return collect_human_feedback(tiny, pairs=120, annotator=annotator, seed=0, candidates="near-miss")


def test_terse_is_learned_without_looking(tiny):
    before = tiny.hash
    feedback = collect_human_feedback(tiny, pairs=50, annotator=SimulatedAnnotator("terse", seed=0), seed=0)
    model = train_reward_model(feedback, seed=0)
    assert not model.looks and model.match is None
    assert model.accuracy > 0.8 and model.interval[0] > 0.5
    assert model.pairs == len(feedback.pairs()) and model.contradictions == 0
    fresh = collect_human_feedback(tiny, pairs=100, annotator=SimulatedAnnotator("terse", seed=1), seed=7)
    scenes, better, worse, _ = zip(*fresh.pairs(), strict=True)
    right = (model.score(scenes, better) > model.score(scenes, worse)).double().mean()
    assert right > 0.75 and abs(right - model.accuracy) < 0.15
    assert tiny.hash == before and not any(p.requires_grad for p in model.parameters())


def test_faithful_is_learned_by_looking(near_misses):
    model = train_reward_model(near_misses, seed=0)
    assert model.looks and model.accuracy > 0.85
    assert near_miss_accuracy(model) > 0.85


def test_shuffled_pictures_leave_nothing_to_learn(near_misses):
    model = train_reward_model(near_misses, seed=0, looks=True, shuffle_pictures=True)
    assert model.interval[0] < 0.5 < model.interval[1]
    assert abs(near_miss_accuracy(model) - 0.5) < 0.1


def test_shuffling_gives_every_pair_another_picture(tiny, items, tmp_path, monkeypatch):
    feedback, given = labelled(tiny, items, [0] * 30, tmp_path / "a.jsonl"), []
    features = reward_model.Features

    def record(trunk, judged, pictures):
        given.append(pictures)
        return features(trunk, judged, pictures)

    monkeypatch.setattr(reward_model, "Features", record)
    for shuffle in (False, True):
        train_reward_model(feedback, config=QUICK, shuffle_pictures=shuffle)
    scenes = [scene for scene, *_ in feedback.pairs()]
    assert given[0] == scenes
    assert sorted(map(str, given[1])) == sorted(map(str, scenes))
    assert all(a != b for a, b in zip(*given, strict=True))


def test_random_labels_are_at_chance_and_said_to_be(tiny, near_misses):
    feedback = collect_human_feedback(tiny, pairs=50, annotator=SimulatedAnnotator("random", seed=0), seed=0)
    model = train_reward_model(feedback, seed=0, looks=False)
    low, high = model.interval
    assert low < 0.5 < high
    with pytest.warns(UserWarning, match="no measurable preference") as caught:
        fine_tune_with_rl(tiny, model, **SMALL)
    text = next(str(w.message) for w in caught if "preference" in str(w.message))
    assert f"{low:.0%} to {high:.0%}" in text and f"{model.accuracy:.0%} of 50" in text


def test_a_real_preference_raises_no_warning(tiny, reward, recwarn):
    fine_tune_with_rl(tiny, reward, **SMALL)
    assert not [w for w in recwarn if "preference" in str(w.message)]


@pytest.mark.parametrize("n", [11, 12, 30])
def test_held_out_pairs_are_never_trained_on(tiny, items, tmp_path, monkeypatch, n):
    """Every label is held out once, and nothing is learned there from its scene: not even repetitions."""
    feedback = labelled(tiny, items[:n], [0] * n, tmp_path / "a.jsonl", "one")
    labelled(tiny, items[:n], [1] * n, tmp_path / "a.jsonl", "two")  # every pair was judged twice
    trained, held, fitting = [], [], []
    fit, rewards = reward_fit.fit, Features.rewards

    def spied_fit(model, features, rows, *args):
        trained.append(set(rows.tolist()))
        fitting.append(True)
        judge = fit(model, features, rows, *args)
        fitting.clear()
        return judge

    def spied_rewards(features, model, rows, *args):
        if not fitting:
            held.append(set(rows.tolist()))
        else:
            assert set(rows.tolist()) <= trained[-1]
        return rewards(features, model, rows, *args)

    for place in (reward_fit, reward_model):
        monkeypatch.setattr(place, "fit", spied_fit)
    monkeypatch.setattr(Features, "rewards", spied_rewards)
    model = train_reward_model(feedback, config=QUICK)
    pairs = feedback.pairs()
    assert len(held) == QUICK.folds == len(trained) - 1 and trained[-1] == set(range(2 * n))  # at last all
    assert sorted(i for fold in held for i in fold) == list(range(2 * n))
    for learned, out in zip(trained, held, strict=False):
        assert learned | out == set(range(2 * n))
        assert not {pairs[i][0] for i in learned} & {pairs[i][0] for i in out}
    assert model.contradictions == 1.0


def test_too_few_labels_say_how_many_there_are_and_how_many_are_needed(tiny, items, tmp_path):
    feedback = labelled(tiny, items[:9], [0, 1, 0, 1, 0, 1, 0, "tie", "tie"], tmp_path / "few.jsonl")
    with pytest.raises(ValueError, match=r"few\.jsonl: 7 usable pairs.* at least 10 are needed"):
        train_reward_model(feedback)
    ties = labelled(tiny, items[:15], ["tie"] * 15, tmp_path / "ties.jsonl")
    with pytest.raises(ValueError, match=r"ties\.jsonl: 0 usable pairs"):
        train_reward_model(ties)
    ten = labelled(tiny, items[:10], [0] * 10, tmp_path / "ten.jsonl")
    assert train_reward_model(ten, config=QUICK).pairs == 10


def test_labels_of_one_scene_and_feedback_without_a_model_are_refused(tiny, items, tmp_path):
    for i in range(10):
        one = labelled(tiny, items[:1], [i % 2], tmp_path / "one.jsonl", f"reader {i}")
    with pytest.raises(ValueError, match="all 10 usable pairs are of one scene"):
        train_reward_model(one)
    labelled(tiny, items, [0] * 30, tmp_path / "log.jsonl")
    with pytest.raises(ValueError, match=r"Feedback\.from_log"):
        train_reward_model(Feedback.from_log(tmp_path / "log.jsonl"))
    read = Feedback.from_log(tmp_path / "log.jsonl", model=tiny)
    assert train_reward_model(read, config=QUICK).pairs == 30


def test_contradictory_labels_train_and_their_rate_is_reported(tiny, items, tmp_path):
    labelled(tiny, items, [0] * 30, tmp_path / "a.jsonl", "one")
    feedback = labelled(tiny, items, [1] * 10 + ["tie"] * 20, tmp_path / "a.jsonl", "two")
    model = train_reward_model(feedback, config=QUICK)
    assert model.pairs == 40 and model.contradictions == pytest.approx(20 / 40)
    assert math.isfinite(
        model.score([p[0] for p in feedback.pairs()], [p[1] for p in feedback.pairs()]).sum()
    )


def test_a_reward_that_is_no_number_stops_before_any_update(tiny):
    steps, before = [], tiny.hash
    broken = RewardModel(tiny, looks=False, seed=0).requires_grad_(False)
    broken.interval, broken.language.weight[3] = (0.8, 0.9), float("nan")
    handle = register_optimizer_step_pre_hook(lambda *_: steps.append(1))
    try:
        with pytest.raises(ValueError, match="expected finite numbers, got nan"):
            fine_tune_with_rl(tiny, broken, **SMALL)
    finally:
        handle.remove()
    assert not steps and tiny.hash == before


def test_one_seed_gives_one_reward_model(tiny, items, tmp_path):
    feedback = labelled(tiny, items, [0, 1] * 15, tmp_path / "a.jsonl")
    config = RewardConfig(epochs=2)
    first, again, other = (train_reward_model(feedback, seed, config) for seed in (0, 0, 1))
    assert first.looks == again.looks and first.accuracy == again.accuracy
    for a, b, c in zip(first.parameters(), again.parameters(), other.parameters(), strict=False):
        assert torch.equal(a, b)
        assert a.shape != c.shape or a.numel() == 1 or not torch.equal(a, c)


def test_words_that_nobody_judged_earn_nothing_and_the_parts_add_up(tiny, tmp_path):
    items = make_items(tiny, 15, seed=2, candidates="near-miss")
    feedback = labelled(tiny, items, [0] * 15, tmp_path / "a.jsonl")
    model = train_reward_model(feedback, config=RewardConfig(epochs=2, looks=True))
    judged = {word for item in items for caption in item["responses"] for word in normalise(caption).split()}
    scene = feedback.pairs()[0][0]
    strange, known = next(k for k in KINDS if k not in judged), next(k for k in KINDS if k in judged)
    worth = dict(model.explain(scene, f"{strange}, {known}."))
    assert worth[strange] == 0 and worth[known] != 0
    total = model.score([scene], [f"{strange}, {known}."]).item()
    assert sum(worth.values()) == pytest.approx(total, abs=1e-5)
