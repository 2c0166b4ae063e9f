"""`python -m mmbook ppo`: a whole run from a file of settings, broken off and taken up again at will.

    python -m mmbook ppo --config configs/tiny.toml ppo.beta=0.2 run.folder=runs/terse
    torchrun --nproc_per_node 2 -m mmbook ppo --config configs/tiny-2.toml
    accelerate launch --multi_gpu --num_processes 2 -m mmbook ppo --config configs/tiny-2.toml

The run's folder gets TensorBoard's curves and captions, checkpoints, the reward model with its labels
(`reward`), the tuned model (`model`) and what was run with what result (`run.json`). The same command goes on
with a run that was stopped.
"""

from __future__ import annotations

import argparse
import hashlib
import inspect
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from difflib import get_close_matches
from importlib import metadata
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_type_hints

import numpy as np
import torch
from transformers.utils import logging

from mmbook.evaluate import captions
from mmbook.feedback import Feedback, SimulatedAnnotator, collect_human_feedback, hub_feedback
from mmbook.models import load_pretrained_model
from mmbook.rlhf.config import PPOConfig
from mmbook.rlhf.fine_tune import fine_tune_with_rl
from mmbook.rlhf.reward_model import RewardConfig, RewardModel, train_reward_model
from mmbook.training.checkpoint import flat, whole_folder
from mmbook.training.monitor import Monitor
from mmbook.training.world import World
from mmbook.world.photos import drawn_from


@dataclass(frozen=True)
class ModelConfig:
    """Which model learns."""

    preset: str = "tiny"  # "tiny", "medium", "full", a folder, or the name of a checkpoint on the hub
    device: str = ""  # "cpu" or "cuda"; "": a GPU where there is one
    dtype: str = ""  # of its weights: "float32", "bfloat16" or "float16"; "": what suits model and device

    def __post_init__(self) -> None:
        if self.device not in ("", "cpu", "cuda"):
            raise ValueError(f'device: expected "cpu", "cuda" or "", got {self.device!r}')
        if self.device == "cuda" and not torch.cuda.is_available():
            raise ValueError('device: expected "cpu", as torch sees no GPU here, got "cuda"')


@dataclass(frozen=True)
class LabelsConfig:
    """What it learns from."""

    log: str = ""  # file of judgements, as the labeller or TRL writes them; "": a simulated reader is asked
    hub: str = ""  # preference set of the hub, as "openbmb/RLHF-V-Dataset"; PPO then captions its pictures
    annotator: str = "terse"  # taste of the simulated reader
    pairs: int = 50  # pairs of captions that it judges
    seed: int = 0  # of these captions, and of the reader
    candidates: str = "model"  # what it compares: captions of the "model", or a "near-miss" with a true one

    def __post_init__(self) -> None:
        if self.hub and self.log:
            raise ValueError(f"log: expected none beside labels.hub, got {self.log!r}")


@dataclass(frozen=True)
class RunConfig:
    """How, and where to."""

    folder: str = "runs/ppo"  # of everything that is written
    seed: int = 0  # of reward model and PPO
    every: int = 10  # updates between two checkpoints, and two looks at captions
    captions: int = 4  # scenes whose captions are looked at
    scenes: int = 256  # scenes of the table at the end
    strategy: str = "ddp"  # of several processes: each has all weights ("ddp") or a share of them ("fsdp")
    processes: int = 0  # that there must be; 0: any number
    memory: float = 0.0  # GiB of the GPU that may be used; 0: all

    def __post_init__(self) -> None:
        World(self.strategy)  # which knows them all
        if not self.folder.strip():
            raise ValueError(f"folder: expected the name of a folder, got {self.folder!r}")
        if not self.memory >= 0:
            raise ValueError(f"memory: expected a number, 0 or more, got {self.memory}")
        for name, least in (("every", 1), ("scenes", 1), ("captions", 1), ("seed", 0)):
            if (value := getattr(self, name)) < least:
                raise ValueError(f"{name}: expected a whole number, {least} or more, got {value}")


@dataclass(frozen=True)
class Config:
    """All settings of a run; a file has a section for each field."""

    model: ModelConfig = field(default_factory=ModelConfig)
    labels: LabelsConfig = field(default_factory=LabelsConfig)
    reward: RewardConfig = field(default_factory=RewardConfig)
    ppo: PPOConfig = field(default_factory=PPOConfig)
    run: RunConfig = field(default_factory=RunConfig)


STOPS = (signal.SIGINT, signal.SIGTERM)
WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text", NoneType: "none"}


def read(path: str | Path | None = None, settings: Sequence[str] = ()) -> Config:
    """A TOML file of settings with `section.field=value` in place of what it says.

    Values are TOML; a bare word is text. Raises ValueError that names file, line and field.
    """
    given: dict[str, tuple[Any, str]] = {}
    if path is not None:
        text = Path(path).read_text(encoding="utf-8")
        try:
            table = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise ValueError(f"{path}: expected TOML, got something else: {error}") from error
        for name, value in flat(table).items():
            given[name] = value, f"{path}, line {_line(text, name)}"
    known = known_fields()
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals:
            raise ValueError(f"command line: expected section.field=value, got {setting!r}")
        try:
            given[name] = tomllib.loads(f"x = {value}")["x"], "command line"
        except tomllib.TOMLDecodeError:
            given[name] = value, "command line"
    for name, (_, where) in given.items():
        if name not in known:
            last = name.split(".")[-1]
            near = [k for k in known if k.split(".")[-1] == last] or get_close_matches(name, known)
            hint = f"did you mean {' or '.join(near)}?" if near else "python -m mmbook ppo --help lists all"
            raise ValueError(f"{where}: expected a known field, got {name!r}; {hint}")
    return _build(Config, "", given)


def known_fields(kind: type = Config, prefix: str = "") -> dict[str, tuple[Any, str]]:
    """The dotted name of each field with its default and the comment beside it in the source."""
    found = dict[str, tuple[Any, str]]()
    default, source, hints = kind(), inspect.getsource(kind), get_type_hints(kind)
    for name in (f.name for f in fields(kind)):
        if is_dataclass(hints[name]):
            found |= known_fields(hints[name], f"{prefix}{name}.")
            continue
        comment = re.search(rf"^    {name}: (?:[^#\n]|\n {{8}})*# (.*)$", source, re.M)
        found[prefix + name] = getattr(default, name), comment[1] if comment else ""
    return found


def _line(text: str, wanted: str) -> int:
    """The line of a TOML text that sets a dotted name (or the section or table that holds it)."""
    section, found = "", 1
    for number, line in enumerate(text.splitlines(), 1):
        if match := re.match(r"\s*(\[?)([\w.]+)\]?\s*(?:=|#|$)", line):
            name = match[2] if match[1] else f"{section}.{match[2]}".strip(".")
            section = name if match[1] else section
            if f"{wanted}.".startswith(f"{name}."):
                found = number  # the section's, then the field's
    return found


def _build(kind: Any, prefix: str, given: dict[str, tuple[Any, str]]) -> Any:
    values: dict[str, Any] = {}
    for name, hint in get_type_hints(kind).items():
        if is_dataclass(hint):
            values[name] = _build(hint, f"{prefix}{name}.", given)
        elif prefix + name in given:
            value, where = given[prefix + name]
            kinds = get_args(hint) or (hint,)
            if value == "none" and NoneType in kinds:
                value = None
            elif float in kinds and type(value) is int:
                value = float(value)
            if type(value) not in kinds:
                expected = " or ".join(WORDS[k] for k in kinds)
                raise ValueError(f"{where}: {prefix}{name}: expected {expected}, got {value!r}")
            values[name] = value
    try:
        return kind(**values)
    except ValueError as error:  # its own checks begin with the field's name
        where = given.get(prefix + str(error).partition(":")[0], (None, "these settings"))[1]
        raise ValueError(f"{where}: {prefix}{error}") from error


def reward_of(config: Config, model: Any, world: World) -> RewardModel:
    """The reward model of the run's folder, fitted first where it is not there; the same in all processes."""
    folder, labels = Path(config.run.folder) / "reward", config.labels
    made: dict[str, Any] = {"model": model.hash, "seed": config.run.seed}
    made |= {"labels": vars(labels), "reward": vars(config.reward)}
    if labels.log:
        made["log"] = hashlib.sha256(Path(labels.log).read_bytes()).hexdigest()
    note, asked = folder / "made_from.json", json.dumps(made, indent=1)
    if not (note.exists() and note.read_text(encoding="utf-8") == asked):
        if note.exists() and (folder.parent / "ppo.pt").exists():
            was, now = flat(json.loads(note.read_text(encoding="utf-8"))), flat(json.loads(asked))
            other = sorted(k for k in was.keys() | now.keys() if was.get(k) != now.get(k))[0]
            raise ValueError(
                f"{folder.parent}: expected the model, labels and reward of the run that is there "
                f"({other}: {was.get(other)}), got another ({now.get(other)}); choose another folder"
            )
        if labels.hub:
            if world.main:  # the others read what it has fetched
                hub_feedback(labels.hub, labels.pairs, model)
            world.total(torch.zeros(1, device=world.device))
            feedback = hub_feedback(labels.hub, labels.pairs, model)
        elif labels.log:
            feedback = Feedback.from_log(labels.log, model=model)
        else:
            reader = SimulatedAnnotator(labels.annotator, seed=labels.seed)
            feedback = collect_human_feedback(
                model, labels.pairs, reader, seed=labels.seed, candidates=labels.candidates
            )
        reward_model = train_reward_model(feedback, config.run.seed, config.reward)
        if world.main:
            with whole_folder(folder) as new:
                reward_model.save(new)
                shutil.copy(feedback.path, new / "labels.jsonl")
                (new / note.name).write_text(asked, encoding="utf-8")
    world.total(torch.zeros(1, device=world.device))  # no process reads before the main one has written
    return RewardModel.load(folder, model)


def run(config: Config, world: World) -> None:
    """Everything between the settings and `run.json`."""
    folder, how = Path(config.run.folder), config.run
    ours = {"reward": ["made_from.json"], "model": ["run.json", "ppo.pt"]}  # what shows that a run made it
    for name, marks in ours.items():
        there = folder / name if name == "reward" else folder
        if (folder / name).exists() and not any((there / mark).exists() for mark in marks):
            raise ValueError(
                f"run.folder: expected a new folder or that of a run, got {folder}, where {name!r} is "
                "something else"
            )
    if how.processes not in (0, world.size):  # `accelerate launch --cpu` starts one, whatever it is told
        start = f"torchrun --nproc_per_node {how.processes} -m mmbook ppo ..."
        raise ValueError(f"run.processes: expected {how.processes}, got {world.size}; start with {start}")
    device = torch.device(world.device if world.size > 1 else config.model.device or world.device)
    if how.memory and device.type == "cuda":
        total = torch.cuda.get_device_properties(device).total_memory
        torch.cuda.set_per_process_memory_fraction(min(1.0, how.memory * 2**30 / total), device)
    model = load_pretrained_model(config.model.preset, device, config.model.dtype or None)
    reward_model = reward_of(config, model, world)
    if world.main:
        low, high = reward_model.interval
        says = f"{reward_model.accuracy:.0%} of {reward_model.pairs} held-out comparisons ranked right"
        print(f"reward model: {says} (95 % interval {low:.0%} to {high:.0%})", flush=True)
    scenes = None
    if config.labels.hub:
        judged = Feedback.from_log(folder / "reward" / "labels.jsonl").judgements()
        scenes = drawn_from([j.scene for j in judged if isinstance(j.scene, np.ndarray)])
    tuned = fine_tune_with_rl(
        model, reward_model, how.seed, config.ppo, world=world,
        folder=folder, every=how.every, callback=Monitor(folder, how.every, how.captions), scenes=scenes,
    )  # fmt: skip
    if not world.main:
        return
    logging.disable_progress_bar()
    with whole_folder(folder / "model") as new:
        tuned.save(new)
    before, after = (flat(captions(m, how.scenes, seed=how.seed + 1)) for m in (model, tuned))
    packages = ("torch", "transformers", "peft", "accelerate", "numpy")
    about = {
        "config": flat(config),
        "versions": {"python": platform.python_version(), **{p: metadata.version(p) for p in packages}},
        "commit": commit(),
        "device": str(device),
        "processes": world.size,
        "last": tuned.history[-1],
        "before": before,
        "after": after,
    }
    new = folder / "run.json.new"
    strict = json.loads(json.dumps(about), parse_constant=lambda x: str(float(x)))  # JSON has no inf
    new.write_text(json.dumps(strict, indent=1) + "\n", encoding="utf-8")
    new.replace(folder / "run.json")
    print(f"\n{'captions of ' + str(how.scenes) + ' new scenes':<28}{'before':>8}{'after':>8}")
    for name in before:
        print(f"{name:<28}{before[name]:>8.2f}{after[name]:>8.2f}")
    print(f"\nmodel, curves and labels: {folder}; curves are shown by: tensorboard --logdir {folder}")


def commit() -> str | None:
    """The commit of the checkout that this package is in, if it is in one."""
    how = {"cwd": Path(__file__).parent, "shell": True, "capture_output": True, "text": True}
    return subprocess.run("git rev-parse HEAD", check=False, **how).stdout.strip() or None  # type: ignore[call-overload]


def stop_once(*_: Any) -> None:
    """On Ctrl-C or a polite kill the run stops, and no second one disturbs the checkpoint that it leaves."""
    for number in STOPS:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def main(arguments: list[str] | None = None) -> int:
    """Return 0, 130 when the run was stopped and can go on, 1 or 2 with one line that says why."""
    lines = ["settings, with their defaults:"]
    for name, (default, says) in known_fields().items():
        value = json.dumps(default).replace("null", "none").replace("Infinity", "inf")
        lines.append(f"  {name + '=' + value:<34} {says}".rstrip())
    parser = argparse.ArgumentParser(
        prog="mmbook ppo",
        description=__doc__,
        epilog="\n".join(lines),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--config", type=Path, help="a TOML file with sections model, labels, reward, ppo, run"
    )
    parser.add_argument("settings", nargs="*", help="section.field=value, in place of what the file says")
    options = parser.parse_intermixed_args(arguments)
    try:
        config = read(options.config, options.settings)
    except (ValueError, OSError) as error:
        print(f"mmbook ppo: {error}", file=sys.stderr)
        return 2
    for number in STOPS:
        signal.signal(number, stop_once)
    try:
        world = World.start(config.run.strategy)
        run(config, world)
    except KeyboardInterrupt:
        if int(os.environ.get("RANK", 0)) == 0:
            print(f"\nstopped; what is done is in {config.run.folder}; to go on, give the same command again")
        return 130
    except (ValueError, OSError, MemoryError) as error:
        if sys.flags.dev_mode:
            raise
        print(f"mmbook ppo: {error}", file=sys.stderr)
        return 1
    if world.accelerator:
        world.accelerator.end_training()
    return 0
