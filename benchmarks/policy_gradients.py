"""Run the chapter on policy gradients and write the numbers in its prose; train on pictures over three seeds.

python benchmarks/policy_gradients.py [chapter | seeds]
"""

from __future__ import annotations

import sys
import time
from typing import Any

import gymnasium
import numpy as np
from chapter_file import record
from results_file import number, write

from mmbook.models.threads import one_thread
from mmbook.rl import A2CConfig, evaluate, train_a2c

# key: (tolerance, what it is, unit). Tolerances cover another processor, not another seed.
SAYS = {
    "naive_return": (0.1, "mean last return of five runs from a uniform start", "reward"),
    "start_stop": (1e-4, "advantage of a full stop after 'cat' under the uniform policy", "reward"),
    "start_comma": (1e-4, "advantage of a comma after 'cat' under the uniform policy", "reward"),
    "noise_whole": (0.5, "noise of the whole return", "captions"),
    "noise_to_go": (0.5, "noise of the reward to go", "captions"),
    "noise_mean": (0.5, "noise with the mean return as baseline", "captions"),
    "noise_value": (0.5, "noise with the exact value as baseline", "captions"),
    "noise_surprise": (0.5, "noise of one step's surprise", "captions"),
    "shifted_none": (0.5, "mean reward after 120 updates, no baseline, raised scale", "reward"),
    "shifted_mean": (0.2, "mean reward after 120 updates, mean as baseline, raised scale", "reward"),
    "shifted_value": (0.3, "mean reward after 120 updates, learned baseline, raised scale", "reward"),
    "bias_fitted": (0.05, "bias at lambda 0 of critics fitted to 50 captions", "share"),
    "bias_zero": (0.01, "bias at lambda 0 of a critic that says 0", "share"),
    "noise_fitted_0": (0.5, "noise at lambda 0 with critics fitted to 50 captions", "captions"),
    "noise_fitted_1": (1.0, "noise at lambda 1 with critics fitted to 50 captions", "captions"),
    "best_lam_16": (0.11, "best lambda for 16 captions", "lambda"),
    "best_lam_256": (0.11, "best lambda for 256 captions", "lambda"),
    "best_lam_4096": (0.11, "best lambda for 4096 captions", "lambda"),
    "turned_9": (0.1, "angle from dropping gamma^t at gamma 0.9", "degrees"),
    "rloo_worst": (0.1, "largest angle of RLOO's mean gradient", "degrees"),
    "grpo_hard_2": (0.2, "angle of GRPO's mean gradient in pairs, hard scene", "degrees"),
    "grpo_hard_8": (0.2, "angle of GRPO's mean gradient in groups of 8, hard scene", "degrees"),
    "grpo_easy_2": (1.0, "angle of GRPO's mean gradient in pairs, easy scene", "degrees"),
    "grpo_easy_8": (1.0, "angle of GRPO's mean gradient in groups of 8, easy scene", "degrees"),
    "stretch_hard": (0.02, "length of GRPO's mean gradient over the true one, 8, hard scene", "ratio"),
    "stretch_easy": (0.05, "length of GRPO's mean gradient over the true one, 8, easy scene", "ratio"),
    "explore_none": (0.1, "mean reward from a uniform start, no entropy bonus", "reward"),
    "explore_bonus": (0.3, "mean reward from a uniform start, entropy bonus first", "reward"),
    "right_none": (0.2, "pictures named right without a bonus", "share"),
    "right_bonus": (0.1, "pictures named right with a bonus", "share"),
    "unseen_bonus": (0.25, "pictures of unseen artwork named right with a bonus", "share"),
    "worst": (0.1, "mean reward when the reward is minimised", "reward"),
    "drift": (0.5, "likeliest caption after 300 updates on a constant reward", "probability"),
    "cpu_seconds": (60.0, "CPU seconds of the whole chapter's kernel", "seconds"),
    "memory_gb": (1.0, "largest resident memory of the chapter's kernel", "GB"),
}
SEEDS = range(3)


def envs(name: str, n: int, **settings: str) -> Any:
    """The batched environment."""
    return gymnasium.make_vec(
        f"mmbook/{name}-v0", num_envs=n, vectorization_mode="vector_entry_point", **settings
    )


def trained(name: str, config: A2CConfig, what: str, key: str, attainable: float) -> dict[str, dict]:
    """Shares of the attainable reward, on artwork of training and on unseen artwork, over the seeds."""
    clock, shares = time.process_time(), []
    for seed in SEEDS:
        model = train_a2c(envs(name, 32), config, seed).model
        places: list[dict[str, str]] = [{}, {"artwork": "openmoji"}]
        row = [evaluate(model.act, envs(name, 100, **p), 1000, 1).mean() / attainable for p in places]
        shares.append(row)
        print(key, seed, row, flush=True)
    seen, unseen = np.array(shares).T
    return {
        key: number(seen.mean(), 0.1, f"{what}: mean of three seeds"),
        f"{key}_least": number(seen.min(), 0.15, f"{what}: worst of three seeds"),
        f"{key}_unseen": number(unseen.mean(), 0.2, f"{what}, unseen artwork: mean of three seeds"),
        f"{key}_seconds": number(
            (time.process_time() - clock) / len(SEEDS), 60, f"{what}: CPU seconds a seed", unit="seconds"
        ),
    }


def over_seeds() -> None:
    """A2C from pixels: the classifier without and with an entropy bonus, and the gaze task."""
    values = {}
    for key, c_H in {"right_none": 0.0, "right_bonus": 0.05}.items():
        config = A2CConfig(steps=40_000, T=2, gamma=1.0, lr=3e-3, c_H=c_H)
        values |= trained("StickerClassifier", config, f"classifier, c_H {c_H}", key, 1.0)
    config = A2CConfig(steps=75_000, T=8, gamma=0.95, lam=0.95, lr=2e-3, c_H=0.03)
    best = envs("StickerGaze", 1).attainable
    values |= trained("StickerGaze", config, "gaze, share of the attainable", "gaze", best)
    write("policy-gradients-seeds", values)


if __name__ == "__main__":
    parts = sys.argv[1:] or ["chapter", "seeds"]
    if "chapter" in parts:
        record("rl/policy-gradients", SAYS)
    if "seeds" in parts:
        with one_thread():
            over_seeds()
