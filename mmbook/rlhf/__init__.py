"""Learning from feedback: reward models, PPO-RLHF, and what stands beside it."""

from mmbook.rlhf.best_of_n import best_of_n
from mmbook.rlhf.config import PPOConfig
from mmbook.rlhf.direct import DirectConfig, fine_tune_on_pairs
from mmbook.rlhf.fine_tune import fine_tune_with_rl
from mmbook.rlhf.reward_model import RewardConfig, RewardModel, train_reward_model
from mmbook.rlhf.rewards import KnownReward, Likelihood, Reward, RewardSum
from mmbook.rlhf.rounds import Rounds, train_in_rounds

__all__ = [
    "DirectConfig",
    "KnownReward",
    "Likelihood",
    "PPOConfig",
    "Reward",
    "RewardConfig",
    "RewardModel",
    "RewardSum",
    "Rounds",
    "best_of_n",
    "fine_tune_on_pairs",
    "fine_tune_with_rl",
    "train_in_rounds",
    "train_reward_model",
]
