"""Learning from feedback: reward models and PPO-RLHF."""

from mmbook.rlhf.ppo import PPOConfig, fine_tune_with_rl
from mmbook.rlhf.reward_model import RewardConfig, RewardModel, train_reward_model

__all__ = ["PPOConfig", "RewardConfig", "RewardModel", "fine_tune_with_rl", "train_reward_model"]
