"""How fast an update of PPO is beside TRL's: CPU seconds of rollout, generation and learning, and memory.

for PEER in trl-1.12 trl; do
  python3.11 -m venv $PEER && $PEER/bin/pip install -r benchmarks/peers/$PEER.txt
  $PEER/bin/pip install --no-deps -e .
done
python benchmarks/rlhf_speed.py --peer-ppo trl-1.12/bin/python --peer-grpo trl/bin/python

Text stands against the last release of TRL with PPO (1.12.0, `trl.experimental.ppo`), pictures against the
GRPO of TRL 1.16.0, which has no PPO for them. Both sides train the same small random models, built here: word
vectors, picture tower and projector stay as they are, all else learns. Prompts have 16 words, answers 32 that
never stop (in "ragged" they stop after 16 in the mean), batches 64; 4 passes in 4 minibatches are 16 steps of
AdamW an update, which is checked. Runs are interleaved, each a process of its own with one thread, and the
first update of each is dropped. Seconds are CPU seconds of the process. Memory is the most that the process
held in its updates above what it held before the first. `differs` in the results says what else is not the
same. A workload that is measured again replaces its own rows.
"""

from __future__ import annotations

import argparse
import copy
import ctypes
import gc
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from results_file import FOLDER, number, write
from tokenizers import Tokenizer, pre_tokenizers
from tokenizers.models import WordLevel
from torch import Tensor, nn
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlamaForCausalLM,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)

from mmbook.models import VLM, Prefix, ScalarHead, Speed
from mmbook.rlhf import PPOConfig, Reward, fine_tune, ppo
from mmbook.world import SceneBatch, sample_scenes

BATCH, EPOCHS, MINIBATCHES, GROUP = 64, 4, 4, 4
STEPS = EPOCHS * MINIBATCHES
PROMPT, ANSWER = 16, 32  # words
PARTS = 64  # of a picture
PAD, EOS, IMAGE = 0, 1, 2
LR, BETA, VALUE = 1e-5, 0.05, 0.1  # rate of both optimizers, price of the KL, weight of the value loss


def shape(width: int, layers: int, heads: int, inner: int, words: int = 512) -> dict[str, int]:
    """A language model's shape as `LlamaConfig` spells it."""
    names = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "vocab_size")
    return dict(zip(names, (width, layers, heads, inner, words), strict=True))


TINY = shape(64, 2, 4, 192)
SHAPES: dict[str, dict[str, int]] = {  # the language model of each workload
    "tiny": TINY,  # 0.17 million weights, and a critic of 0.14
    "small": shape(256, 4, 8, 768),  # 3.67 million, and a critic of 3.54
    "vocabulary": shape(64, 2, 4, 192, words=32_768),
    "llava": TINY,
    "ragged": TINY,
}
SEES = ("llava", "ragged")
OURS: dict[str, dict[str, dict[str, Any]]] = {  # what of this book is measured, with its settings
    "tiny": {name: {"critic": name} for name in ("shared", "separate", "reward")},
    "small": {name: {"critic": name} for name in ("shared", "separate")},
    "vocabulary": {
        "shared": {"critic": "shared"},
        "separate": {"critic": "separate"},
        "shared-chunked": {"critic": "shared", "chunk": 128},
        "separate-chunked": {"critic": "separate", "chunk": 128},
    },
    "llava": {name: {"critic": name} for name in ("shared", "separate", "reward")},
    "ragged": {name: {"critic": name} for name in ("shared", "separate")},
}
PEERS = {"ppo": "TRL 1.12.0's PPO", "grpo": "TRL 1.16.0's GRPO"}
KEYS = {
    "update": "an update",
    "rollout": "its rollout phase",
    "generate": "generation",
    "learn": "learning",
    "update_bare": "an update without collecting garbage",
    "rollout_bare": "its rollout phase without collecting garbage",
}
CRITICS = {
    "shared": "our critic is a head on the policy's own trunk",
    "separate": "our critic is a second model that learns",
    "reward": "our critic is a head on the frozen reward model",
}
DIFFERS = {
    "ppo": (
        "{critic}, TRL's is a second model that learns; ours draws a word by one uniform number a caption, "
        "TRL by torch.multinomial; both pay k1 for the distance to a frozen copy and score with a random "
        "model of the critic's shape; TRL clips no gradient, reports entropies, gives every forward pass a "
        "mask, and collects garbage twice an update: those seconds do not depend on the model, and numbers "
        "called bare are without them"
    ),
    "grpo": (
        "PPO against GRPO; ours has a critic ({critic}), a reference with a price on the distance to it "
        "and a reward model that reads the reference's states, TRL's GRPO has none of them (beta = 0, a "
        "reward that costs nothing); it computes old log-probabilities again and reports entropies; pictures "
        "pass the tower in each of its forward passes, in ours once an update, and ours decodes the 4 "
        "answers to a picture from one reading of it, and learns from it so too"
    ),
}


def words(size: int) -> PreTrainedTokenizerFast:
    """A tokenizer whose words are "w3", "w4", ... beside padding, end and picture."""
    special = ["<pad>", "</s>", "<image>"]
    table = Tokenizer(WordLevel({w: i for i, w in enumerate([*special, *(f"w{i}" for i in range(3, size))])}))
    table.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=table,
        pad_token="<pad>",
        eos_token="</s>",
        extra_special_tokens={"image_token": "<image>"},
        padding_side="left",
    )


@torch.no_grad()
def steer(model: nn.Module, name: str) -> None:
    """Never sample padding or a picture, and the end only in "ragged": there after 16 words in the mean.

    The first number of every state is made the same, so that a row of the output layer can stand for a bias.
    """
    decoder, head = model.get_decoder(), model.get_output_embeddings()
    decoder.embed_tokens.weight[:, 0] = 0.1
    for layer in decoder.layers:
        layer.self_attn.o_proj.weight[0] = layer.mlp.down_proj.weight[0] = 0
    states = decoder(torch.randint(3, head.out_features, (8, PROMPT + ANSWER))).last_hidden_state
    first = float(states[..., 0].mean())
    head.weight[[PAD, EOS, IMAGE], 0] = -50 / first
    if name == "ragged":  # one word in 20 is the end: (1 - 0.95 ** 32) / 0.05 = 16
        head.weight[EOS, 0] = np.log((head.out_features - 3) / 19) / first


def build(name: str, seed: int = 0) -> LlamaForCausalLM | LlavaForConditionalGeneration:
    """The random policy of a workload; what stays as it is asks for no gradient."""
    torch.manual_seed(seed)
    text = LlamaConfig(
        **SHAPES[name], max_position_embeddings=256, pad_token_id=PAD, bos_token_id=None, eos_token_id=EOS
    )
    if name not in SEES:
        model = LlamaForCausalLM(text)
    else:
        vision = CLIPVisionConfig(
            hidden_size=128,
            intermediate_size=512,
            num_hidden_layers=4,
            num_attention_heads=4,
            image_size=48,
            patch_size=6,
        )
        model = LlavaForConditionalGeneration(
            LlavaConfig(
                vision_config=vision,
                text_config=text,
                image_token_index=IMAGE,
                image_seq_length=PARTS,
                vision_feature_layer=-1,
                tie_word_embeddings=False,
            )
        )
        model.model.vision_tower.requires_grad_(False)
        model.model.multi_modal_projector.requires_grad_(False)
    model.get_input_embeddings().requires_grad_(False)
    steer(model, name)
    model.generation_config.pad_token_id, model.generation_config.eos_token_id = PAD, EOS
    return model.eval()


def processor() -> LlavaProcessor:
    """Pictures of 48 pixels a side in 64 parts, and words."""
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    return LlavaProcessor(
        image_processor=CLIPImageProcessorPil(do_center_crop=False, do_resize=False),
        tokenizer=words(TINY["vocab_size"]),
        patch_size=6,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
    )


def question() -> str:
    """The words that follow every picture."""
    return " ".join(f"w{i}" for i in range(10, 10 + PROMPT))


def prompts(name: str, many: int = 4096) -> Tensor:
    """Prompts (many, 16) of random words."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(3, SHAPES[name]["vocab_size"], (many, PROMPT), generator=generator)


class Clock:
    """CPU seconds of the parts of an update and the memory it takes; a JSON line an update.

    "bare" is without collecting garbage, where that is asked for: its time depends on what else was imported.
    """

    def __init__(self) -> None:
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)  # what building has freed does not count as taken
        self.made, self.start_memory = 0, memory("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here
        gc.collect = self.timed(gc.collect, "collect")
        self.begin()

    def begin(self) -> None:
        """An update starts now."""
        self.spent, self.steps, self.words = {"generate": 0.0, "collect": 0.0}, 0, float(ANSWER)
        self.sampled = self.learned = self.collected = 0.0
        self.start = time.process_time()

    def timed(self, function: Callable, name: str) -> Callable:
        """The same function; its seconds count as `name`."""

        def run(*args: Any, **kwargs: Any) -> Any:
            now = time.process_time()
            out = function(*args, **kwargs)
            self.spent[name] += time.process_time() - now
            return out

        return run

    def rollout(self, function: Callable) -> Callable:
        """The same function; learning starts when it ends."""

        def run(*args: Any, **kwargs: Any) -> Any:
            out = function(*args, **kwargs)
            self.learn()
            return out

        return run

    def learn(self) -> None:
        """Learning starts now, unless it has."""
        if not self.sampled:
            self.sampled, self.collected = time.process_time(), self.spent["collect"]

    def step(self, *_: Any) -> None:
        """An optimizer took a step."""
        self.steps += 1

    def end(self) -> None:
        """The update is over, learning too unless `learned` says when it was."""
        now = time.process_time()
        assert self.sampled and self.steps == STEPS, f"expected {STEPS} steps, got {self.steps}"
        update, rollout = now - self.start, self.sampled - self.start
        row = {
            "update": update,
            "rollout": rollout,
            "generate": self.spent["generate"],
            "learn": (self.learned or now) - self.sampled,
            "update_bare": update - self.spent["collect"],
            "rollout_bare": rollout - self.collected,
            "peak": memory("VmHWM"),
            "growth": memory("VmHWM") - self.start_memory,
            "words": self.words,
        }
        self.made += 1
        print(json.dumps({"made": self.made, **{key: round(x, 5) for key, x in row.items()}}), flush=True)
        self.begin()


def memory(name: str) -> float:
    """MiB that the process holds ("VmRSS") or held at most ("VmHWM")."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return float(next(line for line in lines if line.startswith(name)).split()[1]) / 1024


class Text(VLM):
    """A language model with the face of one that sees; 16 words stand for the picture."""

    def __init__(self, module: nn.Module, words: Any, table: Tensor) -> None:
        super().__init__(module, argparse.Namespace(tokenizer=words), "", max_words=ANSWER)
        self.table = table

    def copy(self) -> Text:
        return Text(copy.deepcopy(self.module), self.tokenizer, self.table)

    def prefix(self, pictures: Any) -> Prefix:
        ids = self.table[torch.from_numpy(pictures.artwork)]
        embeds = self.module.get_input_embeddings()(ids).detach()
        return Prefix(embeds, torch.ones_like(ids), torch.zeros_like(ids, dtype=torch.bool))

    def scenes(self, n: int, rng: np.random.Generator) -> SceneBatch:
        """Scenes that are nothing but the number of a prompt."""
        none = np.full((n, 3), -1)
        prompt = rng.integers(len(self.table), size=n)
        return SceneBatch(kind=none, quarter=none, big=none, dx=none, dy=none, artwork=prompt)


class RandomReward(Reward):
    """A random linear head on the state after the last word."""

    def __init__(self, trunk: VLM) -> None:
        super().__init__(trunk)
        self.head = ScalarHead(trunk.width, torch.Generator().manual_seed(1)).requires_grad_(False)

    def so_far(self, prefix: Prefix, ids: Tensor, mask: Tensor, states: Tensor, scenes: Any = None) -> Tensor:
        said = torch.minimum(torch.arange(ids.shape[1] + 1), mask.sum(1, keepdim=True)).long()
        return self.head(states).gather(1, said)


def measure(name: str, who: str, updates: int) -> None:
    """Updates of this book's PPO, each a JSON line."""
    torch.set_num_threads(1)
    settings = dict(OURS[name][who])
    speed = Speed.fast("cpu", chunk=settings.pop("chunk", 0))
    if name in SEES:
        model = VLM(build(name), processor(), "<image>" + question(), max_words=ANSWER)
        trunk, group = model, GROUP
        scenes: fine_tune.Scenes = sample_scenes
    else:
        size = SHAPES[name]["vocab_size"]
        model, trunk = (Text(build(name, seed), words(size), prompts(name)) for seed in (0, 1))
        scenes, group = model.scenes, 1
    config = PPOConfig(
        updates=updates,
        batch=BATCH,
        group=group,
        epochs=EPOCHS,
        minibatches=MINIBATCHES,
        rank=0,
        lr=LR,
        value_lr=LR,
        beta=BETA,
        c_v=VALUE,
        per_row=True,
        speed=speed,
        **settings,
    )
    run = fine_tune.Run(model, RandomReward(trunk), 0, config, scenes, None)
    del model, trunk
    clock = Clock()
    ppo.rollout = clock.rollout(ppo.rollout)
    ppo.decode = clock.timed(ppo.decode, "generate")
    run.optimizer.register_step_post_hook(clock.step)
    for _ in range(updates):
        run.update()
        clock.words = run.history[-1]["words"]
        clock.end()


def peer_of(name: str) -> str:
    return "grpo" if name in SEES else "ppo"


def start(name: str, who: str, updates: int, python: str) -> list[dict[str, Any]]:
    """One run in a process of its own: its rows without that of the first update."""
    folder = Path(__file__).parent
    scripts = {"ppo": folder / "peers" / "trl_ppo.py", "grpo": folder / "peers" / "trl_grpo_speed.py"}
    told = [str(scripts[who]), name] if who in scripts else [__file__, "--measure", name, who]
    command = [python, *told, str(updates)]
    env = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore", "TOKENIZERS_PARALLELISM": "false"}
    done = subprocess.run(command, capture_output=True, text=True, env=env)
    rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"made"')]
    if done.returncode or len(rows) != updates:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr}")
    return [{"workload": name, "who": who, **row} for row in rows[1:]]


def summary(name: str, rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The numbers of one workload: best and median seconds, memory, and the peer's over ours."""
    peer, values, found = peer_of(name), dict[str, dict[str, Any]](), dict[tuple[str, str, str], float]()
    for who in (*OURS[name], peer):
        mine = [row for row in rows if row["who"] == who]
        label = f"{name}, {PEERS.get(who, f'this book, {who}')}"
        for key, says in KEYS.items():
            for of, take in (("best", min), ("median", statistics.median)):
                found[who, key, of] = x = take([row[key] for row in mine])
                says_it = f"{label}: CPU seconds of {says}, {of} of {len(mine)}"
                values[f"{name}_{who}_{key}_{of}"] = number(x, 2 * x, says_it, unit="seconds")
        found[who, "growth", "median"] = x = statistics.median(row["growth"] for row in mine)
        values[f"{name}_{who}_growth"] = number(x, x, f"{label}: memory taken by updates, median", unit="MiB")
        x = statistics.mean(row["words"] for row in mine)
        values[f"{name}_{who}_words"] = number(x, 4, f"{label}: words an answer", unit="words")
    for who in OURS[name]:
        for key, says in KEYS.items():
            for of in ("best", "median"):
                x = found[peer, key, of] / found[who, key, of]
                says_it = f"{name}: {of} CPU seconds of {says}, {PEERS[peer]} over this book's PPO ({who})"
                values[f"{name}_{who}_{key}_{of}_ratio"] = number(x, x / 2, says_it, unit="ratio")
        x = found[who, "growth", "median"] / found[peer, "growth", "median"]
        says = f"{name}: memory taken by updates, this book's PPO ({who}) over {PEERS[peer]}"
        values[f"{name}_{who}_growth_ratio"] = number(x, 0.2, says, unit="ratio")
    return values


def differences() -> dict[str, str]:
    """For each workload and each of ours: what is not the same on both sides."""
    out = {}
    for name, ours in OURS.items():
        for who, settings in ours.items():
            out[f"{name}_{who}"] = DIFFERS[peer_of(name)].format(critic=CRITICS[settings["critic"]])
    return out


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer-ppo", metavar="PY", help="Python of the environment with TRL 1.12.0")
    parser.add_argument("--peer-grpo", metavar="PY", help="Python of the environment with TRL 1.16.0")
    parser.add_argument("--only", nargs="+", default=list(OURS), choices=list(OURS), metavar="WORKLOAD")
    parser.add_argument("--updates", type=int, default=6, help="of each run; the first is dropped")
    parser.add_argument("--repeats", type=int, default=5, help="runs of each side")
    parser.add_argument("--quick", action="store_true", help="all once, with two updates; writes nothing")
    parser.add_argument("--measure", nargs=3, metavar=("WORKLOAD", "WHO", "UPDATES"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        measure(args.measure[0], args.measure[1], int(args.measure[2]))
        sys.exit()
    pythons = {"ppo": args.peer_ppo, "grpo": args.peer_grpo}
    for peer in {peer_of(name) for name in args.only}:
        if not pythons[peer]:
            parser.error(f"--peer-{peer}: expected the Python of an environment with TRL")
    if args.quick:
        args.updates, args.repeats = 2, 1
    for name in args.only:
        rows: list[dict[str, Any]] = []
        for repeat in range(args.repeats):
            for who in (*OURS[name], peer_of(name)):
                rows += [
                    row | {"repeat": repeat}
                    for row in start(name, who, args.updates, pythons.get(who, sys.executable))
                ]
                print(json.dumps(rows[-1]), flush=True)
        shown = summary(name, rows)
        print(json.dumps({key: x["value"] for key, x in shown.items() if key.endswith("ratio")}, indent=1))
        if not args.quick:  # after each workload: an interrupted measurement keeps what it has
            last = FOLDER / "rlhf-speed.json"
            kept = json.loads(last.read_text(encoding="utf-8"))["runs"] if last.exists() else []
            rows = [row for row in kept if row["workload"] != name] + rows
            values: dict[str, dict[str, Any]] = {}
            for measured in dict.fromkeys(row["workload"] for row in rows):
                values |= summary(measured, [row for row in rows if row["workload"] == measured])
            write("rlhf-speed", values, differs=differences(), runs=rows)
