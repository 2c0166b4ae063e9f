"""Rounds: who wrote what is judged, what each fit sees, what stays the reference, what resumes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mmbook.evaluate import captions
from mmbook.feedback import Changing, Feedback, SimulatedAnnotator, make_record
from mmbook.models import VLM
from mmbook.rlhf import PPOConfig, RewardConfig, rounds
from mmbook.rlhf.rounds import Rounds, train_in_rounds

pytestmark = pytest.mark.filterwarnings("ignore:these labels carry no measurable preference")
SHORT = {
    "fit": RewardConfig(epochs=1, folds=2, looks=False, minimum=2),
    "config": PPOConfig(updates=1, batch=8, epochs=1, minibatches=1, rank=2),
}


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> dict[str, list]:
    """The feedback of each fit, and the model and reference of each PPO."""
    seen: dict[str, list] = {"fit": [], "ppo": []}
    fit, tune = rounds.train_reward_model, rounds.fine_tune_with_rl

    def train_reward_model(feedback: Feedback, *args: Any) -> Any:
        seen["fit"].append(feedback)
        return fit(feedback, *args)

    def fine_tune_with_rl(model: Any, *args: Any, **how: Any) -> Any:
        seen["ppo"].append((model, how["reference"]))
        return tune(model, *args, **how)

    monkeypatch.setattr(rounds, "train_reward_model", train_reward_model)
    monkeypatch.setattr(rounds, "fine_tune_with_rl", fine_tune_with_rl)
    return seen


def test_each_round_judges_the_captions_of_the_policy_before_it(
    tiny: VLM, calls: dict, tmp_path: Path
) -> None:
    reader = SimulatedAnnotator("terse", seed=1)
    model, rows = train_in_rounds(
        tiny,
        reader,
        3,
        16,
        seed=2,
        folder=tmp_path,
        temperature=0.9,
        measure=lambda m: {"of": m.hash},
        **SHORT,
    )
    assert [row["labelled"] for row in rows] == [tiny.hash, rows[0]["model"], rows[1]["model"]]
    assert len({tiny.hash, *(row["model"] for row in rows)}) == 4 and model.hash == rows[2]["model"]
    assert [row["of"] for row in rows] == [row["model"] for row in rows]
    for i, row in enumerate(rows):
        records = Feedback.from_log(tmp_path / f"round-{i}-0.jsonl").records
        assert len(records) == 16 and {r["model"] for r in records} == {row["labelled"]}
        assert {(r["round"], r["temperature"]) for r in records} == {(i, 0.9)}
        assert len({r["seed"] for r in records}) == 1
    fitted = [{r["round"] for r in feedback.records} for feedback in calls["fit"]]
    assert fitted == [{0}, {0, 1}, {0, 1, 2}] and all(feedback.model is tiny for feedback in calls["fit"])
    assert [row["pairs"] for row in rows] == [len(feedback.pairs()) for feedback in calls["fit"]]
    assert [m.hash for m, _ in calls["ppo"]] == [row["labelled"] for row in rows]  # it goes on from there
    assert all(reference is tiny for _, reference in calls["ppo"])  # and pays for the whole way
    assert rows[0]["kl"] == pytest.approx(0, abs=1e-4) and rows[2]["kl"] != pytest.approx(0, abs=1e-4)


def test_the_same_call_in_the_same_folder_asks_nothing_again(tiny: VLM, tmp_path: Path) -> None:
    first, _ = train_in_rounds(tiny, SimulatedAnnotator("terse"), 2, 12, folder=tmp_path, **SHORT)

    class Nobody:
        name = "simulated-terse"

        def __call__(self, *_: Any) -> int:
            raise AssertionError("asked again")

    again, rows = train_in_rounds(tiny, Nobody(), 2, 12, folder=tmp_path, **SHORT)
    assert again.hash == first.hash == rows[-1]["model"]
    other, _ = train_in_rounds(tiny, SimulatedAnnotator("terse"), 2, 12, seed=1, **SHORT)
    assert other.hash != first.hash


def test_a_short_memory_forgets_and_a_moving_reference_moves(tiny: VLM, calls: dict) -> None:
    train_in_rounds(tiny, SimulatedAnnotator("terse"), 3, 12, memory=2, moving=True, **SHORT)
    assert [{r["round"] for r in f.records} for f in calls["fit"]] == [{0}, {0, 1}, {1, 2}]
    assert all(reference is model for model, reference in calls["ppo"])


def test_exploring_asks_about_the_first_model_too(tiny: VLM, calls: dict) -> None:
    _, rows = train_in_rounds(tiny, SimulatedAnnotator("terse"), 2, 12, explore=0.25, **SHORT)
    records = calls["fit"][1].records
    assert [r["model"] for r in records] == 12 * [tiny.hash] + 9 * [rows[0]["model"]] + 3 * [tiny.hash]
    assert [r["round"] for r in records] == 12 * [0] + 12 * [1] and len({r["id"] for r in records}) == 24


def test_a_person_goes_round_by_round(tiny: VLM, tmp_path: Path) -> None:
    run = Rounds(tiny, folder=tmp_path, **SHORT)
    with pytest.raises(ValueError, match=r"round 0: expected labels of this round, got none; call label"):
        run.learn()
    for i in range(2):
        asked = run.label(8)
        assert (
            asked.live and not asked.records and {item["model"] for item in asked.items} == {run.model.hash}
        )
        with pytest.raises(ValueError, match=f"round {i}: expected labels of this round, got none"):
            run.learn()
        asked.append(
            [
                {"op": "label", "record": make_record(item, annotator="me", outcome="label", choice=k % 2)}
                for k, item in enumerate(asked.items)
            ]
        )
        assert run.learn()["round"] == i
    assert [len(asked) for asked in run.feedbacks] == [1, 1, 0] and run.model.hash == run.rows[1]["model"]


def test_impossible_rounds_are_refused(tiny: VLM) -> None:
    with pytest.raises(ValueError, match="annotator: expected a function; to label yourself call Rounds"):
        train_in_rounds(tiny, None)
    with pytest.raises(ValueError, match="explore: expected a share of the pairs, got 2"):
        train_in_rounds(tiny, SimulatedAnnotator("terse"), explore=2)
    for memory in (0, 1.5):
        with pytest.raises(ValueError, match="memory: expected a number of rounds, 1 or more, or None"):
            Rounds(tiny, memory=memory)


@pytest.mark.slow
def test_a_taste_that_changes_is_followed_where_old_rounds_are_forgotten(tiny: VLM) -> None:
    """The control fits all rounds alike: they contradict each other, and it stays with the old taste."""
    rows = {}
    for memory in (1, None):
        reader = Changing(SimulatedAnnotator("terse"), SimulatedAnnotator("polite"), at=200)
        _, rows[memory] = train_in_rounds(
            tiny,
            reader,
            2,
            200,
            memory=memory,
            explore=0.5,  # else the policy, now terse, would show hardly any polite caption to choose
            fit=RewardConfig(epochs=20, folds=2, looks=False),
            config=PPOConfig(updates=12, batch=64),
            measure=lambda model: captions(model, 256)["style"],
        )
    (first, followed), (same, stayed) = rows[1], rows[None]
    assert first["terse"] == same["terse"] > 0.9
    assert followed["terse"] < 0.45 and stayed["terse"] > followed["terse"] + 0.2
    assert followed["polite"] > 0.1 > 0.06 > stayed["polite"]
