"""Run the chapter on deep Q-learning and write the numbers in its prose.

python benchmarks/dqn.py
"""

from __future__ import annotations

from chapter_file import record

# key: (tolerance, what it is, unit). Tolerances cover another processor, not another seed.
SAYS = {
    "quiz_seen": (0.04, "right answers on new pictures in the trained styles, eight kinds", "share"),
    "quiz_unseen": (0.2, "right answers on the unseen style, eight kinds", "share"),
    "clicks": (0, "simulated clicks", "clicks"),
    "after_clicks": (0.2, "right answers after the simulated clicks, four kinds", "share"),
    "gaze_seen": (0.08, "return in the gaze task over the attainable, trained styles", "share"),
    "gaze_unseen": (0.6, "return in the gaze task over the attainable, unseen style", "share"),
    "error_all": (0.1, "mean error of Q over the run, DQN", "reward"),
    "error_replay": (0.15, "mean error of Q over the run, without the memory", "reward"),
    "error_target": (0.15, "mean error of Q over the run, without the target network", "reward"),
    "error_double": (0.1, "mean error of Q over the run, without double Q-learning", "reward"),
    "dry_all": (0.1, "mean error of Q over the run on a dry floor, DQN", "reward"),
    "dry_replay": (0.1, "mean error of Q over the run on a dry floor, without the memory", "reward"),
    "triad_alone": (1, "weight after 100 updates of state 1 only", "times"),
    "triad_target": (1, "the same with a target network", "times"),
    "works": (0.15, "right answers of the small run that works, four kinds", "share"),
    "broken_best": (0.15, "right answers of the best broken run, four kinds", "share"),
    "sac_right": (0.15, "right answers of discrete SAC, four kinds", "share"),
    "myopic": (0.15, "return in the gaze task with discount 0", "reward"),
    "cpu_seconds": (60.0, "CPU seconds of the whole chapter's kernel", "seconds"),
    "memory_gb": (1.0, "largest resident memory of the chapter's kernel", "GB"),
}

if __name__ == "__main__":
    record("rl/dqn", SAYS)
