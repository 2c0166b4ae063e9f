"""Run the chapter on PPO for RLHF for its numbers; curves over seeds have scripts of their own.

python benchmarks/ppo_rlhf.py
"""

from __future__ import annotations

from chapter_file import record

# key: (tolerance, what it is, unit). Tolerances cover another processor, not another seed.
SAYS = {
    "base_true": (0.05, "true captions of the base at temperature 1, 300 scenes", "share"),
    "base_full": (0.05, "full captions of the base at temperature 1, 300 scenes", "share"),
    "base_entropy": (0.2, "entropy of a caption, base", "nats"),
    "likely_true": (0.08, "true captions after PPO on log-likelihood alone", "share"),
    "likely_entropy": (0.6, "entropy of a caption after PPO on log-likelihood alone", "nats"),
    "tree_entropy": (0.01, "entropy of the reference on the tree", "nats"),
    "tree_collapsed": (
        0.02,
        "probability of one caption after PPO on log-likelihood, on the tree",
        "probability",
    ),
    "tree_collapsed_reward": (0.1, "gold reward after PPO on log-likelihood, on the tree", "utility"),
    "tree_best": (0.01, "best possible objective on the tree, beta 2", "utility"),
    "tree_away": (0.002, "KL from the best policy after PPO, mean of three seeds", "nats a token"),
    "tree_away_first": (0.01, "KL of the reference from the best policy", "nats a token"),
    "tuned_true": (0.06, "true captions after PPO on the gold reward", "share"),
    "tuned_full": (0.06, "full captions after PPO on the gold reward", "share"),
    "tuned_kl": (1.0, "divergence before the last update", "nats a caption"),
    "error_reward": (1e-9, "error of the gradient, k1 in the reward", "ratio"),
    "error_k1": (0.01, "error of the gradient, k1 as a loss", "share"),
    "error_k2": (0.01, "error of the gradient, k2 as a loss", "share"),
    "error_k3": (0.02, "error of the gradient, k3 as a loss", "share"),
    "climb_reward": (0.01, "objective after exact ascent, k1 in the reward", "utility"),
    "climb_k1": (0.02, "objective after exact ascent, k1 as a loss", "utility"),
    "climb_k2": (0.01, "objective after exact ascent, k2 as a loss", "utility"),
    "climb_k3": (0.02, "objective after exact ascent, k3 as a loss", "utility"),
    "placed_reward": (0.03, "objective after PPO, price in the reward", "utility"),
    "placed_whitened": (0.1, "objective after PPO, k2 as a loss, advantages whitened", "utility"),
    "placed_free": (0.05, "objective after PPO, k2 as a loss, advantages not whitened", "utility"),
    "steered_kl": (0.1, "divergence over the last ten updates with a target of 0.4", "nats a caption"),
    "steered_beta": (1.5, "price at the end with a target of 0.4 nats", "utility per nat"),
    "memory_gb": (1.0, "largest resident memory of the chapter's kernel", "GB"),
    "cpu_seconds": (120.0, "CPU seconds of the whole chapter's kernel", "seconds"),
}

if __name__ == "__main__":
    record("rlhf/ppo-rlhf", SAYS)
