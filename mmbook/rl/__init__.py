"""Reinforcement learning, one file an algorithm: planning, tables, deep Q-learning, policy gradients."""

from mmbook.rl.a2c import A2CConfig, train_a2c
from mmbook.rl.networks import ActorCritic, QNetwork
from mmbook.rl.ppo import PPOConfig, train_ppo
from mmbook.rl.reinforce import ReinforceConfig, train_reinforce
from mmbook.rl.rollouts import Player, Rollout, Run, evaluate, play_episodes
from mmbook.rl.trpo import TRPOConfig, train_trpo

__all__ = [
    "A2CConfig",
    "ActorCritic",
    "PPOConfig",
    "Player",
    "QNetwork",
    "ReinforceConfig",
    "Rollout",
    "Run",
    "TRPOConfig",
    "evaluate",
    "play_episodes",
    "train_a2c",
    "train_ppo",
    "train_reinforce",
    "train_trpo",
]
