"""Train one of Stable-Baselines3's learners on CartPole-v1 and print a JSON line an evaluation.

PEER/bin/python benchmarks/peers/sb3_cartpole.py ppo 0 1000 100000

Settings are those of RL Baselines3 Zoo, hyperparams/{ppo,a2c,dqn}.yml, CartPole-v1 (the DQN's are the ones of
commit ce95481, the zoo's for Stable-Baselines3 1.x to 2.x). Environments are the library's own default.
"""

from __future__ import annotations

import argparse
import json
import time

import gymnasium
import numpy as np
import torch
from stable_baselines3 import A2C, DQN, PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env

LEARNERS = {"ppo": PPO, "a2c": A2C, "dqn": DQN}
STEPS = {"ppo": 100_000, "a2c": 500_000, "dqn": 50_000}
ENVS = {"ppo": 8, "a2c": 8, "dqn": 1}
SETTINGS = {
    "ppo": {
        "n_steps": 32,
        "batch_size": 256,
        "gae_lambda": 0.8,
        "gamma": 0.98,
        "n_epochs": 20,
        "ent_coef": 0.0,
        "learning_rate": lambda left: 1e-3 * left,
        "clip_range": lambda left: 0.2 * left,
    },
    "a2c": {"ent_coef": 0.0},
    "dqn": {
        "learning_rate": 2.3e-3,
        "batch_size": 64,
        "buffer_size": 100_000,
        "learning_starts": 1000,
        "gamma": 0.99,
        "target_update_interval": 10,
        "train_freq": 256,
        "gradient_steps": 128,
        "exploration_fraction": 0.16,
        "exploration_final_eps": 0.04,
        "policy_kwargs": {"net_arch": [256, 256]},
    },
}


def mean_return(model, episodes: int, seed: int) -> float:
    """The greedy policy's mean return over the first episode of each of so many environments."""
    envs = gymnasium.make_vec("CartPole-v1", episodes, vectorization_mode="vector_entry_point")
    obs, _ = envs.reset(seed=seed)
    total, alive = np.zeros(episodes), np.ones(episodes, bool)
    while alive.any():
        obs, reward, terminated, truncated, _ = envs.step(model.predict(obs, deterministic=True)[0])
        total += reward * alive
        alive &= ~(terminated | truncated)
    return float(total.mean())


class Watch(BaseCallback):
    """Print an evaluation about every so many steps, right after an update; its time does not count.

    Once a mean is 475 or more, evaluations are a tenth as frequent and training ends so many steps later.
    """

    def __init__(self, every: int, after: int, seed: int) -> None:
        super().__init__()
        self.every, self.after, self.seed = every, after, seed
        self.called, self.paused, self.stop = 0, 0.0, 0
        self.start = time.process_time()

    def _on_rollout_start(self) -> None:
        if self.num_timesteps >= self.called + self.every:
            self.called = self.num_timesteps
            self.report(10_000)

    def report(self, seed: int, **more) -> None:
        """Evaluate and print."""
        now = time.process_time()
        seconds = now - self.start - self.paused
        mean = mean_return(self.model, 100, seed + self.seed)
        if mean >= 475 and not self.stop:
            self.every, self.stop = 10 * self.every, self.num_timesteps + self.after
        line = {"step": self.num_timesteps, "mean": mean, "seconds": round(seconds, 3), **more}
        print(json.dumps(line), flush=True)
        self.paused += time.process_time() - now

    def _on_step(self) -> bool:
        return not self.stop or self.num_timesteps < self.stop


def warm_up() -> None:
    """Take one step of an optimiser: the first imports a large part of PyTorch, which is no training."""
    x = torch.ones(1, requires_grad=True)
    x.sum().backward()
    torch.optim.Adam([x]).step()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("algorithm", choices=LEARNERS)
    parser.add_argument("seed", type=int)
    parser.add_argument("every", type=int, help="environment steps between evaluations")
    parser.add_argument("after", type=int, help="environment steps of training after 475 is reached")
    args = parser.parse_args()
    torch.set_num_threads(1)
    name = args.algorithm
    warm_up()
    watch = Watch(args.every, args.after, args.seed)
    envs = make_vec_env("CartPole-v1", n_envs=ENVS[name], seed=args.seed)
    model = LEARNERS[name]("MlpPolicy", envs, seed=args.seed, device="cpu", **SETTINGS[name])
    model.learn(STEPS[name], callback=watch)
    watch.report(20_000, last=True)
