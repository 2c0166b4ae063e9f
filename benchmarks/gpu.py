"""What one GPU makes of this book's RLHF: speed, memory, how near to the card's ceilings, and that it learns.

python benchmarks/gpu.py ceilings decode     # products and copies of the card, then tokens a second
python benchmarks/gpu.py update              # an update of PPO, switch by switch, and of TRL's GRPO
python benchmarks/gpu.py t4                  # updates in float16 held to 15 GiB, as on a T4
python benchmarks/gpu.py learn --seeds       # trains the medium model in --minutes, where there is none yet
python benchmarks/gpu.py learn --seeds 0     # it before and after reward model and PPO, with a seed
python benchmarks/gpu.py count               # operations and bytes of every phase; needs no GPU

Each line is meant to end within ten minutes on an H100. Each part prints JSON lines and writes
benchmarks/results/gpu-<part>.json, which names the card; `learn` adds its seeds to those that are there, and
`update --only SIDE ...` measures some sides again. TRL is left out where it is not installed. `--tiny` runs
the same code on a CPU in seconds, and nothing it prints is a measurement.

The model of `decode`, `update` and `t4` has the shape of SmolVLM-256M-Instruct (a tower and projector of 93
million weights, 64 tokens a picture, a language model of 163 million with its output layer, 49,280 words) and
random weights. Its answers never stop, so that all sides do equal work. Seconds are wall-clock with the card
synchronised, sides of `decode` are interleaved, and medians reported. TF32 is off.

On a machine without a package registry, bring what it lacks as wheels and let pip install them with
--no-deps. Beside PyTorch 2.11 or newer with CUDA, transformers, accelerate, peft, numpy, scipy, pillow and
(for `t4` and `learn`) tensorboard the book needs gymnasium and Farama-Notifications; the peer needs
trl==1.16.0, datasets, dill and multiprocess.
"""

from __future__ import annotations

import argparse
import copy
import gc
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from results_file import FOLDER, number
from tokenizers import Tokenizer, pre_tokenizers
from tokenizers.models import WordLevel
from torch import Tensor, nn
from transformers import (
    AttentionInterface,
    AutoModelForImageTextToText,
    Idefics3Config,
    Idefics3Processor,
    PreTrainedTokenizerFast,
)
from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil

from mmbook import collect_human_feedback, fine_tune_with_rl, load_pretrained_model, train_reward_model
from mmbook.feedback import SimulatedAnnotator
from mmbook.models import VLM, Adapted, ScalarHead, Speed, decode, lora, static
from mmbook.models.speed import recomputed
from mmbook.rlhf import PPOConfig, Reward, fine_tune, ppo
from mmbook.training import pretrain
from mmbook.world import render, sample_scenes, score
from mmbook.world.fetch import data_folder

SPECIAL = {
    "image_token": "<image>",
    "fake_image_token": "<fake_token_around_image>",
    "global_image_token": "<global-img>",
    "end_of_utterance_token": "<end_of_utterance>",
}
UNSAID = 2 + len(SPECIAL)  # padding, end and the picture's tokens come first and are never sampled
RANK, EPOCHS, MINIBATCHES = 16, 4, 4
STEPS = EPOCHS * MINIBATCHES
GIB = 2**30


@dataclass(frozen=True)
class Size:
    """Shape and amount of everything; `vision` and `text` as transformers names them."""

    vision: dict[str, int]
    text: dict[str, int]
    shuffle: int = 4  # parts of the picture that become one token, a side
    batch: int = 64
    group: int = 4  # answers a picture
    drawn: int = 240  # pixels a side of the picture, which its processor enlarges
    words: int = 64  # of an answer
    prompt: int = 16
    product: int = 8192  # side of the matrices of the ceilings
    copied: int = 2**30  # bytes
    repeats: int = 5
    updates: int = 4

    @property
    def tokens(self) -> int:
        """Of a picture."""
        return (self.vision["image_size"] // self.vision["patch_size"] // self.shuffle) ** 2


SMOL = Size(
    vision=dict(
        hidden_size=768,
        intermediate_size=3072,
        num_hidden_layers=12,
        num_attention_heads=12,
        image_size=512,
        patch_size=16,
    ),
    text=dict(
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=30,
        num_attention_heads=9,
        num_key_value_heads=3,
        vocab_size=49_280,
    ),
)
TINY = Size(
    vision=dict(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=32,
        patch_size=8,
    ),
    text=dict(
        hidden_size=48,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=64,
    ),
    shuffle=2,
    drawn=48,
    batch=8,
    group=2,
    words=6,
    prompt=3,
    product=64,
    copied=2**16,
    repeats=2,
    updates=2,
)


@dataclass(frozen=True)
class Place:
    """Where it runs, and how much of everything."""

    device: torch.device
    size: Size
    tiny: bool
    folder: Path

    @property
    def half(self) -> torch.dtype:
        """What the card multiplies fastest."""
        return torch.bfloat16 if self.tiny or torch.cuda.get_device_capability()[0] >= 8 else torch.float16

    def products(self, half: bool) -> str:
        """The name of the ceiling for products in half or single precision."""
        return f"{'fp32' if not half else 'bf16' if self.half == torch.bfloat16 else 'fp16'}_tflops"

    @property
    def card(self) -> str:
        """Its name and what drives it."""
        if self.device.type != "cuda":
            return f"{'CPU, tiny' if self.tiny else 'none: counted'}, torch {torch.__version__}"
        gib = torch.cuda.get_device_properties(self.device).total_memory / GIB
        name = torch.cuda.get_device_name(self.device)
        return f"{name}, {gib:.0f} GiB, torch {torch.__version__}, CUDA {torch.version.cuda}"

    def wait(self) -> float:
        """Wall-clock seconds when the card has done all that it was told."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()

    def seconds(self, tasks: dict[str, Callable[[], Any]], warm: int = 2) -> dict[str, list[float]]:
        """Seconds of each task, interleaved."""
        found: dict[str, list[float]] = {name: [] for name in tasks}
        for i in range(warm + self.size.repeats):
            for name, task in tasks.items():
                start = self.wait()
                task()
                if i >= warm:
                    found[name].append(self.wait() - start)
        return found

    def peak(self, again: bool = False) -> float:
        """The most bytes that tensors took so far, or since it was asked `again`; 0 on a CPU."""
        if self.device.type != "cuda":
            return 0.0
        most = torch.cuda.max_memory_allocated(self.device)
        if again:
            gc.collect()
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self.device)
        return float(most)

    def write(self, part: str, values: dict[str, dict[str, Any]], **more: Any) -> None:
        """As `results_file.write`, for this card."""
        git = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]
        commit = subprocess.run(git, capture_output=True, text=True).stdout.strip() or "unknown"
        self.folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"device": self.card, "commit": commit, "values": values, **more}, indent=1)
        (self.folder / f"gpu-{part}.json").write_text(text + "\n", encoding="utf-8")


def say(part: str, **row: Any) -> dict[str, Any]:
    """Print a row as a JSON line."""
    short = {key: round(x, 6) if isinstance(x, float) else x for key, x in row.items()}
    print(json.dumps({"part": part, **short}), flush=True)
    return short


def median(found: list[float]) -> float:
    return statistics.median(found)


# The model


def processor(size: Size) -> Idefics3Processor:
    """Pictures as one tile, and words "w6", "w7", ... for every number that is no special token."""
    names = ["<pad>", "<end>", *SPECIAL.values()]
    words = [*names, *(f"w{i}" for i in range(UNSAID, size.text["vocab_size"]))]
    table = Tokenizer(WordLevel({word: i for i, word in enumerate(words)}))
    table.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=table,
        pad_token="<pad>",
        eos_token="<end>",
        extra_special_tokens=SPECIAL,
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )
    side = {"longest_edge": size.vision["image_size"]}
    pictures = Idefics3ImageProcessorPil(size=side, max_image_size=side, do_image_splitting=False)
    template = (
        "{% for message in messages %}{% for part in message['content'] %}"
        "{{ '<image>' if part['type'] == 'image' else part['text'] }}{% endfor %}{% endfor %}"
    )
    return Idefics3Processor(
        image_processor=pictures, tokenizer=tokenizer, image_seq_len=size.tokens, chat_template=template
    )


def question(size: Size) -> str:
    """The words that follow every picture."""
    return " ".join(f"w{i}" for i in range(10, 10 + size.prompt))


def configuration(size: Size) -> Idefics3Config:
    more = dict(max_position_embeddings=1024, pad_token_id=0, bos_token_id=None, eos_token_id=1)
    return Idefics3Config(
        vision_config=size.vision,
        text_config={"model_type": "llama", "tie_word_embeddings": False, **size.text, **more},
        image_token_id=2,
        scale_factor=size.shuffle,
        pad_token_id=0,
        tie_word_embeddings=False,
    )


@torch.no_grad()
def build(size: Size, device: torch.device | str, dtype: torch.dtype | None = None, seed: int = 0) -> VLM:
    """The random model. It never says a special token.

    The first number of a word's state is positive, so that a row of the output layer can stand for a bias.
    """
    torch.manual_seed(seed)
    with torch.device(device):
        module = AutoModelForImageTextToText.from_config(configuration(size), dtype=dtype or torch.float32)
    decoder = module.get_decoder()
    decoder.embed_tokens.weight[:, 0] = 0.1
    for layer in decoder.layers:
        layer.self_attn.o_proj.weight[0] = layer.mlp.down_proj.weight[0] = 0
    module.get_output_embeddings().weight[:UNSAID, 0] = -20
    module.generation_config.pad_token_id, module.generation_config.eos_token_id = 0, 1
    return VLM(module, processor(size), "<image>" + question(size), size.drawn, size.words)


class RandomReward(Reward):
    """A random linear head on the reference's state after the last word."""

    def __init__(self, trunk: VLM) -> None:
        super().__init__(trunk)
        self.head = ScalarHead(trunk.width, torch.Generator().manual_seed(1)).requires_grad_(False)
        self.head.to(trunk.device)

    def so_far(self, prefix: Any, ids: Tensor, mask: Tensor, states: Tensor, scenes: Any = None) -> Tensor:
        said = torch.arange(ids.shape[1] + 1, device=ids.device).expand(len(ids), -1)
        return self.head(states).gather(1, said.minimum(mask.sum(1, keepdim=True).long()))


# What it takes: operations, bytes, memory


def attended(layers: int, width: int, new: int, seen: int = 0) -> int:
    """Operations of attention alone: layers * 4 new (seen + new) width, with the half that is hidden."""
    return layers * 4 * new * (seen + new) * width


def tower_flops(size: Size) -> int:
    """A picture of n = (side / patch)^2 parts through a tower of L layers (width d, inner f) and projector.

    2 n 3 patch^2 d + L (2 n (4 d^2 + 2 d f) + 4 n^2 d) + 2 n d D: n / s^2 tokens of s^2 d numbers become D.
    """
    v = size.vision
    d, n = v["hidden_size"], (v["image_size"] // v["patch_size"]) ** 2
    layer = 2 * n * (4 * d * d + 2 * d * v["intermediate_size"])
    cut = 2 * n * 3 * v["patch_size"] ** 2 * d
    project = 2 * n * d * size.text["hidden_size"]
    return cut + v["num_hidden_layers"] * layer + attended(v["num_hidden_layers"], d, n) + project


def linear_shapes(size: Size) -> list[tuple[int, int]]:
    """In and out of the linear maps of a layer of the language model: q, k, v, o, gate, up, down."""
    t = size.text
    D, F = t["hidden_size"], t["intermediate_size"]
    kv = D // t["num_attention_heads"] * t["num_key_value_heads"]
    return [(D, D), (D, kv), (D, kv), (D, D), (D, F), (D, F), (F, D)]


def text_flops(size: Size, new: int, seen: int = 0) -> int:
    """`new` tokens after `seen` through the L layers: L * 2 new sum(in * out) + attention."""
    t = size.text
    layer = sum(a * b for a, b in linear_shapes(size))
    return t["num_hidden_layers"] * 2 * new * layer + attended(
        t["num_hidden_layers"], t["hidden_size"], new, seen
    )


def lora_flops(size: Size, new: int, rank: int = RANK) -> int:
    """What adapters add: L * 2 new rank sum(in + out)."""
    return size.text["num_hidden_layers"] * 2 * new * rank * sum(a + b for a, b in linear_shapes(size))


def head_flops(size: Size, new: int) -> int:
    """Logits of `new` tokens: 2 new D V."""
    return 2 * new * size.text["hidden_size"] * size.text["vocab_size"]


def read_length(size: Size) -> int:
    """Tokens before the answer: the picture's, one on each side, one that says it is whole, the prompt."""
    return size.tokens + 3 + size.prompt


def decode_flops(size: Size, rank: int = 0) -> int:
    """A row: the prompt read, and each of T - 1 words after it; all T words have logits."""
    P, T = read_length(size), size.words
    said = sum(text_flops(size, 1, P + t) for t in range(T - 1))
    return text_flops(size, P) + said + head_flops(size, T) + lora_flops(size, P + T - 1, rank)


def decode_bytes(size: Size, width: int, batch: int | None = None) -> int:
    """What T - 1 steps must read at least: all layers and the output layer once a step, and each row's cache.

    (T - 1) (L sum(in * out) + D V) width + B L 2 kv width sum(P + t), with `width` bytes a number.
    """
    t, P, T = size.text, read_length(size), size.words
    shapes = linear_shapes(size)
    layers, B = t["num_hidden_layers"], batch or size.batch
    weights = layers * sum(a * b for a, b in shapes) + t["hidden_size"] * t["vocab_size"]
    cache = B * layers * 2 * shapes[1][1] * sum(P + i for i in range(1, T))
    return width * ((T - 1) * weights + cache)


def update_flops(
    size: Size, features: bool = True, shared: bool = True, again: bool = True
) -> dict[str, int]:
    """Operations of an update with adapters, phase by phase.

    Pictures: each once, and without `features` again in every step's forward pass. Sampling: every row, with
    a `shared` prefix its prompt once a group. Reading what was said: by the reference, and in half precision
    by the policy (`again`). Learning, in every epoch: a forward pass, the gradient through frozen weights (as
    much), through attention and adapters (twice as much).
    """
    B, T, P = size.batch, size.words, read_length(size)
    pictures, layers, width = B // size.group, size.text["num_hidden_layers"], size.text["hidden_size"]
    once = text_flops(size, P + T) + head_flops(size, T)
    lora, seen = lora_flops(size, P + T), attended(layers, width, P + T)
    alike = (B - pictures) * (text_flops(size, P) + lora_flops(size, P)) if shared else 0
    return {
        "pictures": tower_flops(size) * (pictures if features else pictures + EPOCHS * B),
        "sample": B * decode_flops(size, RANK) - alike,
        "read": B * (once + (once + lora if again else 0)),
        "learn": EPOCHS * B * (2 * once + seen + 3 * lora),
    }


def memory(size: Size, width: int) -> dict[str, int]:
    """Bytes that an update with adapters holds, `width` for a frozen number; activations: see `kept`.

    Weights; adapters with gradient and two moments, 4 bytes each; the cache of all rows; one float32 copy of
    the logits of all answers, or of a minibatch's (where no chunks are made of them, several exist).
    """
    t, shapes = size.text, linear_shapes(size)
    with torch.device("meta"):
        weights = AutoModelForImageTextToText.from_config(configuration(size)).num_parameters()
    adapters = t["num_hidden_layers"] * RANK * sum(a + b for a, b in shapes)
    columns = read_length(size) + size.words
    return {
        "weights": weights * width,
        "adapters": adapters * 16,
        "cache": size.batch * columns * t["num_hidden_layers"] * 2 * shapes[1][1] * width,
        "logits": size.batch * size.words * t["vocab_size"] * 4,
        "logits_of_minibatch": size.batch // MINIBATCHES * size.words * t["vocab_size"] * 4,
    }


def kept(size: Size, rows: int, dtype: torch.dtype, checkpointing: bool = False) -> int:
    """Bytes that autograd keeps of a forward pass of `rows` answers: counted on tensors without memory.

    Storages count once and weights not at all; attention is of the kind that keeps no table of weights.
    """
    from torch._subclasses.fake_tensor import FakeTensorMode

    def attend(module: nn.Module, q: Tensor, k: Tensor, v: Tensor, *_: Any, **__: Any) -> tuple[Tensor, None]:
        flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
        return flash(q, k, v, 0.0, True)[0].transpose(1, 2), None

    AttentionInterface.register("counted", attend)  # transformers would take another kind here
    with FakeTensorMode():
        model = build(size, "cpu", dtype)
        moved = patch.object(nn.Module, "to", lambda part, *_, **__: part)
        copied = patch.object(lora, "_alike", lambda model, _: model)
        with moved, copied:  # which such tensors cannot be, and need not be
            policy = Adapted(model, RANK, 0)
        policy.model.decoder.config._attn_implementation = "counted"
        embeds = torch.randn(rows, read_length(size) + size.words, size.text["hidden_size"], dtype=dtype)
        own = {p.untyped_storage()._cdata for p in policy.model.module.parameters()}
        found: dict[int, int] = {}

        def keep(x: Tensor) -> Tensor:
            storage = x.untyped_storage()
            if storage._cdata not in own:
                found[storage._cdata] = storage.nbytes()
            return x

        with (
            torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x),
            recomputed(policy.model.module, checkpointing),
        ):
            states = policy.model.decoder(inputs_embeds=embeds, use_cache=False).last_hidden_state
        del states
    return sum(found.values())


def count(place: Place) -> None:
    """Operations and bytes of all phases; needs no GPU and no weights."""
    size = place.size
    with torch.device("meta"):
        module = AutoModelForImageTextToText.from_config(configuration(size))
    parts = {
        "all": module,
        "tower": module.model.vision_model,
        "projector": module.model.connector,
        "text": module.get_decoder(),
        "head": module.get_output_embeddings(),
    }
    minibatch = size.batch // MINIBATCHES
    exact: dict[str, tuple[float, str, str]] = {
        f"{name}_weights": (sum(p.numel() for p in part.parameters()) / 1e6, f"weights: {name}", "million")
        for name, part in parts.items()
    }
    steps = size.words - 1
    exact |= {
        "tower_gflop": (
            tower_flops(size) / 1e9,
            "operations: a picture through tower and projector",
            "GFLOP",
        ),
        "prompt_gflop": (text_flops(size, read_length(size)) / 1e9, "operations: one prompt read", "GFLOP"),
        "answer_gflop": (
            (text_flops(size, read_length(size) + size.words) + head_flops(size, size.words)) / 1e9,
            "operations: prompt and answer read, logits of the answer",
            "GFLOP",
        ),
        "decode_tflop": (
            size.batch * decode_flops(size) / 1e12,
            "operations: a batch of answers decoded",
            "TFLOP",
        ),
        "decode_gib": (
            decode_bytes(size, 2) / GIB,
            "least bytes: a batch of answers decoded, 2 a number",
            "GiB",
        ),
        "step_mib": (decode_bytes(size, 2) / steps / 2**20, "least bytes: one step of it, 2 a number", "MiB"),
    }
    for name, how in {"plain": {"features": False, "shared": False, "again": False}, "fast": {}}.items():
        phases = update_flops(size, **how)
        for phase, flops in (phases | {"all": sum(phases.values())}).items():
            says = f"operations: an update, {name} path: {phase}"
            exact[f"{name}_{phase}_tflop"] = flops / 1e12, says, "TFLOP"
    for width in (4, 2):
        for part, taken in memory(size, width).items():
            exact[f"{part}_mib_{width}"] = (
                taken / 2**20,
                f"memory: {part}, {width} bytes a frozen number",
                "MiB",
            )
        dtype = {4: torch.float32, 2: torch.bfloat16}[width]
        for name, on in {"activations": False, "checkpointed": True}.items():
            says = f"memory: {name} of a minibatch of {minibatch} answers, {width} bytes a frozen number"
            exact[f"{name}_mib_{width}"] = kept(size, minibatch, dtype, on) / 2**20, says, "MiB"
    for key, (value, says, unit) in exact.items():
        say("count", what=key, value=value, unit=unit, says=says)
    values = {
        key: number(value, abs(value) * 1e-6, says, unit=unit) for key, (value, says, unit) in exact.items()
    }
    place.write("count", values)


# The card


def ceilings(place: Place) -> dict[str, float]:
    """Measured products (TFLOP/s, square matrices) and copies (GB/s, read and written)."""
    n, found = place.size.product, {}
    kinds = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
    for name, dtype in kinds.items():
        a, b = (torch.randn(n, n, device=place.device, dtype=dtype) for _ in range(2))
        out = torch.empty_like(a)
        taken = median(place.seconds({"": lambda a=a, b=b, out=out: torch.mm(a, b, out=out)}, 3)[""])
        found[f"{name}_tflops"] = 2 * n**3 / taken / 1e12
    source = torch.randn(place.size.copied // 4, device=place.device)
    target = torch.empty_like(source)
    taken = median(place.seconds({"": lambda: target.copy_(source)}, 3)[""])
    found["copy_gbs"] = 2 * source.nbytes / taken / 1e9
    return {name: float(x) for name, x in found.items()}


def measure_ceilings(place: Place) -> None:
    found = say("ceilings", card=place.card, **ceilings(place))
    units = {"tflops": "TFLOP/s", "copy_gbs": "GB/s"}
    values = {
        key: number(
            x, x * 0.1, f"measured ceiling: {key}", unit=units[key if key in units else key.split("_")[1]]
        )
        for key, x in found.items()
        if isinstance(x, float)
    }
    place.write("ceilings", values)


# Decoding


@contextmanager
def without_graph() -> Iterator[None]:
    """`decode_static` launches its step's kernels one by one."""
    with patch.object(static.Steps, "capture", lambda *_: None):
        yield


def measure_decode(place: Place) -> None:
    """Tokens a second of a batch of answers from the same embeddings, the prompt's reading included."""
    size = place.size
    base = build(size, place.device, place.half)
    prefix = base.prefix(sample_scenes(size.batch, 0))
    draws = torch.rand(size.batch, size.words, device=place.device)
    tasks: dict[str, Callable[[], Any]] = {}
    for adapted in (False, True):
        model = Adapted(base, RANK, 0).model if adapted else base
        bare = copy.copy(model)  # with graphs of its own, which are none
        vars(bare).pop("_steps", None)

        def generate(model: VLM = model) -> Tensor:
            return model.module.generate(
                inputs_embeds=prefix.embeds, attention_mask=prefix.mask, do_sample=True, top_k=0,
                max_new_tokens=size.words,
            )  # fmt: skip

        def loop(model: VLM = model) -> Tensor:
            return decode(model, prefix, draws, speed=Speed.plain()).ids

        def steps(model: VLM = bare) -> Tensor:
            with without_graph():
                return static.decode_static(model, prefix, draws).ids

        def graph(model: VLM = model) -> Tensor:
            return static.decode_static(model, prefix, draws).ids

        sides = {"generate": generate, "loop": loop, "static": steps, "graph": graph}
        tasks |= {f"{name}{'_adapted' * adapted}": task for name, task in sides.items()}
    for name, task in tasks.items():
        assert task().shape == (size.batch, size.words), f"{name}: expected answers that never stop"
    if place.device.type == "cuda":
        assert all(x.graph for x in vars(base)["_steps"][1].values())
    found, card = place.seconds(tasks, warm=1), ceilings(place)
    values: dict[str, dict[str, Any]] = {}
    most = card[place.products(True)]
    for name, taken in found.items():
        seconds, best = median(taken), min(taken)
        adapted = name.endswith("_adapted")
        ratio = median(found["generate" + "_adapted" * adapted]) / seconds
        row = say(
            "decode",
            name=name,
            seconds=seconds,
            best=best,
            tokens_per_second=size.batch * size.words / seconds,
            ratio=ratio,
            of_products=size.batch * decode_flops(size, RANK * adapted) / seconds / 1e12 / most,
            of_copies=decode_bytes(size, 2) / seconds / 1e9 / card["copy_gbs"],
        )
        says = {
            "tokens_per_second": ("tokens a second", "per second"),
            "ratio": ("times the tokens of generate", "ratio"),
            "of_products": ("share of the card's measured products", "share"),
            "of_copies": ("share of the card's measured copies that the least bytes are", "share"),
        }
        for key, (what, unit) in says.items():
            values[f"{name}_{key}"] = number(
                row[key], abs(row[key]) * 0.3, f"decoding, {name}: {what}", unit=unit
            )
    place.write("decode", values, ceilings=card, seconds=found)


# An update


class Clock:
    """Seconds of an update and of its parts, the card synchronised at their ends."""

    def __init__(self, place: Place) -> None:
        self.place, self.rows = place, list[dict[str, float]]()
        place.peak(again=True)
        self.begin()

    def begin(self) -> None:
        self.spent: dict[str, float] = {}
        self.steps, self.start = 0, self.place.wait()

    def timed(self, function: Callable, name: str) -> Callable:
        """The same function; its seconds count as `name`."""

        def run(*args: Any, **kwargs: Any) -> Any:
            now = self.place.wait()
            out = function(*args, **kwargs)
            self.spent[name] = self.spent.get(name, 0.0) + self.place.wait() - now
            return out

        return run

    def step(self, *_: Any) -> None:
        self.steps += 1

    def end(self) -> None:
        """The update is over."""
        update = self.place.wait() - self.start
        row = {"update": update, **self.spent, "learn": update - self.spent["rollout"], "steps": self.steps}
        self.rows.append(row)
        self.begin()


def config_of(size: Size, speed: Speed, **changes: Any) -> PPOConfig:
    shape: dict[str, Any] = dict(batch=size.batch, group=size.group, epochs=EPOCHS, minibatches=MINIBATCHES)
    return PPOConfig(**shape | dict(rank=RANK, lr=1e-5, value_lr=1e-5, beta=0.05, speed=speed) | changes)


def ours(
    place: Place, config: PPOConfig, updates: int
) -> tuple[list[dict[str, float]], float, fine_tune.Run]:
    """Updates of this book's PPO: a row each, the bytes they took at most, and the run."""
    model = build(place.size, place.device, getattr(torch, config.speed.dtype or "float32"))
    run = fine_tune.Run(model, RandomReward(model), 0, config, sample_scenes, None)
    clock = Clock(place)
    with (
        patch.object(ppo, "rollout", clock.timed(ppo.rollout, "rollout")),
        patch.object(ppo, "decode", clock.timed(ppo.decode, "sample")),
    ):
        run.optimizer.register_step_post_hook(clock.step)
        for _ in range(updates):
            run.update()
            clock.end()
    return clock.rows, place.peak(), run


def theirs(place: Place, updates: int) -> tuple[list[dict[str, float]], float]:
    """Updates of TRL's GRPO that samples with transformers: no critic or reference, a reward for nothing."""
    from datasets import Dataset
    from peft import LoraConfig
    from PIL import Image
    from transformers import PrinterCallback, TrainerCallback
    from trl import GRPOConfig, GRPOTrainer

    size, model = place.size, build(place.size, place.device, place.half)
    decoder = {id(part) for part in model.decoder.modules()}
    linear = [n for n, p in model.module.named_modules() if isinstance(p, nn.Linear) and id(p) in decoder]
    pictures = render(sample_scenes(updates * size.batch // size.group, 0), model.picture_size)
    looked: list[int] = []  # a peer that never looks at pictures is none
    model.module.model.vision_model.register_forward_hook(lambda *_: looked.append(1))
    clock = Clock(place)

    class Watch(TrainerCallback):
        def on_train_begin(self, *_: Any, **__: Any) -> None:
            clock.begin()

        def on_step_end(self, args: Any, state: Any, *_: Any, **__: Any) -> None:
            if state.global_step % STEPS == 0:
                clock.steps = STEPS
                clock.end()

    def rows(columns: dict[str, list[int]]) -> dict[str, list]:
        return {
            "prompt": [[{"role": "user", "content": question(size)}] for _ in columns["index"]],
            "image": [Image.fromarray(pictures[i]) for i in columns["index"]],
            "index": columns["index"],
        }

    def reward(completion_ids: list[list[int]], **_: Any) -> list[float]:
        assert {len(ids) for ids in completion_ids} == {size.words} and looked
        return [float(ids[0] % 7) for ids in completion_ids]

    with tempfile.TemporaryDirectory() as folder:
        trainer = GRPOTrainer(
            model.module,
            reward,
            GRPOConfig(
                output_dir=folder,
                per_device_train_batch_size=size.batch // MINIBATCHES,
                steps_per_generation=MINIBATCHES,
                num_iterations=EPOCHS,
                num_generations=size.group,
                max_steps=updates * STEPS,
                max_completion_length=size.words,
                learning_rate=1e-5,
                beta=0.0,
                gradient_checkpointing=False,
                bf16=place.half == torch.bfloat16 and not place.tiny,
                fp16=place.half == torch.float16,
                use_cpu=place.device.type == "cpu",
                save_strategy="no",
                logging_strategy="no",
                report_to="none",
                disable_tqdm=True,
            ),
            train_dataset=Dataset.from_dict({"index": list(range(len(pictures)))}).with_transform(rows),
            processing_class=model.processor,
            peft_config=LoraConfig(r=RANK, lora_alpha=2 * RANK, lora_dropout=0.0, target_modules=linear),
            callbacks=[Watch()],
        )
        trainer.remove_callback(PrinterCallback)
        trainer._generate_single_turn = clock.timed(trainer._generate_single_turn, "sample")
        score_all = trainer._generate_and_score_completions
        trainer._generate_and_score_completions = clock.timed(score_all, "rollout")
        trainer.train()
    return clock.rows, place.peak()


def speeds(place: Place) -> dict[str, Speed]:
    """The switches, each beside all before it."""
    half = str(place.half).removeprefix("torch.")
    compiler = "aot_eager" if place.tiny else "inductor"
    ladder: dict[str, dict[str, Any]] = {
        "float32": {},
        "half": {"dtype": half},
        "features": {"features": True, "share_prefix": True},
        "graph": {"graph": True},
        "chunk": {"chunk": 32 if place.tiny else 1024},
        "fused": {"fused": True},
        "compile": {"compile": compiler},
    }
    found, so_far = {}, dict[str, Any]()
    for name, more in ladder.items():
        so_far |= more
        found[name] = Speed.plain(**so_far)
    fast = Speed.fast("cuda", dtype=half, compile=compiler)
    return found | {"fast": fast, "fast_uncompiled": replace(fast, compile="")}


def measure_update(place: Place, only: list[str] | None = None) -> None:
    """An update, switch by switch, and TRL's; the first update of each is dropped."""
    size, card = place.size, ceilings(place)
    path = place.folder / "gpu-update.json"
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"] if only and path.exists() else {}
    peer = ["trl"] if find_spec("trl") and find_spec("datasets") else []
    kinds = speeds(place)
    for name in only or [*kinds, *peer]:
        if name == "trl":
            found, peak = theirs(place, size.updates)
            flops, half = update_flops(size, False, False, False), True
        else:
            speed = kinds[name]
            found, peak = ours(place, config_of(size, speed), size.updates)[:2]
            half = speed.dtype != ""
            flops = update_flops(size, speed.features, speed.share_prefix, half)
        rows[name] = summary(found, peak, sum(flops.values()), card[place.products(half)])
        say("update", name=name, **rows[name])
        if name != "trl":
            rows[name]["speed"] = vars(kinds[name])
    values: dict[str, dict[str, Any]] = {}
    says = {
        "update": "seconds of an update",
        "rollout": "seconds of its rollout phase",
        "sample": "seconds of sampling",
        "learn": "seconds of learning",
    }
    for name, row in rows.items():
        for key, what in says.items():
            values[f"{name}_{key}"] = number(row[key], row[key] * 0.3, f"{name}: {what}", unit="seconds")
        values[f"{name}_peak"] = number(row["peak"], 0.5, f"{name}: memory at most", unit="GiB")
        if name != "trl":
            what = f"{name}: share of the card's measured products"
            values[f"{name}_of_products"] = number(row["of_products"], 0.05, what)
            for other in {"float32", "half", "trl"} & set(rows) - {name}:
                ratio = rows[other]["update"] / row["update"]
                what = f"seconds of an update, {other} over {name}"
                values[f"{name}_over_{other}"] = number(ratio, ratio * 0.3, what, unit="ratio")
    differs = (
        "PPO against GRPO: ours has a critic on the reward model's states, a reference, a KL price and a "
        "reward model; TRL's GRPO has none of them (beta = 0, a reward that costs nothing), computes old "
        "log-probabilities, and passes pictures through the tower in every forward pass; both learn adapters "
        "of the same rank"
    )
    place.write("update", values, rows=rows, ceilings=card, differs=differs)


def summary(rows: list[dict[str, float]], peak: float, flops: int, most: float) -> dict[str, Any]:
    """Medians of all updates but the first, and their share of the card's `most` TFLOP/s."""
    assert all(row["steps"] == STEPS for row in rows), (
        f"expected {STEPS} steps, got {[r['steps'] for r in rows]}"
    )
    found: dict[str, Any] = {key: median([row[key] for row in rows[1:]]) for key in rows[0]}
    return found | {
        "best": min(row["update"] for row in rows[1:]),
        "first": rows[0]["update"],
        "peak": peak / GIB,
        "tflop": flops / 1e12,
        "of_products": flops / found["update"] / 1e12 / most,
    }


def settings(name: str) -> Any:
    """Those of configs/<name>.toml; the import needs what the peer's environment need not have."""
    from mmbook.runs.launch import read

    return read(Path(__file__).parents[1] / "configs" / f"{name}.toml")


def measure_t4(place: Place) -> None:
    """The settings of configs/t4.toml, on the random model, with no more than 15 GiB of the card."""
    config = settings("t4").ppo
    if place.tiny:
        config = replace(config, batch=place.size.batch, minibatches=2, accumulate=2)
    if place.device.type == "cuda":
        total = torch.cuda.get_device_properties(place.device).total_memory
        torch.cuda.set_per_process_memory_fraction(15 * GIB / total, place.device)
    rows, peak, run = ours(
        place, replace(config, updates=max(config.updates, place.size.updates)), place.size.updates
    )
    scale = run.engine.scaler.get_scale() if run.engine.scaler else 1.0
    found = say(
        "t4",
        seconds=median([row["update"] for row in rows[1:]]),
        peak=peak / GIB,
        scale=scale,
        history=run.history,
        finite=all(bool(torch.isfinite(p).all()) for p in run.policy.parameters()),
    )
    assert found["finite"] and peak <= 15 * GIB
    values = {
        "seconds": number(
            found["seconds"], found["seconds"] * 0.3, "float16 in 15 GiB: an update", unit="seconds"
        ),
        "peak": number(found["peak"], 0.5, "float16 in 15 GiB: memory at most", unit="GiB"),
        "scale": number(scale, scale, "float16 in 15 GiB: scale of the loss in the end", unit="ratio"),
    }
    place.write("t4", values, history=run.history, config=str(config))


# Learning


def fitted(recipe: pretrain.Recipe, seconds: tuple[float, float], minutes: float) -> pretrain.Recipe:
    """The recipe with as many steps as fit into the minutes, both stages cut alike; `seconds` is a step's."""
    both = recipe.tower.steps * seconds[0] + recipe.captions.steps * seconds[1]
    share = min(1.0, 60 * minutes / both)
    stages = {name: getattr(recipe, name) for name in ("tower", "captions")}
    cut = {
        name: replace(s, steps=int(s.steps * share), warmup=int(s.warmup * share))
        for name, s in stages.items()
    }
    return replace(recipe, **cut)


def pretrained(place: Place, minutes: float) -> VLM:
    """The medium model, trained now where there is none; its shape is tiny with `--tiny`."""
    folder = data_folder() / "medium"
    if not (folder / "config.json").exists():
        recipe = pretrain.RECIPES["medium"]()
        if place.tiny:
            recipe = replace(pretrain.RECIPES["tiny"](), batch=4)
        few = {name: replace(getattr(recipe, name), steps=12, warmup=1) for name in ("tower", "captions")}
        module, reader = pretrain.build(recipe.shape, 0)
        model = VLM(module.to(place.device), reader, pretrain.PROMPT, recipe.shape.picture)
        taken = []
        for stage in (pretrain.train_tower, pretrain.train_captions):
            for steps in (3, 12):  # the first also set things up
                some = replace(recipe, **{n: replace(s, steps=steps) for n, s in few.items()})
                start = place.wait()
                stage(model, 0, None, False, recipe=some)
                now = place.wait() - start
            taken.append(now / 12)
        cut = fitted(recipe, (taken[0], taken[1]), minutes)
        start = place.wait()
        model = pretrain.pretrain(0, None, progress=False, recipe=cut, device=place.device)
        how = {"seconds": place.wait() - start, "peak": place.peak() / GIB}
        model.save(folder)
        say("pretrain", tower=cut.tower.steps, captions=cut.captions.steps, **how)
    return load_pretrained_model("medium", place.device)


def judged(model: VLM, scenes: int) -> dict[str, float]:
    """What captions of new scenes are, sampled at temperature 1; precision is 0 where nothing is claimed."""
    batch = sample_scenes(scenes, 90_000)
    found = score(model.sample(batch, seed=90_000), batch)
    keys = ("true", "full", "coverage", "claim_precision", "utility")
    return {key: 0.0 if math.isnan(found[key]) else found[key] for key in keys}


def measure_learn(place: Place, seeds: list[int], minutes: float) -> None:
    """The medium model before and after a reward model of simulated labels and PPO, for some seeds."""
    config = settings("medium")
    if place.tiny:
        quick = replace(config.ppo.speed, compile="")
        config = replace(
            config,
            labels=replace(config.labels, pairs=24),
            ppo=replace(config.ppo, updates=2, batch=16, shards=1, speed=quick),
            run=replace(config.run, scenes=32),
        )
    model, labels = pretrained(place, minutes), config.labels
    before = judged(model, config.run.scenes)
    say("learn", before=before, weights=model.hash)
    path = place.folder / "gpu-learn.json"
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"] if path.exists() else []
    rows = [row for row in rows if row["seed"] not in seeds]
    for seed in seeds:
        reader = SimulatedAnnotator(labels.annotator, seed=seed)
        place.peak(again=True)
        start = place.wait()
        feedback = collect_human_feedback(
            model, labels.pairs, reader, seed=seed, candidates=labels.candidates
        )
        asked = place.wait()
        reward = train_reward_model(feedback, seed, config.reward)
        fit = place.wait()
        tuned = fine_tune_with_rl(model, reward, seed, config.ppo, progress=False)
        end = place.wait()
        row: dict[str, Any] = {
            "seed": seed,
            "before": before,
            "after": judged(tuned, config.run.scenes),
            "accuracy": reward.accuracy,
            "label_seconds": asked - start,
            "reward_seconds": fit - asked,
            "ppo_seconds": end - fit,
            "peak": place.peak() / GIB,
            "history": tuned.history,
            "weights": model.hash,
        }
        say("learn", **{key: x for key, x in row.items() if key != "history"})
        rows = sorted([*rows, row], key=lambda row: row["seed"])
        values = {}
        for key in before:
            for when in ("before", "after"):
                mean = statistics.mean(row[when][key] for row in rows)
                what = f"medium model, {key} {when} PPO, mean of {len(rows)} seeds"
                values[f"{key}_{when}"] = number(mean, 0.1, what)
        for key in ("reward_seconds", "ppo_seconds"):
            mean = statistics.mean(row[key] for row in rows)
            values[key] = number(mean, mean * 0.3, f"medium model, {key}", unit="seconds")
        values["accuracy"] = number(
            statistics.mean(row["accuracy"] for row in rows), 0.1, "medium model: held-out pairs ranked right"
        )
        values["peak"] = number(
            max(row["peak"] for row in rows), 0.5, "medium model: memory at most", unit="GiB"
        )
        place.write("learn", values, rows=rows, config=str(config))


PARTS = ("ceilings", "decode", "update", "t4", "learn", "count")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="+", choices=PARTS)
    parser.add_argument("--tiny", action="store_true", help="a model of nothing on a CPU, to try the script")
    parser.add_argument("--only", nargs="+", help="sides of `update`")
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2], help="of `learn`")
    parser.add_argument(
        "--minutes", type=float, default=7.0, help="that `learn` may train the medium model in"
    )
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder of the results")
    options = parser.parse_args(arguments)
    free = options.tiny or set(options.parts) == {"count"}
    if not free and not torch.cuda.is_available():
        sys.exit("expected a GPU, found none; to try the script on a CPU, add --tiny")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    size = TINY if options.tiny else SMOL
    place = Place(torch.device("cpu" if free else "cuda"), size, options.tiny, options.out)
    for part in options.parts:
        if part == "learn":
            measure_learn(place, options.seeds, options.minutes)
        elif part == "update":
            measure_update(place, options.only)
        else:
            {"ceilings": measure_ceilings, "decode": measure_decode, "t4": measure_t4, "count": count}[part](
                place
            )


if __name__ == "__main__":
    main()
