"""Deep Q-learning: what enters the memory, what the targets are, and that it finds known values."""

from dataclasses import replace

import gymnasium
import numpy as np
import pytest
import torch

from mmbook.rl import DQNConfig, QNetwork, Replay, Run, evaluate, train_dqn, value_iteration
from mmbook.rl.dqn import dqn_target, experience
from mmbook.world.caption_tree import CaptionTree
from mmbook.world.classifier import StickerClassifierBatch
from mmbook.world.gaze import StickerGazeBatch
from mmbook.world.mdp import TableBatchEnv

QUICK = DQNConfig(steps=6000, warm_up=256, train_every=16, updates=4, target_every=25, lr=0.02, gamma=0.9)


def cart_poles(n: int) -> gymnasium.vector.VectorEnv:
    return gymnasium.make_vec("CartPole-v1", num_envs=n, vectorization_mode="vector_entry_point")


def test_the_memory_keeps_the_newest_and_the_type() -> None:
    envs = StickerGazeBatch(4)
    replay = Replay(envs, 10)
    for k in range(6):
        frame = np.full((4, 24, 24, 4), k, np.uint8)
        ks = np.full(4, k)
        replay.add(obs=frame, actions=ks, r=ks, obs_next=frame + 1, ended=ks == 5)
    obs, actions, r, obs_next, ended = replay.sample(2000, np.random.default_rng(0))
    assert obs.dtype == obs_next.dtype == torch.uint8 and r.dtype == torch.float32
    counts = torch.bincount(actions, minlength=6)
    assert counts[:3].sum() == 0 and counts[3] == pytest.approx(400, abs=80)  # 2 of 10 are left
    assert counts[4:].tolist() == pytest.approx([800, 800], abs=100)
    assert (obs[:, 0, 0, 0] == actions).all() and (obs_next[:, 0, 0, 0] == actions + 1).all()
    assert torch.equal(ended, (actions == 5).float()) and torch.equal(r, actions.float())


def test_experience_is_what_the_tables_say_and_no_reset_is_a_transition() -> None:
    mdp = CaptionTree(length=3).mdp
    envs, run, rng = TableBatchEnv(mdp, 8), Run(None), np.random.default_rng(0)
    replay = Replay(envs, 1000)
    config = replace(QUICK, steps=900)
    for _ in experience(envs, lambda obs, step: rng.integers(5, size=len(obs)), replay, run, config, 0):
        pass
    n = replay.count
    s, a, t = replay.obs[:n], replay.actions[:n], replay.obs_next[:n]
    assert not mdp.terminal[s].any()  # a reset would begin in the end
    assert (mdp.P[s, a, t] == 1).all() and np.allclose(replay.r[:n], mdp.R[s, a, t])
    assert (replay.ended[:n] == mdp.terminal[t]).all() and n >= 900
    assert len(run.episodes) == replay.ended[:n].sum()
    assert sum(R for _, R in run.episodes) == pytest.approx(replay.r[:n].sum(), abs=1e-3)
    assert max(step for step, _ in run.episodes) <= n


def test_an_episode_that_is_cut_off_goes_on_in_the_targets() -> None:
    envs = StickerGazeBatch(3, max_episode_steps=4)
    replay, run = Replay(envs, 500), Run(None)
    up = np.zeros(3, np.int64)
    for _ in experience(envs, lambda obs, step: up, replay, run, replace(QUICK, steps=120), 0):
        pass
    assert len(run.episodes) == 30 and not replay.ended[: replay.count].any()
    assert {round(R, 6) for _, R in run.episodes} == {-0.2}


def test_targets_read_the_right_network_and_nothing_after_an_end() -> None:
    envs = TableBatchEnv(CaptionTree(length=3).mdp, 1)
    Q, target = QNetwork(envs), QNetwork(envs)
    with torch.no_grad():
        for i, net in enumerate((Q, target)):
            net.head.weight.copy_(
                torch.randn(net.head.weight.shape, generator=torch.Generator().manual_seed(i))
            )
    batch = Replay(envs, 3)
    batch.add(
        obs=np.arange(3), actions=np.zeros(3), r=np.ones(3), obs_next=np.arange(3), ended=np.arange(3) == 2
    )
    rows = (torch.arange(3), torch.zeros(3), torch.ones(3), torch.arange(3), torch.tensor([0.0, 0.0, 1.0]))
    q, p = (net(torch.arange(3)).tolist() for net in (Q, target))
    plain = [1 + 0.9 * max(p[0]), 1 + 0.9 * max(p[1]), 1]
    double = [1 + 0.9 * p[i][q[i].index(max(q[i]))] for i in range(2)] + [1]
    assert plain != pytest.approx(double)
    assert dqn_target(Q, target, rows, 0.9, False).tolist() == pytest.approx(plain, abs=1e-6)
    assert dqn_target(Q, target, rows, 0.9, True).tolist() == pytest.approx(double, abs=1e-6)
    assert not dqn_target(Q, target, rows, 0.9, True).requires_grad


@pytest.mark.parametrize("double", [False, True])
def test_a_table_reaches_the_exact_values(double: bool) -> None:
    mdp = CaptionTree(length=3).mdp
    exact = value_iteration(mdp, QUICK.gamma).Q.numpy()
    run = train_dqn(TableBatchEnv(mdp, 8), replace(QUICK, eps_share=1.0, double=double), seed=1)
    with torch.no_grad():
        Q = run.model(torch.arange(len(mdp.d_0))).numpy()
    live = ~mdp.terminal
    assert np.abs(Q - exact)[live].max() < 0.03 < np.abs(exact[live]).max()
    assert run.returns(100) > 0.5 * exact[0].max()


def test_runs_repeat_to_the_bit_and_seeds_differ() -> None:
    config = replace(QUICK, steps=600)
    runs = [train_dqn(cart_poles(4), config, seed) for seed in (0, 0, 1)]
    assert runs[0].episodes == runs[1].episodes != runs[2].episodes
    assert runs[0].history == runs[1].history


def test_the_callback_ends_training_and_exploration_falls() -> None:
    seen = []
    train_dqn(
        cart_poles(2),
        replace(QUICK, steps=4000),
        every=500,
        callback=lambda step, Q: seen.append(step) or step > 900,
    )
    assert len(seen) == 2 and 1000 <= seen[-1] < 1100
    config = DQNConfig(steps=1000, eps_share=0.5)
    assert [config.eps(s) for s in (0, 250, 500, 900)] == pytest.approx([1, 0.525, 0.05, 0.05])


@pytest.mark.slow
def test_pictures_of_stickers_are_learnt() -> None:
    config = DQNConfig(steps=6000, warm_up=512, train_every=64, updates=8, gamma=0.0)
    run = train_dqn(StickerClassifierBatch(64, kinds=4), config, 0)
    assert evaluate(run.model.act, StickerClassifierBatch(100, kinds=4), 1000).mean() > 0.9


@pytest.mark.parametrize("how", [{"warm_up": 6000}, {"train_every": 0}, {"updates": 0}, {"target_every": 0}])
def test_settings_that_never_learn_are_refused(how: dict) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(how))}: expected"):
        train_dqn(TableBatchEnv(CaptionTree().mdp, 2), replace(QUICK, **how))
