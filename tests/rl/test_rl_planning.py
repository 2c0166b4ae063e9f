"""Planning against itself, against simulation, and on the caption tree against all captions at once."""

from dataclasses import replace
from itertools import pairwise

import gymnasium
import numpy as np
import pytest
import torch

from mmbook.equations import (
    bellman_optimality,
    kl_objective,
    kl_regularised_optimum,
    policy_value,
    soft_policy,
)
from mmbook.rl import (
    evaluate_policy,
    greedy,
    performance,
    policy_iteration,
    regret,
    soft_value_iteration,
    value_iteration,
)
from mmbook.rl.planning import tables
from mmbook.world.caption_tree import CaptionTree
from mmbook.world.gridworld import GRIDS, gridworld
from mmbook.world.mdp import MDP, TableBatchEnv

F64 = torch.float64


def worlds() -> dict[str, MDP]:
    """Every gridworld, and Gymnasium's own."""
    found: dict[str, MDP] = {f"{name} {slip}": gridworld(name, slip) for name in GRIDS for slip in (0.0, 0.2)}
    for name, settings in {
        "FrozenLake-v1": {"map_name": "4x4"},
        "FrozenLake8x8-v1": {},
        "CliffWalking-v1": {},
    }.items():
        found[name] = MDP.from_gymnasium(gymnasium.make(name, **settings))
    return found


WORLDS = worlds()


@pytest.mark.parametrize("gamma", [0.5, 0.9, 0.99])
@pytest.mark.parametrize("name", WORLDS)
def test_value_and_policy_iteration_agree(name: str, gamma: float) -> None:
    mdp = WORLDS[name]
    by_value, by_policy = value_iteration(mdp, gamma), policy_iteration(mdp, gamma)
    assert (by_value.V - by_policy.V).abs().max() < 1e-10
    assert (by_value.Q - by_policy.Q).abs().max() < 1e-10
    P, r, _ = tables(mdp)
    assert (bellman_optimality(P, r, by_policy.V, gamma) - by_policy.V).abs().max() < 1e-11
    for plan in (by_value, by_policy):
        assert (evaluate_policy(mdp, greedy(plan.Q), gamma) - by_policy.V).abs().max() < 1e-9
    assert (by_policy.sweeps.diff(dim=0) > -1e-11).all()  # every policy is at least as good as the last


def test_known_values_of_gymnasium_worlds() -> None:
    """The cliff is 13 steps long; on the slippery lake the best policy arrives with probability 14/17."""
    cliff, lake = WORLDS["CliffWalking-v1"], WORLDS["FrozenLake-v1"]
    assert performance(cliff, greedy(value_iteration(cliff, 1.0).Q), 1.0) == pytest.approx(-13)
    assert policy_iteration(cliff, 1.0).V[36].item() == pytest.approx(-13)
    assert policy_iteration(lake, 1.0).V[0].item() == pytest.approx(14 / 17, abs=1e-9)


def test_errors_of_the_sweeps_stay_below_their_bound() -> None:
    mdp, gamma = gridworld("rooms"), 0.9
    plan = value_iteration(mdp, gamma)
    errors = (plan.sweeps - policy_iteration(mdp, gamma).V).abs().amax(-1)
    assert (errors <= errors[0] * gamma ** torch.arange(len(errors), dtype=F64) + 1e-11).all()


@pytest.mark.parametrize(("name", "slip"), [("cliff", 0.2), ("rooms", 0.1)])
def test_performance_is_the_mean_of_simulated_returns(name: str, slip: float) -> None:
    mdp, gamma = gridworld(name, slip), 0.95
    pi = 0.5 * greedy(value_iteration(mdp, gamma).Q).numpy() + 0.125
    envs = TableBatchEnv(mdp, 20_000)
    s, _ = envs.reset(seed=1)
    rng, total, alive = np.random.default_rng(0), np.zeros(20_000), np.ones(20_000, bool)
    for t in range(300):
        a = (rng.random(20_000)[:, None] > pi.cumsum(-1)[s]).sum(-1)
        s, reward, ended, _, _ = envs.step(a)
        total += gamma**t * reward * alive
        alive &= ~ended
    exact = performance(mdp, pi, gamma)
    assert abs(total.mean() - exact) < 4 * total.std() / 20_000**0.5
    assert 0 < regret(mdp, pi, gamma) == pytest.approx(performance(mdp, best(mdp, gamma), gamma) - exact)
    assert abs(regret(mdp, best(mdp, gamma), gamma)) < 1e-12


def best(mdp: MDP, gamma: float) -> torch.Tensor:
    return greedy(policy_iteration(mdp, gamma).Q)


def test_no_deterministic_policy_is_better_than_the_plan() -> None:
    """All 4^5 policies of a small map, one by one."""
    mdp = gridworld(("SC", "..", ".G"), slip=0.3)
    live = torch.tensor(np.flatnonzero(~mdp.terminal))
    values = []
    for code in range(4 ** len(live)):
        actions = torch.zeros(len(mdp.d_0), dtype=torch.long)
        actions[live] = torch.tensor([code // 4**i % 4 for i in range(len(live))])
        values.append(evaluate_policy(mdp, torch.nn.functional.one_hot(actions, 4), 0.9))
    assert torch.allclose(torch.stack(values).amax(0), policy_iteration(mdp, 0.9).V, atol=1e-12)


def test_greedy_bound() -> None:
    """Checks id:greedy-bound: acting on values that are wrong by e loses at most 2 gamma e / (1 - gamma)."""
    g = torch.Generator().manual_seed(0)
    for name, gamma in (("cliff", 0.9), ("pond", 0.8), ("bridge", 0.95)):
        mdp = gridworld(name)
        P, r, _ = tables(mdp)
        V = policy_iteration(mdp, gamma).V
        for e in (0.01, 0.1, 1.0):
            wrong = V + e * (2 * torch.rand(len(V), generator=g, dtype=F64) - 1)
            loss = V - evaluate_policy(mdp, greedy(r + gamma * P @ wrong), gamma)
            assert (loss > -1e-10).all() and loss.max() <= 2 * gamma * e / (1 - gamma)
    # Where errors are as bad as can be, the loss is the bound: stay for 0 or go for just less.
    P = torch.tensor([[[1.0, 0], [0, 1]], [[0, 1], [0, 1]]], dtype=F64)
    gamma, e = 0.9, 0.1
    r = torch.tensor([[0, 2 * gamma * e], [0, 0]], dtype=F64)  # going now is worth 2 gamma e
    stay = torch.tensor([[1.0, 0], [1, 0]], dtype=F64)
    V = torch.tensor([2 * gamma * e, 0], dtype=F64)
    loss = V - policy_value(P, r, stay, gamma)
    assert loss.max().item() == pytest.approx(2 * gamma * e)


def test_sequence_and_token_views_agree() -> None:
    """Checks id:sequence-token: at discount 1 words and whole captions have one value and one divergence."""
    tree = CaptionTree()
    P, r, d_0 = tables(tree.mdp)
    g = torch.Generator().manual_seed(0)
    for beta in (0.0, 0.5):
        log_pi, log_ref = torch.randn(2, 86, 5, generator=g, dtype=F64).log_softmax(-1)
        words = r - beta * (log_pi - log_ref) * ~torch.tensor(tree.mdp.terminal)[:, None]
        as_words = d_0 @ policy_value(P, words, log_pi.exp(), 1.0)
        log_p, log_p_ref = tree.log_prob(log_pi), tree.log_prob(log_ref)
        as_captions = kl_objective(log_p, log_p_ref, torch.tensor(tree.rewards), beta)
        assert as_words.item() == pytest.approx(as_captions.item(), abs=1e-12)
        discounted = d_0 @ policy_value(P, words, log_pi.exp(), 0.9)
        assert abs((discounted - as_captions).item()) > 0.1  # at no other discount


@pytest.mark.parametrize("beta", [0.2, 1.0, 5.0])
def test_soft_values_of_the_tree(beta: float) -> None:
    """Checks id:soft-tree: word by word, soft values lead to the best policy over whole captions."""
    tree = CaptionTree()
    log_ref = torch.randn(86, 5, generator=torch.Generator().manual_seed(1), dtype=F64).log_softmax(-1)
    plan = soft_value_iteration(tree.mdp, 1.0, beta, log_ref)
    best = kl_regularised_optimum(tree.log_prob(log_ref), torch.tensor(tree.rewards), beta)
    assert torch.allclose(tree.log_prob(soft_policy(plan.Q, log_ref, beta)), best, atol=1e-10)
    J = kl_objective(best, tree.log_prob(log_ref), torch.tensor(tree.rewards), beta)
    assert plan.V[0].item() == pytest.approx(J.item(), abs=1e-10)
    assert len(plan.sweeps) == tree.length + 2  # four words deep, one sweep that changes nothing


def test_soft_values_approach_the_hard_ones_and_fall_with_the_price() -> None:
    mdp, uniform = gridworld("cliff"), torch.full((28, 4), 0.25, dtype=F64).log()
    V = [soft_value_iteration(mdp, 0.9, beta, uniform).V for beta in (1e-4, 0.01, 0.1, 1.0, 100.0)]
    assert torch.allclose(V[0], value_iteration(mdp, 0.9).V, atol=1e-2)
    assert all((a > b - 1e-12).all() for a, b in pairwise(V))
    assert torch.allclose(V[-1], evaluate_policy(mdp, uniform.exp(), 0.9), atol=1e-2)


def test_ties_go_to_the_first_action() -> None:
    Q = torch.tensor([[1.0, 1.0 + 1e-13, 0.0], [0.0, 2.0, 2.0]], dtype=F64)
    assert greedy(Q).argmax(-1).tolist() == [0, 1]


def test_rewards_a_million_times_as_large_leave_the_plan_as_it_is() -> None:
    mdp = WORLDS["rooms 0.2"]  # here rounding alone is larger than the tie of small rewards
    large = replace(mdp, R=1e6 * mdp.R)
    for plan in (value_iteration, policy_iteration):
        assert torch.equal(greedy(plan(large, 0.9).Q), greedy(plan(mdp, 0.9).Q))


def test_values_without_limit_are_refused() -> None:
    P = np.ones((1, 1, 1))
    endless = MDP(P, P, np.ones(1), np.zeros(1, bool))
    with pytest.raises(ValueError, match="30,000 sweeps were not enough"):
        value_iteration(endless, 1.0)
    with pytest.raises(ValueError, match="need not end"):
        policy_iteration(endless, 1.0)
    assert value_iteration(endless, 0.5).V.item() == pytest.approx(2)


def test_tables_of_any_number_type_are_planned_alike_and_others_refused() -> None:
    P, R = np.zeros((2, 3, 2, 3), int)
    P[0, :, 1] = P[1, 0, 0] = P[1, 1, 2] = P[2, :, 2] = R[1, 1, 2] = 1
    ends = np.arange(3) == 2
    for kind in (int, np.float32, float):
        mdp = MDP(P.astype(kind), R.astype(kind), np.eye(3)[0], ends)
        assert value_iteration(mdp, 0.5).V.tolist() == policy_iteration(mdp, 0.5).V.tolist() == [0.5, 1, 0]
    with pytest.raises(ValueError, match="terminal: expected booleans, got int"):
        MDP(P, R, np.eye(3)[0], ends.astype(int))
    for wrong in (np.ones((3, 2)), np.array([[2.0, -1.0]] * 3)):
        with pytest.raises(ValueError, match=r"pi: .* \[0, 1, 2\]"):
            evaluate_policy(mdp, wrong, 0.5)
