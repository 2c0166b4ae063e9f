"""Make the package's answerer: python benchmarks/answerer.py FOLDER

It takes about 11 CPU minutes; FOLDER keeps checkpoints.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from mmbook import load_pretrained_model
from mmbook.evaluate.answers import answered
from mmbook.models.answerer import WEIGHTS, load_answerer, new_answerer, save_answerer
from mmbook.models.vlm import VLM
from mmbook.training.answers import pretrain_answers
from mmbook.world import HELD_OUT_ARTWORK, TRAIN_ARTWORK
from mmbook.world.questions import sample_questions


def measure(model: VLM, scenes: int = 1000, seed: int = 1) -> dict:
    """What the answers are like at temperature 1 and greedy, and greedy on drawings never seen."""
    test, new = (sample_questions(scenes, seed, artwork) for artwork in (TRAIN_ARTWORK, HELD_OUT_ARTWORK))
    said = {"sampled": (test, {}), "greedy": (test, {"greedy": True}), "held_out": (new, {"greedy": True})}
    rows = {name: answered(some, model.sample(some, seed=seed, **how)) for name, (some, how) in said.items()}
    return {name: {key: round(x, 4) for key, x in row.items() if x == x} for name, row in rows.items()}


if __name__ == "__main__":
    start, model = time.process_time(), new_answerer(load_pretrained_model("tiny", device="cpu"))
    pretrain_answers(model, Path(sys.argv[1]))
    WEIGHTS.parent.mkdir(exist_ok=True)
    save_answerer(model, WEIGHTS)
    shipped = load_answerer()  # in the precision that was written
    told = {"cpu_seconds": round(time.process_time() - start), "weights": shipped.hash, **measure(shipped)}
    (WEIGHTS.parent / "metrics.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(told, indent=1))
