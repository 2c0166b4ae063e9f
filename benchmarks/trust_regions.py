"""Run the chapter on trust regions and, over three more seeds, PPO on both tasks with pixels.

python benchmarks/trust_regions.py
"""

from __future__ import annotations

import gymnasium
import numpy as np
import torch
from chapter_file import measure
from results_file import number, write

from mmbook.rl import PPOConfig, evaluate, train_ppo

SEEDS = (1, 2, 3)
# task: (environment, settings); the gaze settings are the chapter's.
PIXELS: dict[str, tuple[str, dict[str, float]]] = {
    "gaze": ("mmbook/StickerGaze-v0", {"T": 16, "steps": 40_000, "c_H": 0.02}),
    "classifier": ("mmbook/StickerClassifier-v0", {"T": 8, "steps": 24_576}),
}
# key: (tolerance, what it is, unit). Tolerances cover another processor, not another seed.
SAYS = {
    "plain_lr1": (0.05, "plain gradient with step 1, mean of four seeds after 40 updates", "return"),
    "plain_lr10": (0.4, "plain gradient with step 10, mean of four seeds after 40 updates", "return"),
    "plain_lr100_first": (0.05, "plain gradient with step 100 after one update", "return"),
    "plain_lr100": (0.05, "plain gradient with step 100 after 40 updates", "return"),
    "step_ratio": (1.0, "largest divergence of a step of 1 over that at logit 6", "ratio"),
    "surrogate_gain": (0.01, "gain that the surrogate promises at the right edge", "return"),
    "return_gain": (0.01, "gain of the policy at the right edge", "return"),
    "bound_C": (1.0, "constant of the bound at discount 0.9", "return per nat"),
    "bound_long": (0.01, "gain of a step of 1 at discount 0.9", "return"),
    "exact_plain": (0.01, "exact plain gradient, 24 steps of 0.005 nats", "return"),
    "exact_natural": (0.01, "exact natural gradient, 24 steps of 0.005 nats", "return"),
    "cg_error": (1e-3, "relative error of ten steps of conjugate gradients", "ratio"),
    "cg_unknowns": (0.0, "unknowns of that system", "numbers"),
    "trpo_last": (0.1, "TRPO on the tree, mean of four seeds", "return"),
    "trpo_worst": (0.2, "TRPO on the tree, worst of four seeds", "return"),
    "trpo_largest_kl": (0.002, "largest divergence of an update of TRPO", "nats"),
    "trpo_mean_kl": (0.003, "mean divergence of an update of TRPO", "nats"),
    "bias_first": (1e-4, "relative error of PPO's mean gradient, first inner step", "share"),
    "bias_clipped": (0.1, "relative error of PPO's mean gradient, 20th inner step, clipped", "share"),
    "bias_free": (0.1, "relative error of PPO's mean gradient, 20th inner step, not clipped", "share"),
    "gaze_attainable": (0.0, "best mean return of the gaze task", "return"),
    "gaze_seen": (0.08, "PPO on the gaze task, seen artwork, greedy", "return"),
    "gaze_unseen": (0.25, "PPO on the gaze task, held-out artwork, greedy", "return"),
    "gaze_clip": (0.2, "largest clip fraction of an update on the gaze task", "share"),
    "gaze_explained": (0.3, "largest explained variance on the gaze task", "ratio"),
    "clipped_worst": (0.3, "PPO on the tree, lr 0.1, clipped: worst of three seeds", "return"),
    "free_worst": (5.0, "PPO on the tree, lr 0.1, never clipped: worst of three seeds", "return"),
    "clipped_first_kl": (0.05, "divergence of the first update, clipped", "nats"),
    "free_first_kl": (1.0, "divergence of the first update, never clipped", "nats"),
    "padding_mean": (0.05, "mean advantage of words when 16 columns of padding are whitened too", "ratio"),
    "wrong_sampler_kl": (0.05, "divergence before any step, sampler at temperature 0.5", "nats"),
    "wrong_sampler_error": (0.02, "relative error of the gradient, sampler at temperature 0.5", "share"),
    "memory_gb": (1.0, "largest resident memory of the chapter's kernel", "GB"),
    "cpu_seconds": (120.0, "CPU seconds of the whole chapter's kernel", "seconds"),
}


def pixels(task: str) -> dict[str, dict]:
    """Greedy returns of PPO on seen and on held-out artwork, over SEEDS."""
    name, settings = PIXELS[task]

    def envs(n: int, **more: str) -> gymnasium.vector.VectorEnv:
        return gymnasium.make_vec(name, n, vectorization_mode="vector_entry_point", **more)

    config = PPOConfig(epochs=4, minibatches=4, gamma=0.99, lam=0.95, **settings)
    models = [train_ppo(envs(64), config, seed).model for seed in SEEDS]
    best = envs(1).attainable
    out = {f"{task}3_attainable": number(best, 0.0, f"{task}: best mean return", unit="return")}
    for key, more in {"seen": {}, "unseen": {"artwork": "openmoji"}}.items():
        earned = [evaluate(model.act, envs(200, **more), 2000, seed=1).mean() for model in models]
        print(task, key, *earned, flush=True)
        for what, value in {"": np.mean(earned), "_worst": min(earned)}.items():
            says = f"PPO on the {task}, {key} artwork: {'worst' if what else 'mean'} of seeds 1 to 3"
            out[f"{task}3_{key}{what}"] = number(value, 0.25, says, unit="return")
    return out


if __name__ == "__main__":
    torch.set_num_threads(1)
    write("trust-regions", {**measure("rl/trust-regions", SAYS), **pixels("gaze"), **pixels("classifier")})
