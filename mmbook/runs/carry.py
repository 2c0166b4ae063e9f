"""How a run is carried to DeepSpeed, vLLM and Ray RLlib.

A tuned model (`VLM.save`, or `model` in the folder of a run) is a plain Hugging Face folder: vLLM serves it
as it is, if it knows the class, and DeepSpeed trains it. What needs another form is written here.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from mmbook.equations import shaped_reward
from mmbook.models.lora import Adapted
from mmbook.rlhf.config import PPOConfig
from mmbook.rlhf.ppo import Rollout
from mmbook.training.checkpoint import Checkpoint, whole_folder


def adapters(folder: str | Path, model: Any) -> Adapted:
    """The policy of a run's last checkpoint, as adapters on the `model` that the run began with.

    Raises FileNotFoundError without a whole checkpoint, ValueError for another model or a run without
    adapters.
    """
    path, saved, problems = Checkpoint(folder, "ppo", {}).last()
    if path is None:
        raise FileNotFoundError(f"{folder}: expected a checkpoint of a run, {(*problems, 'found none')[0]}")
    rank, began = saved["identity"]["rank"], saved["identity"]["model"]
    if began != model.hash or not rank:
        raise ValueError(
            f"{path}: expected a run with adapters on model {model.hash}, got one of rank {rank} on {began}"
        )
    weights, policy = load_file(path.parent / saved["weights"]), model.adapted(rank, seed=0)
    for name, p in policy.model.module.named_parameters():
        if p.requires_grad:
            p.data.copy_(weights[f"policy.{name}"])
    return policy


def save_adapters(policy: Adapted, folder: str | Path, base: str) -> None:
    """Write adapters in peft's format, for `PeftModel.from_pretrained` and `vllm serve BASE --enable-lora`.

    `base` is the name or folder of the model they are put on. Above rank 16 vLLM needs `--max-lora-rank`.
    """
    if not isinstance(policy, Adapted):
        raise ValueError(f"policy: expected one with adapters (rank 1 or more), got {type(policy).__name__}")
    config = policy._peft.peft_config["default"]
    config.base_model_name_or_path, config.inference_mode = base, True
    with whole_folder(Path(folder)) as new:
        policy._peft.save_pretrained(new, safe_serialization=True)


def deepspeed_config(config: PPOConfig, world: int, stage: int = 2) -> dict[str, Any]:
    """DeepSpeed's settings for the steps of a run on `world` GPUs, with ZeRO of a stage from 0 to 3.

    DeepSpeed averages losses over micro-batches and processes, while ours are sums over a minibatch's tokens
    divided by all of them: multiply each by gradient_accumulation_steps * world. Hand the optimizer over as
    it is. Raises ValueError where a minibatch cannot be cut into equal parts, or for another stage.
    """
    if world < 1 or stage not in range(4):
        raise ValueError(f"expected world of 1 or more and a stage from 0 to 3, got {world} and {stage}")
    rows, parts = divmod(config.batch, config.minibatches)
    micro, left = divmod(rows, config.accumulate * world)
    if parts or left or not micro:
        raise ValueError(
            f"batch: expected a multiple of minibatches * accumulate * processes = {config.minibatches} * "
            f"{config.accumulate} * {world}, got {config.batch}"
        )
    return {
        "train_batch_size": rows,
        "train_micro_batch_size_per_gpu": micro,
        "gradient_accumulation_steps": config.accumulate,
        "gradient_clipping": config.clip_norm,
        "zero_optimization": {"stage": stage},
        "bf16": {"enabled": config.speed.dtype == "bfloat16"},
        "fp16": {"enabled": config.speed.dtype == "float16"},
    }


def save_rllib(batch: Rollout, model: Any, beta: float, path: str | Path, name: str = "0") -> None:
    """Write a rollout as JSON lines in RLlib's offline columns, one a token; it reads them with "read_json".

    An observation is the caption so far as padded ids, its scene is in `infos`. A reward is what PPO is paid
    for the token, `beta` a nat taken off; `action_logp` is the sampler's. `name` tells rollouts apart.
    """
    r = shaped_reward(batch.log_p_old, batch.log_p_ref, batch.m, batch.S, beta)
    with Path(path).open("w", encoding="utf-8") as file:
        for b, n in enumerate(batch.m.sum(1).int().tolist()):
            ids, pad = batch.ids[b].tolist(), [model.tokenizer.pad_token_id] * batch.ids.shape[1]
            for t in range(n):
                ended = ids[t] == model.tokenizer.eos_token_id
                row = {
                    "eps_id": f"{name}-{b}",
                    "t": t,
                    "obs": ids[:t] + pad[t:],
                    "actions": ids[t],
                    "rewards": r[b, t].item(),
                    "new_obs": ids[: t + 1] + pad[t + 1 :],
                    "terminateds": ended,
                    "truncateds": t + 1 == n and not ended,
                    "infos": {"scene": batch.scenes[b].to_json()},
                    "action_logp": batch.log_p_old[b, t].item(),
                }
                file.write(json.dumps(row) + "\n")
