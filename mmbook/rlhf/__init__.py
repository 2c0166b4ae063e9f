"""Learning from feedback: reward models, PPO-RLHF, and what stands beside it."""

from mmbook.rlhf.ppo import PPOConfig, fine_tune_with_rl
from mmbook.rlhf.reward_model import RewardConfig, RewardModel, train_reward_model
from mmbook.rlhf.rewards import KnownReward, Likelihood, Reward, RewardSum

__all__ = [
    "KnownReward",
    "Likelihood",
    "PPOConfig",
    "Reward",
    "RewardConfig",
    "RewardModel",
    "RewardSum",
    "fine_tune_with_rl",
    "train_reward_model",
]
