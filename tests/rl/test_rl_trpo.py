"""TRPO: its solver, Fisher matrix and step against exact ones, and its bound in every update of a run."""

from __future__ import annotations

from dataclasses import replace

import gymnasium
import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.utils import parameters_to_vector

from mmbook.equations import fisher_matrix, gae, log_prob, mean_divergence, natural_step, surrogate
from mmbook.rl import ActorCritic, Rollout, TRPOConfig, play_episodes, train_trpo, trpo
from mmbook.world.caption_tree import CaptionTree
from mmbook.world.classifier import StickerClassifierBatch
from mmbook.world.mdp import MDP, TableBatchEnv


@pytest.fixture(autouse=True)
def double():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def scene(seed: int = 0, length: int = 3) -> tuple[ActorCritic, Rollout, Tensor]:
    """A random table, a batch of captions that it wrote, and random advantages of their words."""
    envs = TableBatchEnv(CaptionTree(length=length).mdp, 40)
    model, generator = ActorCritic(envs), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in (model.policy_head.weight, model.policy_head.bias):
            weight.copy_(0.5 * torch.randn(weight.shape, generator=generator))
    batch = play_episodes(envs, model, generator, seed)
    return model, batch, torch.randn(batch.m.shape, generator=generator)


def policy_weights(model: ActorCritic) -> list[Tensor]:
    return [model.policy_head.weight, model.policy_head.bias]


def exact_fisher(model: ActorCritic, batch: Rollout) -> Tensor:
    """The Fisher matrix of weight (A, S) and bias (A,), from the states' shares in the batch; no autograd."""
    A, S = model.policy_head.weight.shape
    states = batch.obs[batch.m != 0]
    d = torch.bincount(states, minlength=S) / len(states)
    blocks = fisher_matrix(d, torch.softmax(model(torch.arange(S))[0].detach(), -1))  # (S, A, A)
    slope = torch.zeros(S, A, A * S + A)  # of the logits by the weights
    for s in range(S):
        for a in range(A):
            slope[s, a, a * S + s] = slope[s, a, A * S + a] = 1
    return torch.einsum("san,sab,sbk->nk", slope, blocks, slope)


def gradient(model: ActorCritic, batch: Rollout, A: Tensor) -> Tensor:
    L = surrogate(log_prob(model(batch.obs)[0], batch.actions), batch.log_p, A, batch.m)
    return torch.cat([x.flatten() for x in torch.autograd.grad(L, policy_weights(model))])


@pytest.mark.parametrize("n", [1, 5, 30])
def test_conjugate_gradient_solves_as_linear_algebra_does(n):
    generator = torch.Generator().manual_seed(n)
    M, b = torch.randn(n, n, generator=generator), torch.randn(n, generator=generator)
    F = M @ M.T + torch.eye(n)
    x = trpo.conjugate_gradient(lambda v: F @ v, b, steps=2 * n)
    torch.testing.assert_close(x, torch.linalg.solve(F, b), rtol=0, atol=1e-8)
    assert trpo.conjugate_gradient(lambda v: F @ v, torch.zeros(n), steps=3).abs().max() == 0


def test_conjugate_gradient_comes_nearer_with_every_step():
    generator = torch.Generator().manual_seed(0)
    M, b = torch.randn(20, 20, generator=generator), torch.randn(20, generator=generator)
    F = M @ M.T + torch.eye(20)
    exact, far = torch.linalg.solve(F, b), []
    for steps in range(8):
        e = trpo.conjugate_gradient(lambda v: F @ v, b, steps) - exact
        far.append((e @ F @ e).item())
    assert far == sorted(far, reverse=True) and far[-1] < 0.2 * far[0]


def test_the_fisher_product_is_the_exact_matrix_of_a_table():
    model, batch, _ = scene()
    z_old = model(batch.obs)[0].detach()
    product = trpo.fisher_product(
        lambda: mean_divergence(z_old, model(batch.obs)[0], batch.m), policy_weights(model)
    )
    F = exact_fisher(model, batch)
    columns = torch.stack([product(e) for e in torch.eye(len(F))], dim=1)
    torch.testing.assert_close(columns, F, rtol=0, atol=1e-12)
    assert F.abs().max() > 0.01


def test_without_damping_the_step_is_the_exact_natural_gradient():
    model, batch, A = scene()
    F, g = exact_fisher(model, batch), gradient(model, batch, A)
    before = parameters_to_vector(policy_weights(model)).detach()
    config = TRPOConfig(damping=0.0, cg_steps=200)
    said = trpo.trpo_step(model, batch, A, config)
    step = natural_step(g, torch.linalg.pinv(F, rtol=1e-10) @ g, config.delta) / 2 ** said["backtracks"]
    after = parameters_to_vector(policy_weights(model)).detach()
    torch.testing.assert_close(after - before, step, rtol=1e-6, atol=1e-9)


def test_damping_shortens_the_way_to_the_plain_gradient():
    """The more damping, the more the step points along the gradient itself."""
    cosines = []
    for damping in (0.0, 0.1, 100.0):
        model, batch, A = scene()
        g, before = gradient(model, batch, A), parameters_to_vector(policy_weights(model)).detach()
        trpo.trpo_step(model, batch, A, TRPOConfig(damping=damping, cg_steps=100))
        step = parameters_to_vector(policy_weights(model)).detach() - before
        cosines.append(torch.cosine_similarity(step, g, dim=0).item())
    assert cosines == sorted(cosines) and cosines[0] < 0.95 and cosines[-1] > 0.999


def test_the_promised_divergence_is_reached_as_the_step_becomes_small():
    model, batch, A = scene()
    g, z_old = gradient(model, batch, A), model(batch.obs)[0].detach()
    x = torch.linalg.pinv(exact_fisher(model, batch), rtol=1e-10) @ g
    weights = policy_weights(model)
    before, errors = parameters_to_vector(weights).detach(), []
    for delta in (1e-1, 1e-3, 1e-5, 1e-7):
        torch.nn.utils.vector_to_parameters(before + natural_step(g, x, delta), weights)
        moved = mean_divergence(z_old, model(batch.obs)[0].detach(), batch.m).item()
        errors.append(abs(moved / delta - 1))
    assert errors == sorted(errors, reverse=True) and errors[0] > 0.01 and errors[-1] < 1e-3


def slow_divergence(before: Tensor, after: Tensor, batch: Rollout) -> float:
    """Mean over the batch's states of sum p log(p / q), from tables of probabilities."""
    kl = (before * (before / after).log()).sum(-1)
    return float(np.mean([kl[s] for s in batch.obs[batch.m != 0].tolist()]))


@pytest.mark.parametrize("delta", [0.001, 0.01, 0.1])
def test_every_step_of_a_run_keeps_its_bound(delta):
    mdp = CaptionTree().mdp
    envs = TableBatchEnv(mdp, 50)
    model, generator = ActorCritic(envs), torch.Generator().manual_seed(0)
    everything, moved = torch.arange(len(mdp.d_0)), []
    for update in range(15):
        batch = play_episodes(envs, model, generator, 0 if update == 0 else None)
        A = gae(batch.r, batch.V, batch.m, 1.0, 1.0)[0]
        before = torch.softmax(model(everything)[0].detach(), -1)
        said = trpo.trpo_step(model, batch, A, TRPOConfig(delta=delta))
        after = torch.softmax(model(everything)[0].detach(), -1)
        moved.append(slow_divergence(before, after, batch))
        assert said["divergence"] == pytest.approx(moved[-1], abs=1e-10)
        assert moved[-1] <= delta and said["gain"] >= 0
    assert max(moved) > delta / 2  # the bound is used, not merely kept


def test_a_step_that_would_lower_the_surrogate_is_refused(monkeypatch):
    model, batch, A = scene()
    monkeypatch.setattr(trpo, "natural_step", lambda *x: -natural_step(*x))
    before = {name: x.clone() for name, x in model.state_dict().items()}
    said = trpo.trpo_step(model, batch, A, TRPOConfig())
    assert said == {"divergence": 0.0, "gain": 0.0, "backtracks": 10}
    assert all(torch.equal(x, before[name]) for name, x in model.state_dict().items())


def test_a_step_that_breaks_the_bound_is_halved(monkeypatch):
    plain, long = scene(), scene()
    config = TRPOConfig(backtracks=20)
    first = trpo.trpo_step(*plain, config)["backtracks"]
    monkeypatch.setattr(trpo, "natural_step", lambda *x: 8 * natural_step(*x))
    assert trpo.trpo_step(*long, config)["backtracks"] == first + 3
    for a, b in zip(policy_weights(plain[0]), policy_weights(long[0]), strict=True):
        torch.testing.assert_close(a, b)


def test_the_step_leaves_the_critic_alone():
    model, batch, A = scene()
    before = model.value_head.weight.clone()
    trpo.trpo_step(model, batch, A, TRPOConfig())
    assert torch.equal(model.value_head.weight, before)


def best_return(mdp: MDP) -> float:
    """The optimum at discount 1, by value iteration."""
    V = np.zeros(len(mdp.d_0))
    for _ in range(5000):
        V = (mdp.r + mdp.P @ V).max(-1)
    return float(mdp.d_0 @ V)


def exact_return(mdp: MDP, model: ActorCritic) -> float:
    """What the sampled policy earns on average at discount 1, by iteration."""
    pi = torch.softmax(model(torch.arange(len(mdp.d_0)))[0].detach(), -1).numpy()
    V = np.zeros(len(mdp.d_0))
    for _ in range(5000):
        V = (pi * (mdp.r + mdp.P @ V)).sum(-1)
    return float(mdp.d_0 @ V)


TABLES = TRPOConfig(steps=8_000, T=16, gamma=1.0, lam=1.0, delta=0.02, value_lr=0.05)


def fluent(tree: CaptionTree) -> ActorCritic:
    """A policy that already knows that nouns and commas take turns, as a language model does."""
    model = ActorCritic(TableBatchEnv(tree.mdp, 1))
    with torch.no_grad():
        model.policy_head.bias.zero_()
        for s, prefix in enumerate(tree.prefixes[:-1]):
            noun = not prefix or prefix[-1] == ","
            model.policy_head.weight[:, s] = torch.tensor([2.0 * ((w in ",.") != noun) for w in tree.words])
    return model


@pytest.mark.parametrize("seed", range(3))
def test_it_writes_nearly_the_best_caption(seed):
    tree = CaptionTree()
    best = best_return(tree.mdp)
    assert best == tree.rewards.max() and exact_return(tree.mdp, fluent(tree)) < 0
    run = train_trpo(TableBatchEnv(tree.mdp, 32), TABLES, seed=seed, model=fluent(tree))
    assert exact_return(tree.mdp, run.model) > 0.9 * best
    assert all(row["divergence"] <= TABLES.delta for row in run.history)


def test_it_crosses_the_frozen_lake():
    mdp = MDP.from_gymnasium(gymnasium.make("FrozenLake-v1"))
    config = replace(TABLES, steps=60_000, T=64, gamma=0.99, lam=0.95, delta=0.05)
    run = train_trpo(TableBatchEnv(mdp, 32, max_episode_steps=100), config, seed=0)
    assert exact_return(mdp, run.model) > 0.85 * best_return(mdp)


def test_a_run_repeats_itself_bit_by_bit():
    mdp, config = CaptionTree(length=2).mdp, replace(TABLES, steps=600)
    runs = [train_trpo(TableBatchEnv(mdp, 8), config, seed=5) for _ in range(2)]
    assert runs[0].episodes == runs[1].episodes and runs[0].history == runs[1].history


def test_a_body_shared_with_the_critic_is_refused():
    with pytest.raises(ValueError, match="share no weights"):
        train_trpo(StickerClassifierBatch(2))
