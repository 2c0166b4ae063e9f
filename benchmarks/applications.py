"""The numbers of the chapter on applications.

python benchmarks/applications.py [prices | seeds | chapter]     (3, 3 and 4 CPU minutes)
"""

from __future__ import annotations

import sys

import torch
from chapter_file import record
from results_file import number, write

from mmbook import collect_human_feedback, fine_tune_with_rl, train_reward_model
from mmbook.evaluate.answers import answered
from mmbook.feedback.customers import Customer
from mmbook.models.answerer import load_answerer
from mmbook.world.questions import sample_questions

HOW: dict = {"updates": 20, "beta": 0.1, "lr": 2e-3}  # as in the chapter
PRICES = {"low": 0.2, "high": 1.2}  # the chapter itself has 0.5 and 1.8
SEEDS = (1, 2)
UNITS = {"utility": "utility"}
ROW = {
    "asked_ambiguous": "ambiguous questions asked back",
    "asked_clear": "clear questions asked back",
    "right": "right answers to clear questions that were answered",
    "utility": "mean utility, price 0.5, a wrong answer costs 1",
}


def tuned(price: float, seed: int) -> dict[str, float]:
    """What one run gives: 1,200 clicks of a customer, a reward model, PPO; temperature 1, 500 questions."""
    base, test = load_answerer(), sample_questions(500, seed=1)
    clicks = collect_human_feedback(base, 1200, Customer(price, bt=8, seed=seed), seed=seed)
    reward = train_reward_model(clicks, seed=seed, looks=True, reads=True)
    model = fine_tune_with_rl(base, reward, seed=seed, progress=False, **HOW)
    return answered(test, model.sample(test, seed=1))


def prices() -> None:
    """How often an assistant asks that was tuned on customers with different prices, seed 0."""
    values, rows = {}, []
    for name, c in PRICES.items():
        row, told = tuned(c, 0), f"questions asked back after tuning on a customer with the price {c:g}"
        values[f"asked_{name}"] = number(row["asked_ambiguous"], 0.15, f"ambiguous {told}")
        values[f"clear_{name}"] = number(row["asked_clear"], 0.1, f"clear {told}")
        rows.append({"price": c, **{key: row[key] for key in ROW}})
    write("applications-prices", values, rows=rows)


def seeds() -> None:
    """The tuned assistant with clicks, reward model and PPO of other seeds than the chapter's, price 0.5."""
    values = {}
    for seed in SEEDS:
        for name, x in tuned(0.5, seed).items():
            if name in ROW:
                values[f"{name}_{seed}"] = number(x, 0.15, ROW[name], seed, UNITS.get(name, "share"))
    write("applications-seeds", values)


def says() -> dict[str, tuple[float, str, str]]:
    """Key of the chapter: (tolerance, what it is, unit)."""
    out: dict[str, tuple[float, str, str]] = {
        "ambiguous": (0.001, "ambiguous questions of 500", "share"),
        "best_utility": (0.001, "mean utility of the best answers", "utility"),
        "other_right": (0.08, "right answers to clear questions with another picture, base greedy", "share"),
        "temperature": (0.15, "temperature at which the base is as random as the tuned model", "temperature"),
        "near_half": (0.08, "ambiguous questions asked back by the tilted base, price 0.5", "share"),
        "near_high": (0.05, "the same at the price 1.8", "share"),
        "base_mass": (0.05, "probability with which the base asks these questions back", "share"),
        "cpu_seconds": (150, "CPU seconds of the whole chapter's kernel", "seconds"),
        "memory_gb": (1, "largest resident memory of the chapter's kernel", "GB"),
    }
    for key, told in (
        ("there_base", "is there ...?, base greedy: right"),
        ("there_tuned", "is there ...?, tuned, greedy: right"),
        ("where_asked", "where is the ...?, tuned, greedy: asked back"),
    ):
        out[key] = (0.2, told, "share")
    for key in ("reward", "blind"):
        name = "reward model" if key == "reward" else "reward model on shuffled pictures"
        out[f"{key}_accuracy"] = (0.06, f"held-out pairs that the {name} ranks right", "share")
        out[f"{key}_lead_clear"] = (1.0, f"{name}: asking less a right answer, clear questions", "reward")
        out[f"{key}_lead_unclear"] = (1.0, f"{name}: asking less a guess, ambiguous questions", "reward")
    for key, told in (
        ("said", "what its policy says"),
        ("right", "right answers"),
        ("asking", "a question back"),
    ):
        out[f"liked_{key}"] = (0.8, f"mean of the reward model on shuffled pictures for {told}", "reward")
    whose = ("base", "greedy", "matched", "tuned", "tuned_greedy", "hates", "blind", "new_base", "new_tuned")
    for who in whose:
        for name, what in ROW.items():
            loose = 0.15 if who in ("hates", "blind") else 0.1
            out[f"{who}_{name}"] = (loose, f"{who}: {what}", UNITS.get(name, "share"))
    return out


if __name__ == "__main__":
    torch.set_num_threads(1)
    parts = {"prices": prices, "seeds": seeds, "chapter": lambda: record("practice/applications", says())}
    for name in sys.argv[1:] or parts:
        parts[name]()
