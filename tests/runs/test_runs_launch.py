"""`python -m mmbook ppo`: settings are read or refused with reasons; runs stop, go on, and end the same."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from mmbook import cli
from mmbook.feedback import SimulatedAnnotator, collect_human_feedback, read_log
from mmbook.models import load_pretrained_model
from mmbook.rlhf import RewardModel
from mmbook.runs import launch
from mmbook.runs.launch import known_fields, main, read
from mmbook.training.checkpoint import flat

CONFIGS = Path(__file__).parents[2] / "configs"
SHORT = [
    *("labels.pairs=30", "ppo.batch=16", "ppo.updates=6", "ppo.minibatches=2", "ppo.rank=4"),
    *(
        "ppo.per_row=true",
        "ppo.shards=2",
        "run.every=3",
        "run.captions=2",
        "run.scenes=8",
        "model.device=cpu",
    ),
]


@pytest.fixture(autouse=True)
def signals() -> Iterator[None]:
    """The command takes Ctrl-C for itself; the tests want it back."""
    before = {number: signal.getsignal(number) for number in launch.STOPS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """The folder of a run that nothing disturbed."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    assert main([*SHORT, f"run.folder={folder}"]) == 0
    return folder


def file(folder: Path, text: str) -> Path:
    path = folder / "some.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.toml")), ids=lambda path: path.name)
def test_every_config_of_the_folder_is_valid(path: Path) -> None:
    config = read(path)
    assert config.run.folder == f"runs/{path.stem}"
    assert f"mmbook ppo --config configs/{path.name}" in path.read_text()
    if path.stem in ("medium", "full", "t4"):
        assert config.ppo.speed.dtype == ("float16" if path.stem == "t4" else "bfloat16")
        assert config.model.preset == ("medium" if path.stem == "medium" else "full")
    if path.stem == "t4":
        assert config.run.memory == 15 and config.ppo.speed.checkpointing and not config.ppo.speed.graph


def test_two_processes_get_the_settings_of_one() -> None:
    one, two = (flat(read(CONFIGS / f"{name}.toml")) for name in ("tiny", "tiny-2"))
    differ = {name for name in one if one[name] != two[name]}
    assert differ == {"ppo.per_row", "ppo.shards", "run.folder", "run.processes"}


def test_the_command_line_has_the_last_word(tmp_path: Path) -> None:
    path = file(tmp_path, "[ppo]\nbeta = 0.5\nupdates = 64\n[ppo.speed]\ntrim = false\n")
    said = ["ppo.beta=0.2", "ppo.kl_goal=3", "run.folder=runs/a b", "reward.looks=true", "ppo.stop_kl=inf"]
    config = read(path, [*said, "labels.annotator='big'", "ppo.speed.graph=true"])
    assert (config.ppo.beta, config.ppo.updates, config.ppo.kl_goal) == (0.2, 64, 3.0)
    assert type(config.ppo.kl_goal) is float and config.ppo.stop_kl == float("inf")
    assert (config.ppo.speed.trim, config.ppo.speed.graph, config.ppo.speed.drop) == (False, True, True)
    assert (config.run.folder, config.labels.annotator, config.reward.looks) == ("runs/a b", "big", True)
    assert read(path, ["reward.looks=none", "ppo.kl_goal=none"]).ppo.kl_goal is None
    assert read() == launch.Config()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[ppo]\n\nbeta = 'much'", r"some.toml, line 3: ppo.beta: expected a number, got 'much'"),
        ("[ppo]\nupdates = 1.5", r"line 2: ppo.updates: expected a whole number, got 1.5"),
        ("[ppo]\nupdates = true", r"line 2: ppo.updates: expected a whole number, got True"),
        ("[reward]\nlooks = 1", r"line 2: reward.looks: expected true or false or none, got 1"),
        ("[model]\npreset = 3", r"line 2: model.preset: expected text, got 3"),
        (
            "# so\n[ppo] # here\nlr = 1\nbeta = -1.0",
            r"line 4: ppo.beta: expected a number, 0 or more, got -1",
        ),
        ("[ppo]\n[ppo.speed]\nchunk = -1", r"line 3: ppo.speed.chunk: expected a number of tokens"),
        ("run.strategy = 'pp'", r"line 1: run.strategy: expected one of ddp, fsdp, got 'pp'"),
        ("run.folder = ''", r"line 1: run.folder: expected the name of a folder, got ''"),
        ("[run]\ncaptions = -1", r"line 2: run.captions: expected a whole number, 1 or more, got -1"),
        ("[model]\ndevice = 'gpu'", r'line 2: model.device: expected "cpu", "cuda" or "", got'),
        ("[ppo.speed]\ncompile = 'foo'", r"line 2: ppo.speed.compile: expected one of .*inductor"),
        ("[ppo.speed]\ncompile = 'inductor'", r"ppo.speed.compile: expected trim = false"),
        ("[labels]\nhub = 'a/b'\nlog = 'x'", r"line 3: labels.log: expected none beside labels.hub"),
        ("[run]\nevery = 0", r"line 2: run.every: expected a whole number, 1 or more, got 0"),
        ("[ppo]\nbatch = 10\nminibatches = 20", r"line 2: ppo.batch: expected at least minibatches"),
        ("[ppo]\nbata = 1", r"line 2: expected a known field, got 'ppo.bata'; did you mean ppo.beta"),
        ("beta = 1", r"line 1: expected a known field, got 'beta'; did you mean ppo.beta\?"),
        ("[speed]\ngraph = true", r"line 2: .* got 'speed.graph'; did you mean ppo.speed.graph\?"),
        ("[run]\nlr = 1", r"got 'run.lr'; did you mean reward.lr or ppo.lr\?"),
        ("[ppo]\nxyzzy = 1", r"got 'ppo.xyzzy'; python -m mmbook ppo --help lists all"),
        ("ppo = 3", r"line 1: expected a known field, got 'ppo'"),
        ("[ppo]\nspeed = { graph = 3 }", r"line 2: ppo.speed.graph: expected true or false, got 3"),
        ("[ppo\nbeta = 1", r"some.toml: expected TOML, got something else: .* \(at line 1, column 5\)"),
    ],
)
def test_mistakes_in_a_file_are_told_with_their_place(tmp_path: Path, capsys, text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        read(file(tmp_path, text))
    assert main(["--config", str(tmp_path / "some.toml")]) == 2
    told = capsys.readouterr().err
    assert told.startswith("mmbook ppo: ") and told.count("\n") == 1


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("ppo.beta", "command line: expected section.field=value, got 'ppo.beta'"),
        ("ppo.beta=", "command line: ppo.beta: expected a number, got ''"),
        ("ppo.beta=-1", "command line: ppo.beta: expected a number, 0 or more"),
        ("ppo.lr_value=1", r"command line: .* got 'ppo.lr_value'; did you mean ppo.*value_lr"),
    ],
)
def test_mistakes_on_the_command_line_are_told(setting: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        read(None, [setting])


def test_help_has_every_field_with_its_default_and_meaning(capsys) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(["ppo", "--help"])
    assert stopped.value.code == 0
    told, default = capsys.readouterr().out, flat(launch.Config())
    assert default.keys() == known_fields().keys()
    for line in ('  model.preset="tiny"', "  ppo.beta=0.3 ", "  ppo.stop_kl=inf ", "  ppo.kl_goal=none "):
        assert line in told
    for name, (value, says) in known_fields().items():
        assert value == default[name] and f"  {name}=" in told and says in told, name
    assert "price of a nat away from the reference" in known_fields()["ppo.beta"][1]
    assert known_fields()["reward.tune"][1].startswith("what learns beside the heads")  # over several lines


def test_a_run_leaves_what_is_needed_to_use_and_to_repeat_it(whole: Path) -> None:
    about = json.loads((whole / "run.json").read_text(), parse_constant=pytest.fail)
    settings = [f"{name}={'none' if x is None else x}" for name, x in about["config"].items()]
    again = read(None, [s.replace("=True", "=true").replace("=False", "=false") for s in settings])
    assert flat(again) == flat(read(None, [*SHORT, f"run.folder={whole}"]))
    assert about["versions"]["torch"] == torch.__version__ and about["processes"] == 1
    base, tuned = load_pretrained_model("tiny", device="cpu"), load_pretrained_model(whole / "model", "cpu")
    assert tuned.hash != base.hash
    for name, model in (("before", base), ("after", tuned)):
        assert about[name] == flat(launch.captions(model, 8, seed=1))
    assert RewardModel.load(whole / "reward", base).pairs > 0
    records, problems = read_log(whole / "reward" / "labels.jsonl")
    assert len(records) == 30 and not problems
    rest = torch.load(whole / "ppo.pt", weights_only=True)["rest"]
    assert about["last"] == {k: x if x == x else "nan" for k, x in rest["history"][-1].items()}
    assert not [path for path in whole.rglob("*") if path.name.endswith((".new", ".old"))]


def same(folder: Path, whole: Path) -> None:
    """Two runs ended alike: weights, history, curves' captions."""
    ours, theirs = (load_file(x / "model" / "model.safetensors") for x in (folder, whole))
    for name in theirs:
        torch.testing.assert_close(ours[name], theirs[name], atol=1e-5, rtol=1e-4)
    ours, theirs = (torch.load(x / "ppo.pt", weights_only=True)["rest"]["history"] for x in (folder, whole))
    assert len(ours) == len(theirs)
    for row, other in zip(ours, theirs, strict=True):
        assert row == pytest.approx(other, abs=1e-5, nan_ok=True)
    assert (folder / "captions.jsonl").read_text() == (whole / "captions.jsonl").read_text()


def wait_for(update: int, folder: Path, process: subprocess.Popen) -> None:
    log = folder / "captions.jsonl"
    while not (log.exists() and f'"update": {update},' in log.read_text()):
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)


def test_ctrl_c_leaves_a_checkpoint_and_the_same_command_goes_on(whole: Path, tmp_path: Path, capsys) -> None:
    folder = tmp_path / "run"
    command = [*SHORT, f"run.folder={folder}"]
    with subprocess.Popen(
        [sys.executable, "-m", "mmbook", "ppo", *command], stdout=subprocess.PIPE, text=True
    ) as process:
        wait_for(3, folder, process)
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        told, _ = process.communicate()
    assert process.returncode == 130
    says = f"stopped; what is done is in {folder}; to go on, give the same command again"
    assert told.splitlines()[-1] == says
    done = len(torch.load(folder / "ppo.pt", weights_only=True)["rest"]["history"])
    assert 3 <= done < 6 and not (folder / "run.json").exists()
    assert main(command) == 0
    same(folder, whole)
    assert "captions of 8 new scenes" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["model", "reward"])
def test_nothing_of_somebody_else_is_lost(tmp_path: Path, capsys, name: str) -> None:
    thesis = tmp_path / name / "thesis.txt"
    thesis.parent.mkdir()
    thesis.write_text("five years")
    assert main([*SHORT, f"run.folder={tmp_path}"]) == 1
    assert f"where '{name}' is something else" in capsys.readouterr().err
    assert thesis.read_text() == "five years" and len(list(tmp_path.rglob("*"))) == 2


@pytest.mark.parametrize("change", ["labels.pairs=21", "run.seed=5"])
def test_other_labels_or_seeds_leave_a_run_as_it_is(whole: Path, tmp_path: Path, capsys, change: str) -> None:
    shutil.copytree(whole, tmp_path / "run")
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    assert main([*SHORT, f"run.folder={tmp_path / 'run'}", change]) == 1
    key, value = change.split("=")
    told = capsys.readouterr().err
    assert f"{key.removeprefix('run.')}: " in told and f"got another ({value})" in told
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before


def test_a_run_is_refused_the_folder_of_another(whole: Path, tmp_path: Path, capsys) -> None:
    shutil.copytree(whole, tmp_path / "run")
    assert main([*SHORT, f"run.folder={tmp_path / 'run'}", "ppo.beta=0.9"]) == 1
    told = capsys.readouterr().err
    assert "expected a checkpoint of this run (beta = 0.9), got one of beta = 0.3" in told
    assert told.count("\n") == 1  # no traceback


def test_labels_are_learned_from_once(whole: Path, tmp_path: Path, monkeypatch) -> None:
    """A run that goes on takes its reward model from the folder; what PPO has not seen is made anew."""
    shutil.copytree(whole, tmp_path / "run")
    asked, fit = [], launch.train_reward_model
    monkeypatch.setattr(launch, "train_reward_model", lambda *a, **k: asked.append(a) or fit(*a, **k))
    command = [*SHORT, f"run.folder={tmp_path / 'run'}"]
    assert main(command) == 0 and not asked
    same(tmp_path / "run", whole)
    (tmp_path / "run" / "ppo.pt").unlink()
    assert main([*command, "labels.seed=5", "ppo.updates=1"]) == 0 and len(asked) == 1


def test_labels_may_come_from_a_log(whole: Path, tmp_path: Path, capsys) -> None:
    model = load_pretrained_model("tiny", device="cpu")
    log = tmp_path / "labels.jsonl"
    collect_human_feedback(model, 30, SimulatedAnnotator("terse", seed=0), path=log, seed=0)
    config = read(None, [*SHORT, f"labels.log={log}", f"run.folder={tmp_path / 'run'}"])
    launch.reward_of(config, model, launch.World())
    ours, theirs = (load_file(x / "reward" / "reward.safetensors") for x in (tmp_path / "run", whole))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)  # these are the same labels
    assert (tmp_path / "run" / "reward" / "labels.jsonl").read_text() == log.read_text()
    assert main([*SHORT, f"labels.log={tmp_path / 'none.jsonl'}", f"run.folder={tmp_path / 'b'}"]) == 1
    assert "none.jsonl" in capsys.readouterr().err


def test_one_process_is_not_taken_for_two(tmp_path: Path, capsys) -> None:
    assert main([*SHORT, "run.processes=2", f"run.folder={tmp_path / 'run'}"]) == 1
    told = capsys.readouterr().err
    assert "run.processes: expected 2, got 1; start with torchrun --nproc_per_node 2" in told
    assert not (tmp_path / "run").exists()


def process_of(rank: int, folder: Path) -> int:
    """The id of the process with this rank of the run in a folder."""
    for entry in Path("/proc").iterdir():
        try:
            ours = str(folder).encode() in (entry / "cmdline").read_bytes()
            if ours and f"RANK={rank}".encode() in (entry / "environ").read_bytes().split(b"\0"):
                return int(entry.name)
        except OSError:  # not a process, or one that has ended
            continue
    raise AssertionError("no such process")


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="finds a process by /proc")
@pytest.mark.parametrize("how", ["kill -9", "Ctrl-C"])
def test_two_processes_that_were_stopped_go_on_and_end_as_one_does(whole: Path, tmp_path: Path, how) -> None:
    folder = tmp_path / "run"
    command = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    command += ["-m", "mmbook", "ppo", *SHORT, "run.processes=2", f"run.folder={folder}"]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    told = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "env": env}
    with subprocess.Popen(command, **told) as process:
        wait_for(3, folder, process)
        time.sleep(0.5)
        if how == "Ctrl-C":
            process.send_signal(signal.SIGINT)
        else:
            os.kill(process_of(1, folder), signal.SIGKILL)
        said, _ = process.communicate(timeout=120)
    assert process.returncode != 0, said
    assert said.count("reward model:") == 1  # one of them speaks
    if how == "kill -9":
        assert "exitcode: -9" in said.replace("exitcode  :", "exitcode:"), said
    done = len(torch.load(folder / "ppo.pt", weights_only=True)["rest"]["history"])
    assert 3 <= done < 6
    again = subprocess.run(command, check=False, **told)
    assert again.returncode == 0, again.stdout
    assert json.loads((folder / "run.json").read_text())["processes"] == 2
    same(folder, whole)
