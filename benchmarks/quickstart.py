"""Run the quickstart chapter; write the numbers in its prose and the landing page's captions.

python benchmarks/quickstart.py
"""

from __future__ import annotations

from chapter_file import measure
from results_file import number, write

from mmbook import collect_human_feedback, fine_tune_with_rl, load_pretrained_model, train_reward_model
from mmbook.feedback import SimulatedAnnotator
from mmbook.world import sample_scenes

# key: (tolerance, what it is, unit). Tolerances cover another processor, not another seed.
SAYS = {
    "base_full": (0.06, "full captions of the base model, sampled at temperature 1", "share"),
    "base_greedy_full": (0.06, "full captions of the base model, greedy", "share"),
    "base_terse": (0.05, "terse captions of the base model", "share"),
    "base_detailed": (0.05, "detailed captions of the base model", "share"),
    "base_precision": (0.05, "right claims over all claims, base model", "share"),
    "terse_accuracy": (0.15, "held-out pairs ranked right, 50 terse labels", "share"),
    "terse_after": (0.2, "terse captions after 50 terse labels", "share"),
    "terse_full_after": (0.12, "full captions after 50 terse labels", "share"),
    "terse_coverage_after": (0.1, "coverage after 50 terse labels", "share"),
    "terse_precision_after": (0.1, "claim precision after 50 terse labels", "share"),
    "terse_seconds": (60.0, "CPU seconds of reward model and PPO", "seconds"),
    "detailed_after": (0.3, "detailed captions after 50 detailed labels", "share"),
    "detailed_precision_after": (0.1, "claim precision after 50 detailed labels", "share"),
    "terse_shuffled_accuracy": (0.15, "held-out pairs ranked right with shuffled pictures, terse", "share"),
    "faithful_accuracy": (0.06, "held-out near misses ranked right", "share"),
    "faithful_shuffled_accuracy": (0.12, "held-out near misses ranked right with shuffled pictures", "share"),
    "faithful_full_before": (0.06, "full captions of the base model, sampled at temperature 1", "share"),
    "faithful_full_greedy": (0.06, "full captions of the base model, greedy", "share"),
    "faithful_full_after": (
        0.12,
        "full captions after 200 near-miss labels, sampled at temperature 1",
        "share",
    ),
    "trigger_full_before": (0.1, "full greedy captions in trigger scenes, base model", "share"),
    "trigger_full_after": (0.2, "full greedy captions in trigger scenes after 200 near-miss labels", "share"),
    "random_score_after": (0.2, "score after five updates on coin tosses", "standard deviations"),
    "memory_gb": (1.0, "largest resident memory of the chapter's kernel", "GB"),
    "cpu_seconds": (120.0, "CPU seconds of the whole chapter's kernel", "seconds"),
}


def landing_captions() -> dict[str, list[dict]]:
    """Six scenes of a fixed seed, captions before and after 50 terse labels; nothing is picked."""
    model = load_pretrained_model("tiny", device="cpu")
    reader = SimulatedAnnotator("terse", seed=0)
    feedback = collect_human_feedback(model, pairs=50, annotator=reader, seed=0)
    tuned = fine_tune_with_rl(model, train_reward_model(feedback, seed=0), seed=0, progress=False)
    scenes = sample_scenes(6, seed=11)
    pairs = zip(scenes, model.sample(scenes, seed=1), tuned.sample(scenes, seed=1), strict=True)
    return {
        "rows": [
            {"scene": scene.to_json(), "before": before, "after": after} for scene, before, after in pairs
        ]
    }


if __name__ == "__main__":
    write("quickstart", measure("quickstart", SAYS))
    landing = landing_captions()
    changed = sum(row["before"] != row["after"] for row in landing["rows"]) / len(landing["rows"])
    says = "captions of the landing page's scenes that changed"
    write("captions", {"changed": number(changed, 0.5, says)}, **landing)
