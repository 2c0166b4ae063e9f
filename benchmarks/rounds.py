"""Labels all at once, or in rounds on what the new policy says: gold against KL at equal labels and updates.

python benchmarks/rounds.py [setting ...] [--seeds 0 1 2]    (default: all; about 10 CPU minutes)

Every setting has 2,000 labels (pairs of captions, judged on utility with Bradley-Terry noise) and 24 updates
of PPO at one price. In rounds the reward model is fitted again to all labels so far, and the policy goes on
from where it was, near the base; where the reference moves, near the policy that its round began with.
Finished runs stand in --rows and are not repeated: remove that file when the learner has changed.
"""

from __future__ import annotations

import time
import warnings
from typing import Any

from over_optimisation import SEEDS, Look, ends, measure
from results_file import number

from mmbook.feedback import SimulatedAnnotator
from mmbook.rlhf import PPOConfig, RewardConfig, Rounds

LABELS, UPDATES, BETA = 2000, 24, 0.1
FIT = RewardConfig(looks=True, reads=True, folds=2)  # what cross-validation chooses for utility
SETTINGS: dict[str, tuple[int, bool]] = {  # rounds, whether the reference moves
    "1 x 2,000": (1, False),
    "4 x 500": (4, False),
    "4 x 500, reference moves": (4, True),
}


def run(setting: str, seed: int, base: Any) -> list[dict[str, Any]]:
    """The rows of one run, the first before any update."""
    rounds, moving = SETTINGS[setting]
    start, look, each = time.process_time(), Look(base, None, 512, 6), UPDATES // rounds
    reader = SimulatedAnnotator("utility", seed=seed, bt=1.0)
    asked = Rounds(base, seed, FIT, PPOConfig(updates=each, beta=BETA), moving=moving)
    for i in range(rounds):

        def callback(update: int, model: Any, i: int = i) -> None:
            if update or not i:  # a round begins where the last one ended
                look(i * each + update, model, setting=setting, seed=seed, round=i)

        asked.label(LABELS // rounds, reader)
        with warnings.catch_warnings():  # the first labels may be few
            warnings.simplefilter("ignore")
            asked.learn(callback=callback)
    seconds = {k: sum(row[k] for row in asked.rows) for k in ("reward_seconds", "policy_seconds")}
    seconds["policy_seconds"] -= look.seconds
    for row in look.rows:
        row |= seconds | {k: asked.rows[row["round"]][k] for k in ("pairs", "accuracy")}
    shown = {k: round(look.rows[-1][k], 3) for k in ("gold", "true", "full", "kl", "reward_seconds")}
    print(setting, seed, shown, f"{time.process_time() - start:.0f} s", flush=True)
    return look.rows


def numbers(setting: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """What prose may quote of a setting: means over its seeds at the end; pairs are those with a choice."""
    mean = ends(rows, "gold", "true", "full", "kl", "utility", "pairs", "reward_seconds", "policy_seconds")
    key = setting.replace(",", "").replace(" ", "_")
    out = {}
    for column, tolerance, unit in (
        ("gold", 0.15, "sd"),
        ("utility", 0.2, "utility"),
        ("true", 0.06, "share"),
        ("full", 0.06, "share"),
        ("kl", 0.6, "nats"),
        ("pairs", 100.0, "pairs"),
        ("reward_seconds", 60.0, "seconds"),
        ("policy_seconds", 60.0, "seconds"),
    ):
        says = f"{column.replace('_', ' ')} at the end, {setting}, mean of {len(SEEDS)} seeds"
        out[f"{key}_{column}"] = number(mean[column][-1], tolerance, says, unit=unit)
    return out


if __name__ == "__main__":
    measure("rounds", SETTINGS, run, numbers, __doc__)
