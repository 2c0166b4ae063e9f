"""Reinforcement learning, one file an algorithm: planning, tables, deep Q-learning, policy gradients."""

import mmbook.world.environments  # noqa: F401 - registers them
from mmbook.rl.a2c import A2CConfig, train_a2c
from mmbook.rl.dqn import DQNConfig, Replay, train_dqn
from mmbook.rl.games import nash, play
from mmbook.rl.monte_carlo import monte_carlo
from mmbook.rl.networks import ActorCritic, QNetwork
from mmbook.rl.options import Option, value_iteration_with_options, way_to
from mmbook.rl.planning import (
    Plan,
    evaluate_policy,
    greedy,
    performance,
    policy_iteration,
    regret,
    soft_value_iteration,
    value_iteration,
)
from mmbook.rl.ppo import PPOConfig, train_ppo
from mmbook.rl.q_learning import q_learning, q_learning_lists, q_learning_plain
from mmbook.rl.q_lockstep import q_learning_lockstep
from mmbook.rl.reinforce import ReinforceConfig, train_reinforce
from mmbook.rl.rollouts import Player, Rollout, Run, evaluate, play_episodes
from mmbook.rl.sac import SACConfig, train_sac
from mmbook.rl.sarsa import sarsa
from mmbook.rl.td import td
from mmbook.rl.trpo import TRPOConfig, train_trpo
from mmbook.rl.walks import Learned, TableConfig

__all__ = [
    "A2CConfig", "ActorCritic", "DQNConfig", "Learned", "Option", "PPOConfig", "Plan", "Player", "QNetwork",
    "ReinforceConfig", "Replay", "Rollout", "Run", "SACConfig", "TRPOConfig", "TableConfig", "evaluate",
    "evaluate_policy", "greedy", "monte_carlo", "nash", "performance", "play", "play_episodes",
    "policy_iteration", "q_learning", "q_learning_lists", "q_learning_lockstep", "q_learning_plain", "regret",
    "sarsa", "soft_value_iteration", "td", "train_a2c", "train_dqn", "train_ppo", "train_reinforce",
    "train_sac", "train_trpo", "value_iteration", "value_iteration_with_options", "way_to",
]  # fmt: skip
