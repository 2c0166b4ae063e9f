"""Updates of TRL 1.12.0's PPO on a small random Llama, each a JSON line of CPU seconds and memory.

PEER/bin/python benchmarks/peers/trl_ppo.py WORKLOAD UPDATES

A minibatch is one micro-batch (no accumulation): with accumulation this release takes four steps an update
instead of sixteen (huggingface/trl#5645). Its algorithm is as it is; the clock watches from hooks.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import LlamaForSequenceClassification, PrinterCallback, TrainerCallback
from trl.experimental.ppo import PPOConfig, PPOTrainer, ppo_trainer

sys.path.append(str(Path(__file__).parents[1]))
from rlhf_speed import ANSWER, BATCH, BETA, EPOCHS, LR, MINIBATCHES, VALUE, Clock, build, prompts, words


def scalar(name: str, seed: int) -> LlamaForSequenceClassification:
    """A random model of the policy's shape with one number at each word."""
    policy = build(name, seed)
    policy.config.num_labels = 1
    model = LlamaForSequenceClassification(policy.config)
    model.model = policy.model
    return model


class Marked:
    """A data loader that tells the clock where one update ends and the next begins."""

    def __init__(self, loader: Any, clock: Clock) -> None:
        self.loader, self.clock = loader, clock

    def __iter__(self) -> Any:
        batches = iter(self.loader)
        while True:
            if self.clock.sampled:
                self.clock.end()
            self.clock.begin()
            if (batch := next(batches, None)) is None:
                return
            yield batch


class Watch(TrainerCallback):
    """Tells the clock that all steps of an update were taken, and that the last update is over."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.clock.learned = time.process_time()

    def on_train_end(self, *_: Any, **__: Any) -> None:
        self.clock.end()


def main(name: str, updates: int) -> None:
    policy, reference = build(name), build(name).requires_grad_(False)
    tokenizer = words(policy.config.vocab_size)
    trainer = PPOTrainer(
        args=PPOConfig(
            output_dir=tempfile.mkdtemp(),
            per_device_train_batch_size=BATCH,
            gradient_accumulation_steps=1,
            num_mini_batches=MINIBATCHES,
            num_ppo_epochs=EPOCHS,
            total_episodes=updates * BATCH,
            response_length=ANSWER,
            stop_token=None,
            temperature=1.0,
            learning_rate=LR,
            kl_coef=BETA,
            vf_coef=VALUE,
            num_sample_generations=0,
            gradient_checkpointing=False,
            use_cpu=True,
            bf16=False,
            report_to="none",
            save_strategy="no",
            disable_tqdm=True,
            seed=0,
        ),
        processing_class=tokenizer,
        model=policy,
        ref_model=reference,
        reward_model=scalar(name, 1).requires_grad_(False),
        value_model=scalar(name, 2),
        train_dataset=Dataset.from_dict({"input_ids": prompts(name).tolist()}),
    )
    trainer.remove_callback(PrinterCallback)
    clock = Clock()
    trainer.add_callback(Watch(clock))
    trainer.dataloader = Marked(trainer.dataloader, clock)
    trainer.optimizer.optimizer.register_step_post_hook(clock.step)
    ppo_trainer.batch_generation = clock.timed(ppo_trainer.batch_generation, "generate")
    forward = ppo_trainer.forward

    def watched(model: torch.nn.Module, answers: torch.Tensor, pad: int) -> Any:
        if model is trainer.model:  # only learning calls policy and critic together
            clock.learn()
        return forward(model, answers, pad)

    ppo_trainer.forward = watched
    trainer.train()


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(sys.argv[1], int(sys.argv[2]))
