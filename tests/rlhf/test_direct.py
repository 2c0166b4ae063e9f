"""DPO, IPO and best-of-n on the tiny model: arithmetic by hand, what they learn, and what they refuse."""

import math

import pytest
import torch

from mmbook.feedback import Feedback, SimulatedAnnotator
from mmbook.feedback.collect import collect_human_feedback
from mmbook.models import VLM
from mmbook.rlhf import KnownReward
from mmbook.rlhf.best_of_n import best_of_n
from mmbook.rlhf.direct import fine_tune_on_pairs, response_log_prob
from mmbook.world import describe, sample_scenes, say

QUIET = {"progress": False}
SMALL = {"epochs": 1, "batch": 4, "rank": 4, "progress": False}


@pytest.fixture(scope="module")
def pairs(tiny: VLM):
    """Eight scenes: the plain truth was chosen, the truth about the next scene rejected."""
    scenes = list(sample_scenes(8, seed=5))
    said = [say(describe(scene, "plain")) for scene in scenes]
    return [(s, said[i], said[i - 1]) for i, s in enumerate(scenes) if said[i] != said[i - 1]]


def slow_log_p(model: VLM, scene, caption: str) -> float:
    """One caption alone, token by token, without padding."""
    prefix, (ids, _) = model.prefix([scene]), model.tokens([caption])
    total = 0.0
    for t, token in enumerate(ids[0]):
        z = model.logits(model.states(prefix, ids[:, :t]))[0, -1].double()
        total += float(z[token] - z.logsumexp(-1))
    return total


def test_log_probability_of_a_response_is_the_sum_over_its_tokens(tiny: VLM, pairs) -> None:
    scenes, chosen, _ = zip(*pairs, strict=True)
    with torch.no_grad():
        got = response_log_prob(tiny, tiny.prefix(scenes), *tiny.tokens(chosen))
        slow = [slow_log_p(tiny, s, c) for s, c in zip(scenes, chosen, strict=True)]
        blind = response_log_prob(tiny, tiny.prefix(scenes[::-1]), *tiny.tokens(chosen))
    assert got.tolist() == pytest.approx(slow, abs=1e-4)
    assert (got - blind).abs().max() > 1  # the picture is seen


@pytest.mark.parametrize(("method", "first"), [("dpo", math.log(2)), ("ipo", 25.0)])  # ipo: 1 / (4 beta^2)
def test_training_starts_at_the_reference_and_fits_the_choices(tiny: VLM, pairs, method, first) -> None:
    before = tiny.hash
    tuned = fine_tune_on_pairs(tiny, pairs, method=method, beta=0.1, epochs=12, batch=len(pairs), **QUIET)
    start, end = tuned.history[0], tuned.history[-1]
    assert start["loss"] == pytest.approx(first, rel=1e-4)
    assert abs(start["chosen"]) < 1e-4 and abs(start["rejected"]) < 1e-4 and abs(start["margin"]) < 1e-5
    assert end["accuracy"] == 1 and end["loss"] < 0.9 * first and end["chosen"] > end["rejected"] + 1
    assert tiny.hash == before and tuned.hash != before and tiny.history == []
    with torch.no_grad():
        leads = [slow_log_p(tuned, s, c) - slow_log_p(tuned, s, r) for s, c, r in pairs]
        led = [slow_log_p(tiny, s, c) - slow_log_p(tiny, s, r) for s, c, r in pairs]
    assert sum(leads) > sum(led) + len(pairs)  # and so has the model that is handed back


def test_another_reference_is_measured_from(tiny: VLM, pairs) -> None:
    other = fine_tune_on_pairs(tiny, pairs, **SMALL)
    tuned = fine_tune_on_pairs(tiny, pairs, reference=other, **{**SMALL, "batch": len(pairs)})
    d = [slow_log_p(tiny, s, c) - slow_log_p(other, s, c) for s, c, _ in pairs]
    assert tuned.history[0]["chosen"] == pytest.approx(sum(d) / len(d), abs=1e-3)


def test_one_seed_gives_one_model_and_the_callback_sees_every_step(tiny: VLM, pairs) -> None:
    steps: list[int] = []
    first = fine_tune_on_pairs(tiny, pairs, callback=lambda step, model: steps.append(step), **SMALL)
    again, other = (fine_tune_on_pairs(tiny, pairs, seed=seed, **SMALL) for seed in (0, 1))
    assert first.hash == again.hash != other.hash and first.history == again.history
    assert steps == list(range(len(first.history) + 1))


def test_clicks_and_triples_are_read_alike(tiny: VLM) -> None:
    feedback = collect_human_feedback(tiny, pairs=12, annotator=SimulatedAnnotator("terse"))
    triples = [pair[:3] for pair in feedback.pairs()]
    assert fine_tune_on_pairs(tiny, feedback, **SMALL).hash == fine_tune_on_pairs(tiny, triples, **SMALL).hash


def test_bad_input_is_named(tiny: VLM, pairs, tmp_path) -> None:
    ties: Feedback = collect_human_feedback(
        tiny, pairs=3, annotator=lambda scene, captions: "tie", path=tmp_path / "ties.jsonl"
    )
    with pytest.raises(ValueError, match=r"ties\.jsonl: expected one or more pairs with a choice, got none"):
        fine_tune_on_pairs(tiny, ties, **SMALL)
    with pytest.raises(ValueError, match=r"^expected one or more pairs with a choice, got none"):
        fine_tune_on_pairs(tiny, [], **SMALL)
    with pytest.raises(ValueError, match="method: expected one of dpo, ipo, got 'kto'"):
        fine_tune_on_pairs(tiny, pairs, method="kto")
    with pytest.raises(ValueError, match="epochs: expected a whole number, 1 or more, got 0"):
        fine_tune_on_pairs(tiny, pairs, epochs=0)
    with pytest.raises(ValueError, match=r"beta: expected a positive number, got 0\.0"):
        fine_tune_on_pairs(tiny, pairs, beta=0.0)


def test_a_loss_that_is_not_finite_stops_before_the_step(tiny: VLM, pairs) -> None:
    broken, seen = tiny.copy(), list[int]()
    broken.module.get_output_embeddings().weight.data.fill_(math.nan)
    with pytest.raises(ValueError, match="dpo: expected a finite loss, got nan at step 0 of 2; lower lr"):
        fine_tune_on_pairs(broken, pairs, callback=lambda step, model: seen.append(step), **SMALL)
    assert seen == [0]


def test_the_best_of_n_is_the_best_of_the_models_own_samples(tiny: VLM) -> None:
    gold, scenes = KnownReward(tiny), sample_scenes(70, seed=8)
    captions, R = best_of_n(tiny, gold, scenes, 4, seed=3)
    all_said = tiny.sample(scenes, seed=3, samples=4)
    assert R.shape == (70, 4)
    assert torch.equal(R[:, 2], gold.score(scenes, all_said[2::4]))
    assert captions == [all_said[4 * i + int(k)] for i, k in enumerate(R.argmax(1))]
    assert torch.equal(gold.score(scenes, captions), R.amax(1))
    assert best_of_n(tiny, gold, scenes, 1, seed=3)[0] == tiny.sample(scenes, seed=3)


def test_best_of_n_refuses_bad_counts_and_rewards(tiny: VLM) -> None:
    scenes = sample_scenes(2, seed=8)
    with pytest.raises(ValueError, match="n: expected a whole number, 1 or more, got 0"):
        best_of_n(tiny, KnownReward(tiny), scenes, 0)
    with pytest.raises(ValueError, match="reward: expected finite numbers, got nan for"):
        best_of_n(tiny, KnownReward(tiny, lambda scene, caption: math.nan), scenes, 2)


@pytest.mark.slow
def test_near_misses_teach_the_truth(tiny: VLM) -> None:
    """Fresh near misses are ranked by the tuned model's own log-ratios to the reference, its reward."""
    taught = collect_human_feedback(
        tiny, pairs=300, annotator=SimulatedAnnotator("faithful"), candidates="near-miss", seed=1
    )
    tuned = fine_tune_on_pairs(tiny, taught, beta=0.3, **QUIET)
    fresh = collect_human_feedback(
        tiny, pairs=200, annotator=SimulatedAnnotator("faithful"), candidates="near-miss", seed=2
    ).pairs()
    with torch.no_grad():
        sides = [
            [
                response_log_prob(m, m.prefix([p[0] for p in fresh]), *m.tokens([p[k] for p in fresh]))
                for m in (tuned, tiny)
            ]
            for k in (1, 2)
        ]
    lead = (sides[0][0] - sides[0][1]) - (sides[1][0] - sides[1][1])
    assert (lead > 0).float().mean() > 0.7
