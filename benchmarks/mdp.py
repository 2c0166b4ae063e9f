"""Run the chapter on Markov decision processes and write the numbers in its prose.

python benchmarks/mdp.py
"""

from __future__ import annotations

from chapter_file import record

# key: (tolerance, what it is, unit). Tolerances cover another processor, not another seed.
SAYS = {
    "walks_return": (0.02, "mean return of 1,000 walks along the wet cliff", "reward"),
    "walks_fell": (0.02, "walks along the wet cliff that ended in the water", "share"),
    "bold_start": (1e-6, "value of the start under the bold plan", "reward"),
    "edge_high": (1e-6, "value beside the fish under the bold plan", "reward"),
    "edge_low": (1e-6, "least value along the edge under the bold plan", "reward"),
    "best_start": (1e-6, "value of the start under the best plan", "reward"),
    "sweeps": (2, "sweeps of value iteration on the wet cliff", "sweeps"),
    "error_50": (1e-6, "largest error after 50 sweeps", "reward"),
    "bound_50": (1e-6, "bound of the error after 50 sweeps", "reward"),
    "policies": (1, "policies of policy iteration on the wet cliff", "policies"),
    "agree": (95, "largest difference of value and policy iteration", "1e-12"),
    "bold_fell": (1e-6, "probability that the bold plan ends in the water", "probability"),
    "bold_steps": (1e-4, "mean steps of the bold plan", "steps"),
    "careful_fell": (1e-6, "probability that the careful plan ends in the water", "probability"),
    "careful_steps": (1e-4, "mean steps of the careful plan", "steps"),
    "fell_50": (1e-6, "water at slip 0.1, best plan at discount 0.5", "probability"),
    "fell_80": (1e-6, "water at slip 0.1, best plan at discount 0.8", "probability"),
    "fell_99": (1e-6, "water at slip 0.1, best plan at discount 0.99", "probability"),
    "ref_top": (0.02, "the reference's likeliest caption", "probability"),
    "ref_reward": (0.1, "mean reward of the reference", "reward"),
    "ref_best": (0.02, "the reference's probability of the best caption", "probability"),
    "soft_1": (0.01, "best caption in the optimum at beta 1", "probability"),
    "soft_10": (0.03, "best caption in the optimum at beta 10", "probability"),
    "frontier_kl": (0.1, "divergence of the optimum at beta 0.1", "nats"),
    "naps_value": (1e-6, "planned value of the napping cat", "reward"),
    "naps_played": (0.02, "mean return of 2,000 played stories", "reward"),
    "spread_random": (0.9, "spread of values in the world of random numbers", "1e-12"),
    "spread_repaired": (1e-3, "spread of values in the repaired world", "reward"),
    "cpu_seconds": (60.0, "CPU seconds of the whole chapter's kernel", "seconds"),
    "memory_gb": (1.0, "largest resident memory of the chapter's kernel", "GB"),
}

if __name__ == "__main__":
    record("rl/mdp", SAYS)
