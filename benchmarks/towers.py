"""Compare the convolutional stem with the stock ViT patch embedding: stage 1, same steps and data.

python benchmarks/towers.py     (about two and a half CPU minutes)
"""

from __future__ import annotations

import time

import torch
from results_file import number, write

from mmbook.models.build import PROMPT, build_tiny
from mmbook.models.vlm import VLM
from mmbook.training.pretrain import tower_accuracy, train_tower
from mmbook.world import HELD_OUT_ARTWORK, TRAIN_ARTWORK

torch.set_num_threads(1)

if __name__ == "__main__":
    values = {}
    for tower in ("stem", "vit"):
        module, processor = build_tiny(0, tower)
        model = VLM(module, processor, PROMPT)
        start = time.process_time()
        train_tower(model, 0, progress=False)
        seconds = time.process_time() - start
        seen, held_out = (tower_accuracy(model, artwork, 5) for artwork in (TRAIN_ARTWORK, HELD_OUT_ARTWORK))
        print(tower, round(seconds), "CPU s", f"seen {seen:.3f}, held out {held_out:.3f}", flush=True)
        values[f"{tower}_seen"] = number(
            seen, 0.01, f"stickers named right by the {tower} tower, artwork it was trained on"
        )
        values[f"{tower}_held_out"] = number(
            held_out, 0.05, f"stickers named right by the {tower} tower, held-out artwork"
        )
        values[f"{tower}_cpu_seconds"] = number(
            seconds, 60, f"CPU seconds of stage 1, {tower}", unit="seconds"
        )
    write("towers", values)
