"""Train TRL's GRPO on the sticker world from the tiny model and print a JSON line an evaluation.

PEER/bin/python benchmarks/peers/trl_grpo.py SEED REWARD [SETTINGS, a JSON object]

LoRA as in `mmbook.models.Adapted` (all linear layers of the language model, alpha twice the rank), no
dropout, float32. The prompt's tokens and the pixels are those of `VLM.prefix`, which is checked. SETTINGS are
fields of `GRPOConfig`, and of `SHAPE` below, that replace the ones here.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from peft import LoraConfig
from PIL import Image
from transformers import TrainerCallback
from trl import GRPOConfig, GRPOTrainer

sys.path.append(str(Path(__file__).parents[1]))
from time_to_quality import Watch, load_reward

from mmbook.models import VLM
from mmbook.rlhf import KnownReward
from mmbook.world import SceneBatch, render, sample_scenes

# captions a generation, optimizer steps a pass over them, passes, captions of one scene, rank of the adapters
SHAPE = {"updates": 16, "batch": 128, "minibatches": 8, "epochs": 1, "group": 4, "rank": 16}
SETTINGS = {
    "learning_rate": 2e-3,
    "lr_scheduler_type": "linear",
    "beta": 0.0,
    "max_completion_length": 34,
    "gradient_checkpointing": False,
    "bf16": False,
    "use_cpu": True,
    "shuffle_dataset": False,
    "save_strategy": "no",
    "logging_strategy": "no",
    "report_to": "none",
    "disable_tqdm": True,
}
TEMPLATE = (
    "{% for message in messages %}{% for part in message['content'] %}"
    "{{ '<image>' if part['type'] == 'image' else part['text'] }}{% endfor %}{% endfor %}"
)


def check_prefix(model: VLM, pictures: np.ndarray) -> None:
    """Fail unless a chat turn of picture and words becomes what the model reads in this book."""
    words = model.prompt.removeprefix("<image>")
    turns = [
        [{"role": "user", "content": [{"type": "image", "image": x}, {"type": "text", "text": words}]}]
        for x in map(Image.fromarray, pictures)
    ]
    theirs = model.processor.apply_chat_template(
        turns, tokenize=True, return_dict=True, add_generation_prompt=True
    )
    ours = model.processor(images=list(pictures), text=[model.prompt] * len(pictures), return_tensors="pt")
    assert theirs["input_ids"] == ours["input_ids"].tolist(), (theirs["input_ids"][0], ours["input_ids"][0])
    assert np.array_equal(np.array(theirs["pixel_values"]), ours["pixel_values"].numpy())


class Evaluate(TrainerCallback):
    """Report to the watch whenever all steps on a generation have been taken."""

    def __init__(self, watch: Watch, model: VLM, steps: int, batch: int) -> None:
        self.watch, self.model, self.steps, self.batch = watch, model, steps, batch

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step % self.steps == 0:
            training = self.model.module.training
            self.model.module.eval()
            self.watch.report(self.model, state.global_step // self.steps * self.batch)
            self.model.module.train(training)


def main(seed: int, reward_name: str, changes: dict[str, Any]) -> None:
    shape = {key: changes.pop(key, value) for key, value in SHAPE.items()}
    steps = shape["minibatches"] * shape["epochs"]
    watch = Watch(seed)
    model, reward = watch.base.copy(), load_reward(reward_name, watch.base)
    scenes = sample_scenes(shape["updates"] * shape["batch"] // shape["group"], seed)
    pictures = render(scenes)
    model.processor.chat_template = TEMPLATE
    check_prefix(model, pictures[:4])
    words = model.prompt.removeprefix("<image>")

    def rows(columns: dict[str, list[int]]) -> dict[str, list]:
        return {
            "prompt": [[{"role": "user", "content": words}] for _ in columns["index"]],
            "image": [Image.fromarray(pictures[i]) for i in columns["index"]],
            "index": columns["index"],
        }

    def scored(completions: list, index: list[int], **_: Any) -> list[float]:
        captions = [turns[0]["content"] for turns in completions]
        return watch.timed(score, scenes[np.array(index)], captions)

    def score(shown: SceneBatch, captions: list[str]) -> list[float]:
        if isinstance(reward, KnownReward):
            return [reward.of(scene, caption) for scene, caption in zip(shown, captions, strict=True)]
        return reward.score(shown, captions).tolist()

    linear = [
        name
        for name, part in model.module.named_modules()
        if isinstance(part, torch.nn.Linear) and "language_model" in name
    ]
    trainer = GRPOTrainer(
        model.module,
        scored,
        GRPOConfig(
            **SETTINGS
            | {
                "output_dir": tempfile.mkdtemp(),
                "seed": seed,
                "per_device_train_batch_size": shape["batch"] // shape["minibatches"],
                "steps_per_generation": shape["minibatches"],
                "num_iterations": shape["epochs"],
                "num_generations": shape["group"],
                "max_steps": shape["updates"] * steps,
            }
            | changes
        ),
        train_dataset=Dataset.from_dict({"index": list(range(len(scenes)))}).with_transform(rows),
        processing_class=model.processor,
        peft_config=LoraConfig(
            r=shape["rank"], lora_alpha=2 * shape["rank"], lora_dropout=0.0, target_modules=linear
        ),
        callbacks=[Evaluate(watch, model, steps, shape["batch"])],
    )
    watch.begin(model)
    trainer.model.train()
    trainer.train()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("seed", type=int)
    parser.add_argument("reward", help='"gold", or the folder of a reward model')
    parser.add_argument("settings", type=json.loads, nargs="?", default={})
    args = parser.parse_args()
    torch.set_num_threads(1)
    main(args.seed, args.reward, args.settings)
