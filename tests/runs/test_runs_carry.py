"""What is carried elsewhere is read there with the other library's own means, and says the same."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoModelForImageTextToText

from mmbook.models import VLM, load_pretrained_model
from mmbook.models.speed import Speed
from mmbook.rlhf import KnownReward, PPOConfig, RewardModel, fine_tune_with_rl
from mmbook.runs.carry import adapters, deepspeed_config, save_adapters, save_rllib
from mmbook.world import sample_scenes

SHORT = {"updates": 2, "batch": 8, "minibatches": 2, "rank": 2, "lr": 0.05, "progress": False}
SCENES = sample_scenes(6, 3)


@pytest.fixture(scope="module")
def smol(tmp_path_factory) -> tuple[VLM, Path]:
    """A random SmolVLM, a class of Hugging Face's own, and its folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parents[1] / "models")
        from tiny_classes import unseen

        model = unseen("smolvlm", tmp_path_factory.mktemp("random"))
    folder = tmp_path_factory.mktemp("smol")
    model.save(folder)
    return load_pretrained_model(folder, device="cpu"), folder


@pytest.fixture(scope="module")
def run(smol, tmp_path_factory) -> tuple[VLM, Path]:
    """A short run on it, with the folder of its checkpoint."""
    folder = tmp_path_factory.mktemp("run")
    return fine_tune_with_rl(smol[0], KnownReward(smol[0]), folder=folder, **SHORT), folder


def inputs(model: VLM) -> dict[str, torch.Tensor]:
    """What Hugging Face's own forward pass reads: pictures and prompts, with words after them."""
    from mmbook.world import render

    pictures = [[picture] for picture in render(SCENES, model.picture_size)]
    text = [model.prompt] * len(pictures)
    read = model.processor(images=pictures, text=text, return_tensors="pt", padding=True, padding_side="left")
    return {name: x for name, x in read.items() if isinstance(x, torch.Tensor)}


ALONE = """
import sys
sys.modules["mmbook"] = None  # as on a machine that serves the model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForImageTextToText

folder, given, words = sys.argv[1:]
model = AutoModelForImageTextToText.from_pretrained(folder)
said = model.generate(**load_file(given), do_sample=False, max_new_tokens=int(words))
save_file({"ids": said.contiguous()}, given)
"""


def test_a_tuned_model_says_the_same_where_this_package_is_unknown(smol, run, tmp_path: Path) -> None:
    (base, _), (tuned, _) = smol, run
    ours = tuned.sample(SCENES, greedy=True)
    assert ours != base.sample(SCENES, greedy=True)  # it has learned something to carry
    tuned.save(tmp_path / "model")
    given = inputs(tuned)
    save_file(given, tmp_path / "given.safetensors")
    command = [tmp_path / "model", tmp_path / "given.safetensors", str(tuned.max_words)]
    subprocess.run([sys.executable, "-c", ALONE, *command], check=True)
    said = load_file(tmp_path / "given.safetensors")["ids"][:, given["input_ids"].shape[1] :]
    assert tuned.tokenizer.batch_decode(said, skip_special_tokens=True) == ours


def test_adapters_of_a_checkpoint_are_the_tuned_model_and_peft_reads_them(smol, run, tmp_path: Path) -> None:
    (base, source), (tuned, folder) = smol, run
    policy = adapters(folder, base)
    save_adapters(policy, tmp_path / "lora", str(source))
    files = sorted(path.name for path in (tmp_path / "lora").iterdir())
    assert {"adapter_config.json", "adapter_model.safetensors"} <= {*files}
    assert not any(name.endswith((".bin", ".pt")) for name in files)
    about = json.loads((tmp_path / "lora" / "adapter_config.json").read_text())
    assert (about["r"], about["peft_type"], about["base_model_name_or_path"]) == (2, "LORA", str(source))
    fresh = AutoModelForImageTextToText.from_pretrained(source)
    given = inputs(tuned)
    with torch.no_grad():
        before = fresh(**given).logits
        theirs = PeftModel.from_pretrained(fresh, tmp_path / "lora").eval()(**given).logits
        ours = policy.model.module(**given).logits
        merged = tuned.module(**given).logits
    assert torch.equal(theirs, ours)
    torch.testing.assert_close(theirs, merged, atol=1e-4, rtol=1e-4)
    assert (theirs - before).abs().max() > 0.1


def test_adapters_are_refused_where_they_do_not_belong(smol, run, tmp_path: Path) -> None:
    (base, _), (tuned, folder) = smol, run
    with pytest.raises(ValueError, match=r"ppo\.pt: expected .* on model .*, got one of rank 2"):
        adapters(folder, tuned)
    with pytest.raises(FileNotFoundError, match="expected a checkpoint of a run, found none"):
        adapters(tmp_path, base)


@pytest.mark.parametrize("world", [1, 2, 8])
@pytest.mark.parametrize("accumulate", [1, 2, 4])
@pytest.mark.parametrize(("batch", "minibatches"), [(128, 4), (512, 1), (256, 4)])
def test_deepspeed_gets_batches_that_add_up(world, accumulate, batch, minibatches) -> None:
    """Its own rule: train_batch_size = micro-batch per GPU * accumulation steps * GPUs."""
    config = PPOConfig(batch=batch, minibatches=minibatches, accumulate=accumulate, clip_norm=0.5)
    made = deepspeed_config(config, world, stage=3)
    micro, steps = made["train_micro_batch_size_per_gpu"], made["gradient_accumulation_steps"]
    assert made["train_batch_size"] == micro * steps * world == batch // minibatches
    assert steps == accumulate and isinstance(micro, int) and micro >= 1
    assert made["gradient_clipping"] == 0.5 and made["zero_optimization"] == {"stage": 3}
    assert json.loads(json.dumps(made)) == made


def test_deepspeed_computes_in_the_precision_of_the_run() -> None:
    on = {"": (False, False), "bfloat16": (True, False), "float16": (False, True)}
    for dtype, expected in on.items():
        made = deepspeed_config(PPOConfig(speed=Speed(dtype=dtype)), 1)
        assert (made["bf16"]["enabled"], made["fp16"]["enabled"]) == expected


@pytest.mark.parametrize(("batch", "world"), [(128, 3), (130, 1), (16, 8)])
def test_deepspeed_is_refused_batches_that_do_not_divide(batch: int, world: int) -> None:
    with pytest.raises(ValueError, match=r"minibatches \* accumulate \* processes = 4 \* 1 \* \d"):
        deepspeed_config(PPOConfig(batch=batch), world)


# The columns of Ray's `ray.rllib.offline.offline_prelearner.SCHEMA`; all others are outputs of the module.
SCHEMA = {"eps_id", "agent_id", "module_id", "obs", "actions", "rewards", "infos", "new_obs", "terminateds"}
SCHEMA |= {"truncateds", "t"}


def test_rollouts_are_episodes_for_rllib(tiny: VLM, reward: RewardModel, tmp_path: Path) -> None:
    """Some captions are cut off before their end: those are truncated, the others terminated."""
    from mmbook.rlhf.ppo import rollout
    from mmbook.rlhf.scorer import Scorer

    short, beta = tiny.copy(), 0.7
    short.max_words = 9
    config, draw = PPOConfig(batch=12, minibatches=1, rank=2), torch.Generator().manual_seed(0)
    policy = short.adapted(2, 0)
    with torch.no_grad():
        for p in policy.parameters():
            p += 0.05 * torch.randn(p.shape, generator=draw)
    scorer = Scorer(replace_trunk(reward, short), short, sample_scenes(24, 0), config, draw)
    batch = rollout(policy, scorer, sample_scenes(12, 1), draw, config)
    save_rllib(batch, short, beta, tmp_path / "rows.json", "first")
    rows = [json.loads(line) for line in (tmp_path / "rows.json").read_text().splitlines()]
    assert all(row.keys() - SCHEMA == {"action_logp"} for row in rows)
    assert len(rows) == batch.m.sum()
    episodes: dict[str, list[dict]] = {}
    for row in rows:
        episodes.setdefault(row["eps_id"], []).append(row)
    assert list(episodes) == [f"first-{b}" for b in range(12)]
    kinds, end = set(), short.tokenizer.eos_token_id
    for b, steps in enumerate(episodes.values()):
        n = int(batch.m[b].sum())
        ids = batch.ids[b, :n].tolist()
        assert [row["actions"] for row in steps] == ids and [row["t"] for row in steps] == list(range(n))
        assert set(steps[0]["obs"]) == {short.tokenizer.pad_token_id}  # nothing is said yet
        assert all(before["new_obs"] == after["obs"] for before, after in pairwise(steps))
        assert steps[-1]["new_obs"][:n] == ids
        assert {len(row[name]) for row in steps for name in ("obs", "new_obs")} == {batch.ids.shape[1]}
        assert not any(row["terminateds"] or row["truncateds"] for row in steps[:-1])
        assert (steps[-1]["terminateds"], steps[-1]["truncateds"]) == (ids[-1] == end, ids[-1] != end)
        kinds.add(steps[-1]["terminateds"])
        log_ratio = (batch.log_p_old[b] - batch.log_p_ref[b]).sum()
        assert sum(row["rewards"] for row in steps) == pytest.approx(
            (batch.S[b] - beta * log_ratio).item(), abs=1e-4
        )
        assert [row["action_logp"] for row in steps] == pytest.approx(batch.log_p_old[b, :n].tolist())
        assert steps[0]["infos"]["scene"] == batch.scenes[b].to_json()
    assert kinds == {True, False}


def replace_trunk(reward: RewardModel, trunk: VLM) -> RewardModel:
    """The same heads on a model with the same weights."""
    other = RewardModel(trunk, looks=False, seed=3).requires_grad_(False)
    other.load_state_dict(reward.state_dict())
    return other
