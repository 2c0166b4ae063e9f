"""Policy-gradient methods against the exact gradient: by listing all captions of a tree, and by sampling."""

from __future__ import annotations

from dataclasses import replace

import gymnasium
import numpy as np
import pytest
import torch
from torch import Tensor

from mmbook.equations import gae, group_standardised, leave_one_out, log_prob, softmax_policy_gradient
from mmbook.rl import A2CConfig, ActorCritic, PPOConfig, ReinforceConfig, Rollout, play_episodes
from mmbook.rl.a2c import a2c_loss
from mmbook.rl.exact import all_responses, expected_gradient
from mmbook.rl.ppo import ppo_loss, prepare
from mmbook.rl.reinforce import reinforce_loss
from mmbook.world.caption_tree import CaptionTree
from mmbook.world.mdp import MDP, TableBatchEnv

GAMMA = 0.9


@pytest.fixture(autouse=True)
def double():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture(scope="module")
def tree() -> CaptionTree:
    return CaptionTree(length=3)


def random_policy(mdp: MDP, seed: int = 0) -> ActorCritic:
    """A table with random logits, so that no symmetry hides a mistake, and random values."""
    model = ActorCritic(TableBatchEnv(mdp, 1))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for head in (model.policy_head, model.value_head):
            head.weight.copy_(torch.randn(head.weight.shape, generator=generator))
            head.bias.zero_()
    return model


def solve(mdp: MDP, model: ActorCritic, gamma: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Visits d (S,), policy (S, A), values V (S,) and advantages (S, A), by linear algebra alone."""
    pi = torch.softmax(model(torch.arange(len(mdp.d_0)))[0], -1).detach()
    alive = torch.as_tensor(~mdp.terminal, dtype=torch.float64)
    P = torch.as_tensor(mdp.P) * alive[:, None, None]
    step = torch.einsum("sa,sat->st", pi, P)
    eye = torch.eye(len(pi))
    r = torch.as_tensor(mdp.r)
    V = torch.linalg.solve(eye - gamma * step, (pi * r).sum(-1))
    d = torch.linalg.solve(eye - gamma * step.T, torch.as_tensor(mdp.d_0)) * alive
    return d, pi, V, r + gamma * P @ V - V[:, None]


def exact_gradient(mdp: MDP, model: ActorCritic, gamma: float) -> Tensor:
    d, pi, _, A = solve(mdp, model, gamma)
    return softmax_policy_gradient(d, pi, A)


def set_values(model: ActorCritic, V: Tensor) -> None:
    with torch.no_grad():
        model.value_head.weight[0] = V


def error(g: Tensor, exact: Tensor) -> float:
    return float((g - exact).norm() / exact.norm())


# Without sampling: the mean over all captions


@pytest.mark.parametrize("to_go", [True, False])
@pytest.mark.parametrize("baseline", ["none", "value"])
def test_reinforce_is_right_on_average_with_any_baseline(tree, to_go, baseline):
    model = random_policy(tree.mdp)
    batch, p = all_responses(tree, model)
    assert p.sum().item() == pytest.approx(1)
    config = ReinforceConfig(gamma=GAMMA, reward_to_go=to_go, baseline=baseline)
    g = expected_gradient(model, batch, p, lambda row: reinforce_loss(model, row, config)[0])
    assert error(g, exact_gradient(tree.mdp, model, GAMMA)) < 1e-10


def test_dropping_the_discount_weights_changes_the_gradient(tree):
    model = random_policy(tree.mdp)
    batch, p = all_responses(tree, model)
    config = ReinforceConfig(gamma=GAMMA, discount_weights=False)
    g = expected_gradient(model, batch, p, lambda row: reinforce_loss(model, row, config)[0])
    assert error(g, exact_gradient(tree.mdp, model, GAMMA)) > 0.02


def a2c_gradient(tree: CaptionTree, model: ActorCritic, config: A2CConfig) -> Tensor:
    batch, p = all_responses(tree, model)
    return expected_gradient(model, batch, p, lambda row: a2c_loss(model, row, config, N=1))


@pytest.mark.parametrize("lam", [0.0, 0.6, 1.0])
def test_a2c_with_the_exact_values_is_right_on_average_for_every_lambda(tree, lam):
    model = random_policy(tree.mdp)
    set_values(model, solve(tree.mdp, model, GAMMA)[2])
    config = A2CConfig(gamma=GAMMA, lam=lam, discount_weights=True)
    assert error(a2c_gradient(tree, model, config), exact_gradient(tree.mdp, model, GAMMA)) < 1e-10


def test_a_wrong_critic_biases_every_lambda_below_one_the_more_the_lower(tree):
    model = random_policy(tree.mdp)  # its values are random
    exact = exact_gradient(tree.mdp, model, GAMMA)
    config = A2CConfig(gamma=GAMMA, discount_weights=True)
    errors = [
        error(a2c_gradient(tree, model, replace(config, lam=lam)), exact) for lam in (0.0, 0.5, 0.9, 1.0)
    ]
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > 0.3 and errors[-1] < 1e-10


def ppo_gradient(model: ActorCritic, batch: Rollout, p: Tensor, config: PPOConfig) -> Tensor:
    def loss(row: Rollout) -> Tensor:
        steps = prepare(row, config)
        return ppo_loss(model, steps, config, config.eps) * steps.m.sum()  # a sum over the episode

    return expected_gradient(model, batch, p, loss)


@pytest.mark.parametrize("lam", [0.0, 0.8, 1.0])
def test_ppo_at_its_first_inner_step_is_the_policy_gradient(tree, lam):
    model = random_policy(tree.mdp)
    set_values(model, solve(tree.mdp, model, GAMMA)[2])
    batch, p = all_responses(tree, model)
    config = PPOConfig(gamma=GAMMA, lam=lam, whiten=False, discount_weights=True)
    g = ppo_gradient(model, batch, p, config)
    assert error(g, exact_gradient(tree.mdp, model, GAMMA)) < 1e-10


def test_ppo_after_many_epochs_on_the_same_data_no_longer_is(tree):
    model = random_policy(tree.mdp)
    set_values(model, solve(tree.mdp, model, GAMMA)[2])
    batch, p = all_responses(tree, model)
    config = PPOConfig(gamma=GAMMA, lam=1.0, whiten=False, discount_weights=True)
    errors = []
    for _ in range(4):
        g = ppo_gradient(model, batch, p, config)
        errors.append(error(g, exact_gradient(tree.mdp, model, GAMMA)))
        with torch.no_grad():
            model.policy_head.weight += 1.0 * g.T
    assert errors[0] < 1e-10 and errors == sorted(errors) and errors[-1] > 0.2


def weighted(tree: CaptionTree, model: ActorCritic, p: Tensor, w: Tensor) -> Tensor:
    """The gradient (S, A) of sum p w log pi over the responses, p and w constant."""
    states = torch.arange(len(tree.mdp.d_0))
    log_pi = torch.log_softmax(model(states)[0], -1)
    J = (p * w * tree.log_prob(log_pi)).sum()
    return torch.autograd.grad(J, model.policy_head.weight)[0].T


def test_leave_one_out_is_right_on_average_and_division_by_the_deviation_is_not(tree):
    """For groups of two, all pairs of responses are listed; the best multiple of each mean is compared."""
    model = random_policy(tree.mdp)
    exact = exact_gradient(tree.mdp, model, 1.0)
    batch, p = all_responses(tree, model)
    R = batch.reward.sum(1)
    pairs = torch.stack(torch.broadcast_tensors(R[:, None], R[None, :]), -1)  # (K, K, 2)
    for advantage, right in ((leave_one_out, True), (group_standardised, False)):
        g = weighted(tree, model, p, (advantage(pairs)[..., 0] * p).sum(1))
        best = g * (g * exact).sum() / (g * g).sum()
        assert (error(best, exact) < 1e-10) == right
        if right:
            assert error(g, exact) < 1e-10
        else:
            assert error(best, exact) > 0.05  # no multiple of it is the gradient: the direction is another


# By sampling, in an environment that slips


def z_scores(gradients: Tensor, exact: Tensor) -> Tensor:
    """How many standard errors the mean of (n, S, A) is from exact: along it and 20 random directions."""
    generator = torch.Generator().manual_seed(5)
    directions = torch.cat([exact.flatten()[None], torch.randn(20, exact.numel(), generator=generator)])
    along = (gradients - exact).flatten(1) @ directions.T
    return along.mean(0) / (along.std(0) / len(along) ** 0.5)


@pytest.fixture(scope="module")
def lake() -> MDP:
    return MDP.from_gymnasium(gymnasium.make("FrozenLake-v1"))


def sampled(mdp: MDP, model: ActorCritic, loss, batches: int = 40) -> Tensor:
    envs, generator = TableBatchEnv(mdp, 250), torch.Generator().manual_seed(1)
    gradients = []
    for i in range(batches):
        batch = play_episodes(envs, model, generator, 1 if i == 0 else None)
        g = torch.autograd.grad(loss(batch), model.policy_head.weight)[0]
        gradients.append(-g.T)
    return torch.stack(gradients)


SETTINGS = {
    "reinforce": ReinforceConfig(gamma=GAMMA, baseline="none"),
    "reinforce, whole return": ReinforceConfig(gamma=GAMMA, baseline="value", reward_to_go=False),
    "a2c": A2CConfig(gamma=GAMMA, lam=0.5, discount_weights=True),
    "ppo": PPOConfig(gamma=GAMMA, lam=0.5, whiten=False, discount_weights=True),
}


def loss_of(model: ActorCritic, config):
    def loss(batch: Rollout) -> Tensor:
        B = len(batch.m)
        if isinstance(config, ReinforceConfig):
            return reinforce_loss(model, batch, config)[0]
        if isinstance(config, A2CConfig):
            return a2c_loss(model, batch, config, N=B)
        steps = prepare(batch, config)
        return ppo_loss(model, steps, config, config.eps) * steps.m.sum() / B

    return loss


@pytest.mark.parametrize("name", SETTINGS)
def test_sampled_gradients_agree_with_the_exact_one(lake, name):
    model = random_policy(lake, seed=3)
    set_values(model, solve(lake, model, GAMMA)[2])
    exact = exact_gradient(lake, model, GAMMA)
    z = z_scores(sampled(lake, model, loss_of(model, SETTINGS[name])), exact)
    assert z.abs().max() < 4


@pytest.mark.parametrize("fault", ["no discount weights", "wrong critic"])
def test_the_same_measure_notices_a_biased_gradient(lake, fault):
    model = random_policy(lake, seed=3)
    config = SETTINGS["a2c"]
    if fault == "no discount weights":
        set_values(model, solve(lake, model, GAMMA)[2])
        config = replace(config, discount_weights=False)
    exact = exact_gradient(lake, model, GAMMA)
    assert z_scores(sampled(lake, model, loss_of(model, config)), exact).abs().max() > 6


def test_rollouts_cut_from_a_stream_give_the_advantages_of_each_episode(lake):
    """Pieces of a stream against a slow loop over the same stream, with its ends and its cut-offs."""
    from mmbook.rl import Player

    model = random_policy(lake)
    envs = TableBatchEnv(lake, 3, max_episode_steps=4)
    batch = Player(envs, model, torch.Generator().manual_seed(0), 0).collect(40, GAMMA)
    A = gae(batch.r, batch.V, batch.m, GAMMA, 0.7)[0]

    envs = TableBatchEnv(lake, 3, max_episode_steps=4)
    again, generator = [], torch.Generator().manual_seed(0)
    obs, _ = envs.reset(seed=0)
    for _ in range(40):
        z, V = (x.detach() for x in model(torch.as_tensor(obs)))
        actions = torch.multinomial(torch.softmax(z, -1), 1, generator=generator)[:, 0]
        nxt, reward, terminated, truncated, _ = envs.step(actions.numpy())
        again.append((obs, reward, terminated, truncated, model(torch.as_tensor(nxt))[1].detach(), V))
        obs = nxt
    slow = []
    for n in range(3):
        steps, dead = [], False
        for step, (_, reward, terminated, truncated, V_next, V) in enumerate(again):
            if dead:
                dead = False
                continue
            steps.append((step, reward[n], terminated[n], truncated[n], V_next[n], V[n]))
            dead = bool(terminated[n] or truncated[n])
        for i in range(len(steps)):
            total, weight = 0.0, 1.0
            for _, reward, terminated, truncated, V_next, V in steps[i:]:
                total += weight * (reward + GAMMA * V_next * (not terminated) - V)
                weight *= GAMMA * 0.7
                if terminated or truncated:
                    break
            slow.append(float(total))
    flat = A[batch.m != 0].tolist()
    assert len(flat) == len(slow) > 60
    # The rows stand in the order of environments and then of time.
    np.testing.assert_allclose(flat, slow, atol=1e-10)


def test_log_probabilities_are_those_of_the_policy_that_played(lake):
    model = random_policy(lake)
    batch = play_episodes(TableBatchEnv(lake, 20), model, torch.Generator().manual_seed(0), 0)
    z = model(batch.obs)[0]
    assert torch.equal(batch.log_p, log_prob(z, batch.actions) * batch.m)
    assert (batch.m.sum(1) >= 1).all() and batch.m[:, 0].all()
