"""Tabular learners against exact values, each against those of its own target policy."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch

from mmbook.equations import epsilon_greedy
from mmbook.rl import (
    Learned,
    TableConfig,
    monte_carlo,
    q_learning,
    q_learning_lists,
    q_learning_lockstep,
    q_learning_plain,
    sarsa,
    td,
)
from mmbook.world.gridworld import gridworld
from mmbook.world.mdp import MDP, TableEnv

GAMMA, EPS = 0.9, 0.3


def explore(eps: float) -> Callable[[torch.Tensor, int], torch.Tensor]:
    return lambda Q, step: epsilon_greedy(Q, eps)


def best(mdp: MDP, eps: float = 0.0, gamma: float = GAMMA) -> np.ndarray:
    """Action values (S, A) of the best policy that explores with eps: a slow loop of its Bellman equation."""
    Q = np.zeros_like(mdp.r)
    for _ in range(500):
        Q = mdp.r + gamma * mdp.P @ ((1 - eps) * Q.max(-1) + eps * Q.mean(-1))
    return Q


def values(mdp: MDP, pi: np.ndarray) -> np.ndarray:
    """Values (S,) of a policy, by solving their linear equations."""
    P = np.einsum("sa,sat->st", pi, mdp.P)
    return np.linalg.solve(np.eye(len(P)) - GAMMA * P, (pi * mdp.r).sum(-1))


def live(mdp: MDP) -> np.ndarray:
    """The states (S,) that an episode can pass through; CliffWalking has others, that none can enter."""
    reached = mdp.d_0 > 0
    for _ in mdp.d_0:
        reached = reached | (mdp.P[reached].sum((0, 1)) > 0)
    return reached & ~mdp.terminal


def anywhere(mdp: MDP) -> MDP:
    """The same process with episodes that begin in any live state: every state is then visited for ever."""
    return dataclasses.replace(mdp, d_0=live(mdp) / live(mdp).sum())


def from_gymnasium(name: str) -> MDP:
    return anywhere(MDP.from_gymnasium(gymnasium.make(name)))


def soft_best(mdp: MDP) -> np.ndarray:
    return epsilon_greedy(torch.from_numpy(best(mdp, EPS)), EPS).numpy()


def error(mdp: MDP, learned: Learned, exact: np.ndarray) -> np.ndarray:
    """Root mean square error of each run (runs,) over the live states, as a share of the largest reward."""
    wrong = (learned.table - exact)[:, live(mdp)].reshape(len(learned.table), -1)
    return np.sqrt((wrong**2).mean(-1)) / np.abs(mdp.R).max()


PROCESSES = {
    "cliff": lambda: anywhere(gridworld("cliff")),
    "FrozenLake-v1": lambda: from_gymnasium("FrozenLake-v1"),
    "CliffWalking-v1": lambda: from_gymnasium("CliffWalking-v1"),
}
# learner, and the exact values of its own target policy
METHODS = {
    "q": (lambda m, c: q_learning(m, explore(0.5), c), lambda m: best(m)),
    "double q": (lambda m, c: q_learning(m, explore(0.5), c, double=True), lambda m: best(m)),
    "sarsa": (lambda m, c: sarsa(m, explore(EPS), c), lambda m: best(m, EPS)),
    "expected sarsa": (lambda m, c: sarsa(m, explore(EPS), c, expected=True), lambda m: best(m, EPS)),
    "td 0": (lambda m, c: td(m, soft_best(m), c), lambda m: values(m, soft_best(m))),
    "td 0.8": (lambda m, c: td(m, soft_best(m), c, lam=0.8), lambda m: values(m, soft_best(m))),
    "mc": (
        lambda m, c: monte_carlo(m, soft_best(m), dataclasses.replace(c, steps=c.steps // 10)),
        lambda m: m.r + GAMMA * m.P @ values(m, soft_best(m)),
    ),
    "mc control": (
        lambda m, c: monte_carlo(m, explore(EPS), dataclasses.replace(c, steps=c.steps // 10), False),
        lambda m: best(m, EPS),
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("process", "method"),
    [
        *(("cliff", method) for method in METHODS),
        *(("FrozenLake-v1", method) for method in METHODS if method[:2] != "mc"),
        *(("CliffWalking-v1", method) for method in METHODS if method[:2] != "mc"),
    ],
)
def test_each_method_converges_to_the_values_of_its_own_policy(process: str, method: str) -> None:
    """Ten seeds: the worst is within a share of the largest reward, and they close in on their own table.

    CliffWalking pays -100 now and then to a policy that explores, so its targets are the noisiest.
    """
    mdp, (learn, exact) = PROCESSES[process](), METHODS[method]
    learned = learn(mdp, TableConfig(gamma=GAMMA, steps=40_000, limit=50, snapshots=4))
    off, early = (error(mdp, Learned(table), exact(mdp)) for table in (learned.table, learned.tables[0]))
    assert off.max() < {"cliff": 0.13, "FrozenLake-v1": 0.06, "CliffWalking-v1": 0.15}[process]
    assert off.mean() < 0.85 * early.mean()
    if "sarsa" in method or "control" in method:  # not the values of the best policy
        assert error(mdp, learned, best(mdp)).mean() > 1.3 * off.mean()


def test_q_learning_is_exact_where_nothing_is_random() -> None:
    """With step size 1 and no slips every step is a backup, so the tables end at the exact values."""
    mdp = anywhere(gridworld("cliff", slip=0.0))
    config = TableConfig(gamma=GAMMA, steps=6000, runs=4, alpha=1.0, limit=20)
    for learned, exact in (
        (q_learning(mdp, explore(1.0), config), best(mdp)),
        (q_learning(mdp, explore(1.0), config, double=True), best(mdp)),
        (sarsa(mdp, explore(1.0), config, expected=True), best(mdp, 1.0)),
    ):
        assert np.abs(learned.table - exact).max() < 1e-3
    walking = from_gymnasium("CliffWalking-v1")
    learned = q_learning(walking, explore(1.0), dataclasses.replace(config, steps=12_000))
    assert np.abs(learned.table - best(walking))[:, live(walking)].max() < 1e-3


def chain(*rewards: float, stay: float = 0.0, first: int = 0) -> MDP:
    """States in a row with one action each: it earns its reward and goes on, or perhaps stays."""
    S = len(rewards) + 1
    P, R = np.zeros((2, S, 1, S))
    P[-1, 0, -1] = 1
    for s, reward in enumerate(rewards):
        P[s, 0, s], P[s, 0, s + 1], R[s, 0] = stay, 1 - stay, reward
    return MDP(P, R, np.eye(S)[first], np.arange(S) == S - 1)


def after(learner: Iterator[Any], rounds: int) -> Any:
    """What a learner that goes on for ever has yielded after some rounds."""
    return next(itertools.islice(learner, rounds - 1, None))


def test_a_cut_is_not_an_end() -> None:
    """A world that pays 1 for ever is worth 1 / (1 - gamma), however early its episodes are cut."""
    loop = MDP(np.ones((1, 2, 1)), np.ones((1, 2, 1)), np.ones(1), np.zeros(1, bool))
    config = TableConfig(gamma=0.8, steps=600, runs=2, alpha=0.2, limit=3)
    pi = np.full((1, 2), 0.5)
    for learned in (
        td(loop, pi, config),
        td(loop, pi, config, lam=0.9),
        q_learning(loop, explore(0.5), config),
        sarsa(loop, explore(0.5), config),
    ):
        assert np.abs(learned.table - 5).max() < 0.01
        assert {r for _, _, r in learned.episodes} == {3.0}
    steps = TableConfig(gamma=0.8, c=1.0, p=0.5, limit=3)
    learners = (q_learning_plain(TableEnv(loop), 0.5, steps), q_learning_lists(loop, 0.5, steps))
    for learner in (*learners, (Q for _, Q in q_learning_lockstep(loop, 0.5, steps))):
        assert np.abs(np.array(after(learner, 400)) - 5).max() < 0.05


def test_traces_end_with_their_episode() -> None:
    """Two chains of one state each: the one that pays nothing stays at exactly 0."""
    P, R = np.zeros((2, 3, 1, 3))
    P[:, 0, 2] = 1
    R[0, 0, 2] = 1
    two = MDP(P, R, np.array([0.5, 0.5, 0.0]), np.arange(3) == 2)
    V = td(two, np.ones((3, 1)), TableConfig(gamma=1.0, steps=200, alpha=0.1), lam=1.0).table
    assert (V[:, 1] == 0).all() and (V[:, 0] > 0.99).all()


def test_td_lambda_equals_a_slow_loop() -> None:
    """One episode of a chain is the same for everyone, so the table can be computed by hand."""
    r, gamma, lam, alpha = [1.0, -2.0, 3.0, 0.5], 0.9, 0.6, 0.3
    V, e = [0.0] * 5, [0.0] * 5
    for _ in range(3):
        for t in range(4):
            e = [gamma * lam * x for x in e]
            e[t] += 1
            delta = r[t] + gamma * (V[t + 1] if t < 3 else 0.0) - V[t]
            V = [v + alpha * delta * x for v, x in zip(V, e, strict=True)]
        e = [0.0] * 5
    config = TableConfig(gamma=gamma, steps=12, runs=2, alpha=alpha)
    learned = td(chain(*r), np.ones((5, 1)), config, lam=lam)
    assert learned.table[1].tolist() == pytest.approx(V, abs=1e-12)


def test_first_visit_counts_once() -> None:
    """One episode of L steps in one state that pays 1: L at the first visit, on average (L + 1) / 2."""
    waits = chain(1.0, stay=0.7)
    config = TableConfig(gamma=1.0, steps=1, runs=50, c=1.0, p=1.0)
    for first_visit in (True, False):
        learned = monte_carlo(waits, np.ones((2, 1)), config, first_visit)
        L = np.array([r for _, _, r in learned.episodes])
        assert L.max() > 3
        assert np.allclose(learned.table[:, 0, 0], L if first_visit else (L + 1) / 2)


def test_two_tables_do_not_overestimate() -> None:
    """Ten arms whose mean is -0.1: one table sees a profit, two do not."""
    P, R = np.zeros((2, 4, 10, 4))
    P[0, 0, 2] = P[0, 1:, 1] = 1
    P[1, :, 2], P[1, :, 3] = 0.55, 0.45
    R[1, :, 2], R[1, :, 3] = -1, 1
    P[2:, :, 2:] = np.eye(2)[:, None]
    casino = MDP(P, R, np.eye(4)[0], np.arange(4) > 1)
    config = TableConfig(gamma=1.0, steps=150, runs=400, alpha=0.1)
    one, two = (q_learning(casino, explore(0.1), config, double) for double in (False, True))
    played = [np.mean([r != 0 for _, _, r in learned.episodes]) for learned in (one, two)]
    assert one.table[:, 0, 1:].max(-1).mean() > 0.05 > two.table[:, 0, 1:].max(-1).mean()
    assert played[0] > played[1] + 0.2


def test_lockstep_moves_to_the_mean_of_its_targets() -> None:
    """Step size 1 at the first visit: the entry is the mean reward of those who took the action."""
    P, R = np.zeros((2, 3, 2, 3))
    P[0, :, 1], P[0, :, 2] = 0.5, 0.5
    R[0, 0, 1], R[0, 1, 2] = 4.0, 2.0
    P[1:, :, 1:] = np.eye(2)[:, None]
    fork = MDP(P, R, np.eye(3)[0], np.arange(3) > 0)
    episodes, Q = next(q_learning_lockstep(fork, 0.5, TableConfig(runs=64)))
    means = Q[0] / [4, 2] * 64  # whole numbers of winners over those who took part
    assert episodes == 64 and 0.6 < Q[0, 0] / 2 < 1.4 and 0.6 < Q[0, 1] < 1.4 and (means > 0).all()


def test_three_speeds_find_the_same_policy() -> None:
    mdp = gridworld("cliff", slip=0.0, step=-0.02)
    exact, config = best(mdp, gamma=0.95), TableConfig(gamma=0.95, limit=50)
    plain, lists = q_learning_plain(TableEnv(mdp), 0.3, config), q_learning_lists(mdp, 0.3, config)
    lockstep = (Q for _, Q in q_learning_lockstep(mdp, 0.3, dataclasses.replace(config, runs=32)))
    for learner, rounds in ((plain, 700), (lists, 2000), (lockstep, 700)):
        Q = after(learner, rounds)
        s, steps = int(mdp.d_0.argmax()), 0
        while not mdp.terminal[s] and steps < 20:  # the greedy walk is the shortest
            s, steps = int(mdp.P[s, int(np.argmax(Q[s]))].argmax()), steps + 1
        assert steps == 8 and max(Q[int(mdp.d_0.argmax())]) == pytest.approx(
            exact.max(-1) @ mdp.d_0, abs=0.03
        )


def test_runs_repeat_and_differ() -> None:
    mdp, config = gridworld("cliff"), TableConfig(steps=300, runs=3)
    for learn in (
        lambda seed: q_learning(mdp, explore(0.3), config, seed=seed),
        lambda seed: sarsa(mdp, explore(0.3), config, seed=seed),
        lambda seed: td(mdp, np.full(mdp.r.shape, 0.25), config, seed=seed),
        lambda seed: monte_carlo(
            mdp, np.full(mdp.r.shape, 0.25), dataclasses.replace(config, steps=5), seed=seed
        ),
    ):
        a, b, c = learn(0), learn(0), learn(1)
        assert np.array_equal(a.table, b.table) and a.episodes == b.episodes
        assert not np.array_equal(a.table, c.table)
        assert not np.array_equal(a.table[0], a.table[1])  # the runs of one call are independent
        assert len(a.steps) == len(a.tables) and a.tables[-1] is a.table


@pytest.mark.parametrize("how", [{"steps": 0}, {"snapshots": 0}, {"alpha": 1.5}, {"gamma": -0.1}])
def test_settings_out_of_range_are_refused(how: dict) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(how))}: expected"):
        TableConfig(**how)


def test_every_speed_of_q_learning_takes_a_constant_step_size() -> None:
    P, R = np.zeros((2, 2, 1, 2))
    P[:, :, 1], R[0, :, 1] = 1, 1
    once, config = MDP(P, R, np.eye(2)[0], np.arange(2) == 1), TableConfig(alpha=0.25, runs=1)
    for learner in (q_learning_plain(TableEnv(once), 0.0, config), q_learning_lists(once, 0.0, config)):
        assert [next(learner)[0][0] for _ in range(2)] == [0.25, 0.4375]
