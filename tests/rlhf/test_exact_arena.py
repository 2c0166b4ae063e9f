"""On the caption tree everything is known: distances by hand, and how near each method comes to the best."""

import math

import pytest
import torch
from torch import Tensor

from mmbook.equations import best_of_n_policy
from mmbook.rlhf import fine_tune_with_rl
from mmbook.rlhf.arena import Arena
from mmbook.rlhf.best_of_n import best_of_n
from mmbook.rlhf.direct import fine_tune_on_pairs
from mmbook.world import SceneBatch

RL = {"standardise": False, "c": 100.0, "epochs": 2, "minibatches": 2, "lr": 0.05, "value_lr": 0.05}


@pytest.fixture(scope="module")
def arena() -> Arena:
    return Arena(beta=0.5)


def trained(arena: Arena, **changes) -> dict[str, float]:
    model = fine_tune_with_rl(
        arena.model, arena.reward, progress=False, **{**RL, "beta": arena.beta, "updates": 60, **changes}
    )
    return arena.measure(model.log_pi())


def slow_kl(log_p: Tensor, log_q: Tensor) -> float:
    return math.fsum(math.exp(a) * (a - b) for a, b in zip(log_p.tolist(), log_q.tolist(), strict=True))


def test_distances_equal_slow_sums(arena: Arena) -> None:
    at_best, at_ref = arena.measure(arena.best), arena.measure(arena.log_p_ref)
    assert at_best["regret"] == pytest.approx(0, abs=1e-12) and at_ref["kl"] == pytest.approx(0, abs=1e-12)
    assert at_best["kl"] == pytest.approx(slow_kl(arena.best, arena.log_p_ref), abs=1e-9)
    assert at_ref["kl_best"] == pytest.approx(slow_kl(arena.log_p_ref, arena.best), abs=1e-9)
    assert at_ref["regret"] == pytest.approx(arena.beta * at_ref["kl_best"], abs=1e-9)  # id:kl-gap
    tokens = math.fsum(
        math.exp(p) * len(way) for p, way in zip(arena.log_p_ref.tolist(), arena.tree.responses, strict=True)
    )
    assert at_ref["kl_token"] == pytest.approx(at_ref["kl_best"] / tokens, abs=1e-12)
    sure = best_of_n_policy(arena.log_p_ref, arena.R, 512)  # some captions are ruled out: 0 log 0 = 0
    assert sure.isneginf().any()
    assert arena.measure(sure)["regret"] == pytest.approx(0.5 * arena.measure(sure)["kl_best"], abs=1e-9)


def test_the_captioner_is_careless(arena: Arena) -> None:
    p = dict(zip(arena.captions, arena.log_p_ref.exp().tolist(), strict=True))
    assert sum(p.values()) == pytest.approx(1, abs=1e-6)
    assert p["cat, fish."] > 4 * p["cat, bus."] > 0  # the fish is not there
    assert sum(p[c] for c in p if arena.worth[c] > -3) > 0.7  # it knows the grammar


def test_pairs_are_judged_as_bradley_and_terry_say(arena: Arena) -> None:
    pairs = arena.pairs(6000, seed=1)
    kept = [c for _, c, r in pairs if {c, r} == {"bus.", "fish."}]  # worth 1.5 and -1.5
    assert len(kept) > 300
    expected = 1 / (1 + math.exp(-3))
    assert kept.count("bus.") / len(kept) == pytest.approx(
        expected, abs=4 * math.sqrt(expected * (1 - expected) / len(kept))
    )
    assert pairs == arena.pairs(6000, seed=1) != arena.pairs(6000, seed=2)


def test_samples_of_the_best_of_n_follow_its_exact_policy(arena: Arena) -> None:
    scenes = SceneBatch.of([arena.tree.scene] * 4000)
    captions, _ = best_of_n(arena.model, arena.reward, scenes, 4, seed=2)
    exact = dict(
        zip(arena.captions, best_of_n_policy(arena.log_p_ref, arena.R, 4).exp().tolist(), strict=True)
    )
    for caption in ("bus.", "bus, cat.", "cat, bus.", "cat, fish."):
        p = exact[caption]
        assert captions.count(caption) / 4000 == pytest.approx(p, abs=4 * math.sqrt(p * (1 - p) / 4000))


def test_ppo_comes_within_two_hundredths_of_a_nat_a_token(arena: Arena) -> None:
    priced, free = trained(arena), trained(arena, beta=0.0)
    assert priced["kl_token"] < 0.02 < 0.1 < free["kl_token"]  # without the price it overshoots
    assert free["reward"] > priced["reward"] + 0.2


@pytest.mark.parametrize("advantage", ["rloo", "grpo"])
def test_groups_come_near_without_a_critic(arena: Arena, advantage: str) -> None:
    assert trained(arena, advantage=advantage, group=4, updates=40)["kl_token"] < 0.1


def test_direct_methods_go_where_their_equations_say(arena: Arena) -> None:
    """With many pairs DPO nears the best policy; IPO nears its own optimum, which is another one."""
    pairs = arena.pairs(6000, seed=3)
    fit = {"beta": 0.5, "lr": 0.2, "batch": 200, "epochs": 12, "progress": False}
    dpo = fine_tune_on_pairs(arena.model, pairs, **fit).log_pi()
    ipo = fine_tune_on_pairs(arena.model, pairs, method="ipo", **fit).log_pi()
    P = torch.sigmoid(arena.R[:, None] - arena.R)
    other = (arena.log_p_ref + P @ arena.log_p_ref.exp() / 0.5).log_softmax(-1)
    assert slow_kl(dpo, arena.best) < 0.15 < 0.4 < slow_kl(dpo, other)
    assert slow_kl(ipo, other) < 0.15 < 0.4 < slow_kl(ipo, arena.best)


def test_a_table_leaves_the_global_generator_alone_and_refuses_temperature_0(arena: Arena) -> None:
    before = torch.get_rng_state()
    fine_tune_on_pairs(arena.model, arena.pairs(4, seed=0), progress=False)
    assert torch.equal(torch.get_rng_state(), before)
    with pytest.raises(ValueError, match="temperature: expected a positive number"):
        arena.model.sample(arena.model.scenes(2), temperature=0.0)
