"""Reinforcement learning, one file an algorithm: planning, tables, deep Q-learning, policy gradients."""

from mmbook.rl.networks import ActorCritic, QNetwork
from mmbook.rl.rollouts import Player, Rollout, Run, evaluate, play_episodes

__all__ = ["ActorCritic", "Player", "QNetwork", "Rollout", "Run", "evaluate", "play_episodes"]
