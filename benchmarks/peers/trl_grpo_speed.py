"""Updates of TRL 1.16.0's GRPO on a small random Llava, each a JSON line of CPU seconds and memory.

PEER/bin/python benchmarks/peers/trl_grpo_speed.py WORKLOAD UPDATES

Four passes over 16 prompts with 4 answers each, in 4 optimizer steps a pass; no reference (beta = 0), and a
reward that costs nothing. Its algorithm is as it is; the clock watches from hooks.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from PIL import Image
from transformers import PrinterCallback, TrainerCallback
from trl import GRPOConfig, GRPOTrainer

sys.path.append(str(Path(__file__).parents[1]))
from rlhf_speed import ANSWER, BATCH, EPOCHS, GROUP, LR, MINIBATCHES, STEPS, Clock, build, processor, question
from trl_grpo import TEMPLATE, check_prefix

from mmbook.models import VLM
from mmbook.world import render, sample_scenes


class Watch(TrainerCallback):
    """Tells the clock where updates begin and end."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        self.clock.begin()

    def on_step_end(self, args: Any, state: Any, *_: Any, **__: Any) -> None:
        if state.global_step % STEPS == 0:
            self.clock.end()


def main(name: str, updates: int) -> None:
    policy, reader = build(name), processor()
    reader.chat_template = TEMPLATE
    pictures = render(sample_scenes(updates * BATCH // GROUP, 0))
    check_prefix(VLM(build(name), reader, "<image>" + question()), pictures[:4])

    def rows(columns: dict[str, list[int]]) -> dict[str, list]:
        return {
            "prompt": [[{"role": "user", "content": question()}] for _ in columns["index"]],
            "image": [Image.fromarray(pictures[i]) for i in columns["index"]],
            "index": columns["index"],
        }

    def reward(completion_ids: list[list[int]], **_: Any) -> list[float]:
        clock.words = sum(map(len, completion_ids)) / len(completion_ids)
        return [float(ids[0] % 7) for ids in completion_ids]

    trainer = GRPOTrainer(
        policy,
        reward,
        GRPOConfig(
            output_dir=tempfile.mkdtemp(),
            per_device_train_batch_size=BATCH // MINIBATCHES,
            steps_per_generation=MINIBATCHES,
            num_iterations=EPOCHS,
            num_generations=GROUP,
            max_steps=updates * STEPS,
            max_completion_length=ANSWER,
            learning_rate=LR,
            beta=0.0,
            gradient_checkpointing=False,
            bf16=False,
            use_cpu=True,
            save_strategy="no",
            logging_strategy="no",
            report_to="none",
            disable_tqdm=True,
            seed=0,
        ),
        train_dataset=Dataset.from_dict({"index": list(range(len(pictures)))}).with_transform(rows),
        processing_class=reader,
    )
    trainer.remove_callback(PrinterCallback)
    clock = Clock()
    trainer.add_callback(Watch(clock))
    trainer._generate_single_turn = clock.timed(trainer._generate_single_turn, "generate")
    trainer._generate_and_score_completions = clock.rollout(trainer._generate_and_score_completions)
    counted = torch.optim.Optimizer.register_step_post_hook
    create = trainer.create_optimizer

    def created(*args: Any, **kwargs: Any) -> Any:
        optimizer = create(*args, **kwargs)
        counted(optimizer, clock.step)
        return optimizer

    trainer.create_optimizer = created
    trainer.train()


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(sys.argv[1], int(sys.argv[2]))
