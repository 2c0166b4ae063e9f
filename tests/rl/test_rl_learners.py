"""REINFORCE, A2C, PPO and TRPO learn what planning knows, and nothing where there is nothing to learn."""

from __future__ import annotations

from dataclasses import replace

import gymnasium
import numpy as np
import pytest
import torch
from torch import nn

from mmbook.rl import (
    A2CConfig,
    ActorCritic,
    Player,
    PPOConfig,
    QNetwork,
    ReinforceConfig,
    TRPOConfig,
    evaluate,
    train_a2c,
    train_ppo,
    train_reinforce,
    train_trpo,
)
from mmbook.rl.networks import body
from mmbook.rl.planning import best_performance, performance
from mmbook.world.caption_tree import CaptionTree
from mmbook.world.captions import parse
from mmbook.world.mdp import MDP, TableBatchEnv

TREE = CaptionTree()
LEARNERS = {
    "reinforce": (train_reinforce, ReinforceConfig(updates=150, gamma=1.0, lr=0.05)),
    "a2c": (train_a2c, A2CConfig(steps=30_000, T=16, gamma=1.0, lr=0.2, clip_norm=5)),
    "ppo": (train_ppo, PPOConfig(steps=20_000, T=16, epochs=4, gamma=1.0, lam=0.95, lr=0.06)),
    "trpo": (train_trpo, TRPOConfig(steps=20_000, T=32, gamma=1.0, lam=1.0, delta=0.02, value_lr=0.1)),
}


def speaker(mdp: MDP) -> ActorCritic:
    """A policy that knows the grammar and nothing of the scene, as a language model does before RLHF.

    From a uniform policy all four learners stop at "cat.": the full caption is too rare to be found.
    """
    model = ActorCritic(TableBatchEnv(mdp, 1))
    counts = np.full((len(mdp.d_0), len(mdp.actions)), 0.1)
    for way, path, taken, m in zip(
        TREE.responses, TREE.paths.states, TREE.paths.actions, TREE.paths.m, strict=True
    ):
        if parse(TREE.text(way)):
            np.add.at(counts, (path[m == 1], taken[m == 1]), 1.0)
    with torch.no_grad():
        model.policy_head.weight.copy_(torch.as_tensor(np.log(counts)).T)
    return model


def earns(mdp: MDP, model: ActorCritic) -> float:
    """What a policy earns on average, exactly."""
    pi = torch.softmax(model(torch.arange(len(mdp.d_0)))[0].double(), -1).detach()
    return performance(mdp, pi, 1.0)


@pytest.mark.parametrize("name", LEARNERS)
def test_learns_to_caption_almost_as_well_as_planning(name):
    train, config = LEARNERS[name]
    best, before = best_performance(TREE.mdp, 1.0), earns(TREE.mdp, speaker(TREE.mdp))
    after = [
        earns(TREE.mdp, train(TableBatchEnv(TREE.mdp, 32), config, seed, speaker(TREE.mdp)).model)
        for seed in (0, 1)
    ]
    assert best == 3 and before < 1 and min(after) > 0.95 * best, after


@pytest.mark.parametrize("name", LEARNERS)
def test_learns_nothing_from_rewards_that_do_not_belong_to_the_captions(name):
    """The same rewards, dealt out to the captions at random: the control."""
    R = TREE.mdp.R.copy()
    s, a = np.nonzero(TREE.mdp.P[:-1, :, -1])
    R[s, a, -1] = np.random.default_rng(0).permutation(R[s, a, -1])
    mdp = replace(TREE.mdp, R=R)
    train, config = LEARNERS[name]
    model = train(TableBatchEnv(mdp, 32), config, 0, speaker(mdp)).model
    assert earns(mdp, model) > earns(mdp, speaker(mdp)) + 1  # it does learn the rewards it is given,
    assert earns(TREE.mdp, model) < 1  # which say nothing of the captions


@pytest.mark.parametrize("name", LEARNERS)
def test_the_seed_alone_decides_a_run(name):
    train, config = LEARNERS[name]
    short = replace(config, **({"updates": 5} if name == "reinforce" else {"steps": 1_500}))
    runs = [train(TableBatchEnv(TREE.mdp, 16), short, seed) for seed in (3, 3, 4)]
    first, again, other = (torch.cat([p.flatten() for p in run.model.parameters()]) for run in runs)
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert runs[0].episodes == runs[1].episodes and runs[0].history == runs[1].history


@pytest.mark.parametrize("name", LEARNERS)
def test_a_callback_sees_steps_and_can_stop(name):
    train, config = LEARNERS[name]
    seen = []

    def callback(step, model):
        seen.append(step)
        return len(seen) == 2

    run = train(TableBatchEnv(TREE.mdp, 16), config, 0, every=300, callback=callback)
    assert len(seen) == 2 and seen[0] >= 300 and seen[1] - seen[0] >= 300
    assert run.history[-1]["step"] == seen[-1] < 2_000


# PPO's details


def cartpole(n: int = 4) -> gymnasium.vector.VectorEnv:
    return gymnasium.make_vec("CartPole-v1", num_envs=n, vectorization_mode="vector_entry_point")


def test_annealing_ends_at_a_step_of_nothing(monkeypatch):
    rates = []
    step = torch.optim.Adam.step

    def spy(self, *args, **kwargs):
        rates.append(self.param_groups[0]["lr"])
        return step(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.Adam, "step", spy)
    train_ppo(cartpole(), PPOConfig(steps=1_000, epochs=1), 0)
    assert rates == sorted(rates, reverse=True) and rates[-1] < 0.05 * rates[0]
    rates.clear()
    train_ppo(cartpole(), PPOConfig(steps=1_000, epochs=1, anneal=False), 0)
    assert set(rates) == {1e-3}


def test_the_divergence_is_read_after_the_last_step():
    one_step = PPOConfig(steps=500, epochs=1, anneal=False)
    for lr, still in ((3e-3, False), (0.0, True)):
        history = train_ppo(cartpole(), replace(one_step, lr=lr), 0).history
        assert {row["approximate_kl"] < 1e-9 for row in history} == {still}


def test_a_target_divergence_ends_the_epochs_early():
    config = PPOConfig(steps=1_000, epochs=30, lr=3e-3, anneal=False)
    far, near = (
        np.mean([row["approximate_kl"] for row in train_ppo(cartpole(), c, 0).history])
        for c in (config, replace(config, target_kl=0.005))
    )
    assert near < far / 2


def test_clipping_keeps_the_policy_nearer_than_no_clipping():
    config = PPOConfig(steps=1_000, lr=3e-3, anneal=False)
    clipped, free = (
        np.mean([row["approximate_kl"] for row in train_ppo(cartpole(), c, 0).history])
        for c in (config, replace(config, eps=float("inf")))
    )
    assert clipped < free / 2


# Networks and evaluation


def test_bodies_fit_what_the_environment_shows():
    vector, picture = gymnasium.spaces.Box(-1, 1, (5,)), gymnasium.spaces.Box(0, 255, (24, 24, 4), np.uint8)
    for space, shape in ((gymnasium.spaces.Discrete(7), ()), (vector, (5,)), (picture, (24, 24, 4))):
        layers, width = body(space)
        x = torch.zeros((3, *shape), dtype=torch.float32 if shape == (5,) else torch.uint8)
        assert layers(x).shape == (3, width)
    with pytest.raises(ValueError, match="expected Discrete, a vector or a picture"):
        body(gymnasium.spaces.MultiBinary(3))


def test_weights_begin_as_the_details_say():
    model = ActorCritic(cartpole(), seed=1)
    assert torch.equal(model.actor[0].weight, ActorCritic(cartpole(), seed=1).actor[0].weight)
    W = model.actor[2].weight.detach()
    torch.testing.assert_close(W @ W.T, 2 * torch.eye(64), atol=1e-5, rtol=0)  # gain sqrt 2
    assert model.policy_head.weight.norm(dim=1).max() < 0.011
    plain = ActorCritic(cartpole(), seed=1, orthogonal=False)
    assert plain.policy_head.weight.norm(dim=1).max() > 0.1
    torch.manual_seed(0)
    before = torch.get_rng_state()
    ActorCritic(cartpole(), seed=2)
    assert torch.equal(before, torch.get_rng_state())  # the reader's own random numbers are left alone


def test_logits_and_values_keep_the_leading_dimensions():
    envs = gymnasium.make_vec(
        "mmbook/StickerGaze-v0", num_envs=2, vectorization_mode="vector_entry_point", kinds=8
    )
    obs, _ = envs.reset(seed=0)
    model = ActorCritic(envs)
    assert model.actor is model.critic  # one body for pictures
    flat, V = model(torch.as_tensor(obs))
    rows, _ = model(torch.as_tensor(np.stack([obs, obs, obs])))
    assert rows.shape == (3, 2, 12) and V.shape == (2,)
    torch.testing.assert_close(rows[1], flat)
    assert QNetwork(envs)(torch.as_tensor(obs)).shape == (2, 12)


def test_actions_are_sampled_from_the_policy_or_the_likeliest():
    envs = TableBatchEnv(TREE.mdp, 4)
    model = ActorCritic(envs)
    nn.init.normal_(model.policy_head.weight, generator=torch.Generator().manual_seed(0))
    obs = np.zeros(20_000, np.int64)
    p = torch.softmax(model(torch.zeros(1, dtype=torch.int64))[0][0], -1).detach().numpy()
    drawn = np.bincount(model.act(obs, torch.Generator().manual_seed(0)), minlength=len(p)) / len(obs)
    np.testing.assert_allclose(drawn, p, atol=4 * np.sqrt(0.25 / len(obs)))
    assert set(model.act(obs)) == {p.argmax()}


def test_evaluation_counts_whole_episodes_alike():
    """A walk whose first move decides whether it lasts one step or three: short ones must get no favour."""
    P, R = np.zeros((2, 4, 2, 4))
    P[0, 0, 3] = P[0, 1, 1] = P[1, :, 2] = P[2, :, 3] = P[3, :, 3] = 1
    R[0, 0, 3], R[2, :, 3] = 1, 2
    mdp = MDP(P, R, np.eye(4)[0], np.arange(4) == 3)
    rng = np.random.default_rng(0)
    returns = evaluate(lambda obs: rng.integers(2, size=len(obs)), TableBatchEnv(mdp, 20), 2_000)
    assert returns.mean() == pytest.approx(1.5, abs=4 * 0.5 / 2_000**0.5)
    with pytest.raises(ValueError, match="multiple of the 20 environments"):
        evaluate(lambda obs: obs * 0, TableBatchEnv(mdp, 20), 30)


def test_the_step_that_resets_is_not_counted():
    lake = MDP.from_gymnasium(gymnasium.make("FrozenLake-v1"))
    envs = TableBatchEnv(lake, 6)
    player = Player(envs, ActorCritic(envs), torch.Generator().manual_seed(0), 0)
    batch = player.collect(50, 0.99)
    ends = len(player.episodes)
    # Each finished episode but those that end with the last step costs one step of the stream.
    assert 300 - ends <= player.steps == int(batch.m.sum()) <= 300 - ends + 6
    assert not (batch.obs[batch.m != 0] == 16).any()  # nobody acts in the last state


def classifier(n: int) -> gymnasium.vector.VectorEnv:
    return gymnasium.make_vec("mmbook/StickerClassifier-v0", n, vectorization_mode="vector_entry_point")


@pytest.mark.parametrize(
    ("train", "config"),
    [(train_ppo, PPOConfig(steps=6, T=1, epochs=1)), (train_a2c, A2CConfig(steps=6, T=1))],
)
def test_a_rollout_of_resets_alone_is_passed_over(train, config):
    """Episodes of one step end together, so every second rollout of one step has nothing in it."""
    run = train(classifier(2), config)
    assert [row["step"] for row in run.history] == [2, 4, 6]


def test_more_minibatches_than_steps():
    run = train_ppo(cartpole(1), PPOConfig(steps=4, T=2, epochs=1, minibatches=8))
    assert len(run.history) == 2


class Doubles(gymnasium.vector.VectorObservationWrapper):
    """Shows 64-bit floats, as physics engines do."""

    def observations(self, observations):
        return observations.astype(np.float64)


def test_observations_and_weights_may_differ_in_precision():
    assert train_a2c(Doubles(cartpole(2)), A2CConfig(steps=16, T=4)).history
    try:
        torch.set_default_dtype(torch.float64)
        for envs in (cartpole(2), classifier(2)):
            assert train_a2c(envs, A2CConfig(steps=16, T=4)).history
    finally:
        torch.set_default_dtype(torch.float32)


def test_environments_that_reset_within_a_step_are_refused():
    envs = gymnasium.make_vec(
        "CartPole-v1", 2, "sync", vector_kwargs={"autoreset_mode": gymnasium.vector.AutoresetMode.SAME_STEP}
    )
    with pytest.raises(ValueError, match="autoreset_mode"):
        train_a2c(envs, A2CConfig(steps=16))


@pytest.mark.slow
@pytest.mark.parametrize(("train", "config"), [(train_ppo, PPOConfig()), (train_a2c, A2CConfig())])
def test_solves_cartpole(train, config):
    """Two seeds here; benchmarks/cartpole.py has five, and every learner."""
    for seed in (0, 1):
        judged = []

        def solved(step, model, judged=judged):
            judged.append(evaluate(model.act, cartpole(20), 100, seed=9).mean())
            return judged[-1] >= 475

        train(cartpole(8), config, seed, every=10_000, callback=solved)
        assert max(judged) >= 475, (seed, judged)
