"""Run the chapter on Monte Carlo, TD and Q-learning and write the numbers in its prose.

python benchmarks/q_learning.py
"""

from __future__ import annotations

from chapter_file import record

# key: (tolerance, what it is, unit). Tolerances cover another processor, not another seed.
SAYS = {
    "late_q": (0.05, "mean return of Q-learning's late episodes on the dry cliff", "reward"),
    "late_sarsa": (0.05, "mean return of SARSA's late episodes on the dry cliff", "reward"),
    "fell_q": (0.05, "Q-learning's late episodes that ended in the water", "share"),
    "fell_sarsa": (0.05, "SARSA's late episodes that ended in the water", "share"),
    "td_0": (0.02, "error of TD(0) after 6,000 steps", "reward"),
    "td_5": (0.02, "error of TD(0.5) after 6,000 steps", "reward"),
    "td_9": (0.02, "error of TD(0.9) after 6,000 steps", "reward"),
    "mc": (0.03, "error of Monte Carlo after as many steps", "reward"),
    "step_constant": (0.03, "error of TD(0) with a constant step size of 0.3", "reward"),
    "step_falling": (0.02, "error of TD(0) with falling step sizes", "reward"),
    "step_stalled": (0.05, "error of TD(0) with step sizes that fall too fast", "reward"),
    "lake_q": (0.01, "error of Q-learning on FrozenLake", "reward"),
    "lake_sarsa": (0.01, "error of SARSA on FrozenLake", "reward"),
    "lake_expected": (0.01, "error of expected SARSA on FrozenLake", "reward"),
    "lake_wrong": (0.01, "distance of SARSA's table from the best values", "reward"),
    "lake_apart": (1e-6, "distance of the best values from those of the best exploring policy", "reward"),
    "casino_one": (0.1, "gamblers with one table who would walk in after 200 steps", "share"),
    "casino_two": (0.1, "gamblers with two tables who would walk in after 200 steps", "share"),
    "bridge_greedy": (0.1, "late return on the bridge, greedy", "reward"),
    "bridge_epsilon": (0.1, "late return on the bridge, epsilon 0.1", "reward"),
    "bridge_schedule": (0.15, "late return on the bridge, falling epsilon", "reward"),
    "bridge_softmax": (0.1, "late return on the bridge, softmax", "reward"),
    "no_next_cliff": (0.05, "worth of what an update without a next state learns", "reward"),
    "fish_always_0": (0.01, "episodes that end at the fish, exploring with action 0", "share"),
    "fish_epsilon_0_3": (0.1, "episodes that end at the fish with exploration repaired", "share"),
    "fish_moves_cost": (0.1, "the same fault where moves cost", "share"),
    "quiz_forgetful": (0.01, "right answers with the first state thrown away", "share"),
    "quiz_repaired": (0.01, "right answers with the first state kept", "share"),
    "cpu_seconds": (60.0, "CPU seconds of the whole chapter's kernel", "seconds"),
    "memory_gb": (1.0, "largest resident memory of the chapter's kernel", "GB"),
}

if __name__ == "__main__":
    record("rl/q-learning", SAYS)
