"""Discrete SAC against exact soft values, and its target against a slow computation."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from mmbook.equations import soft_policy
from mmbook.rl import QNetwork, SACConfig, soft_value_iteration, train_sac
from mmbook.rl.sac import sac_target
from mmbook.world.caption_tree import CaptionTree
from mmbook.world.mdp import TableBatchEnv

CONFIG = SACConfig(
    steps=8_000,
    gamma=0.9,
    beta=0.5,
    lr=0.03,
    batch=128,
    warm_up=256,
    train_every=32,
    updates=4,
    target_every=20,
)


def test_targets_take_the_lower_opinion_and_pay_for_entropy() -> None:
    envs = TableBatchEnv(CaptionTree(length=2).mdp, 1)
    nets = [QNetwork(envs) for _ in range(3)]
    with torch.no_grad():
        for i, net in enumerate(nets):
            draws = torch.Generator().manual_seed(i)
            net.head.weight.copy_(torch.randn(net.head.weight.shape, generator=draws))
    s = torch.arange(3)
    batch = (s, torch.zeros(3), torch.ones(3), s, torch.tensor([0.0, 1.0, 0.0]))
    z, q1, q2 = (net(s).tolist() for net in nets)
    slow = []
    for i in range(3):
        total = sum(map(math.exp, z[i]))
        p = [math.exp(x) / total for x in z[i]]
        rows = zip(p, q1[i], q2[i], strict=True)
        slow.append(1 + 0.9 * (i != 1) * sum(p * (min(a, b) - 0.5 * math.log(p)) for p, a, b in rows))
    assert sac_target(nets[0], nets[1:], batch, CONFIG).tolist() == pytest.approx(slow, abs=1e-5)


def test_the_policy_is_the_exact_soft_optimum() -> None:
    mdp = CaptionTree(length=3).mdp
    run = train_sac(TableBatchEnv(mdp, 8), CONFIG, seed=0)
    ones = torch.zeros(len(mdp.d_0), 5, dtype=torch.float64)  # paid for entropy: each action weighs 1
    plan = soft_value_iteration(mdp, CONFIG.gamma, CONFIG.beta, ones)
    exact = soft_policy(plan.Q, ones, CONFIG.beta).exp().numpy()
    with torch.no_grad():
        learned = run.model(torch.arange(len(mdp.d_0))).softmax(-1).numpy()
    for s in np.flatnonzero(~mdp.terminal):
        assert np.abs(learned[s] - exact[s]).sum() / 2 < 0.01, mdp.states[s]
    other = soft_policy(plan.Q, ones, 4 * CONFIG.beta).exp().numpy()
    assert np.abs(other - exact).sum(-1).max() / 2 > 0.2  # the tolerance tells temperatures apart


def test_runs_repeat_to_the_bit() -> None:
    envs = TableBatchEnv(CaptionTree(length=2).mdp, 4)
    runs = [train_sac(envs, replace(CONFIG, steps=500), seed=2) for _ in range(2)]
    assert runs[0].episodes == runs[1].episodes and runs[0].history == runs[1].history
