"""Checkpoints are whole or refused: kills, full disks, damaged files, and other runs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import warnings
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError

from mmbook.training import checkpoint
from mmbook.training.checkpoint import Checkpoint, whole_folder


def saved(folder: Path, *steps: int, **identity) -> Checkpoint:
    kept = Checkpoint(folder, "run", {"seed": 1, **identity})
    for step in steps:
        kept.save(step, {"w": torch.full((1000,), float(step))}, {"step": step})
    return kept


def step_of(kept: Checkpoint) -> int:
    """The step that is loaded, once weights and rest agree on it."""
    weights, rest = kept.load()
    assert torch.equal(weights["w"], torch.full((1000,), float(rest["step"])))
    return rest["step"]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def with_the_one_before(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Checkpoint:
    """A checkpoint of step 2 that was killed before it removed the one of step 1."""

    def killed(_: Path) -> None:
        raise KeyboardInterrupt

    kept = saved(folder, 1)
    sync = checkpoint._sync
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(checkpoint, "_sync", lambda path: killed(path) if path == folder else sync(path))
        saved(folder, 2)
    assert step_of(kept) == 2 and "run-1.safetensors" in names(folder)
    return kept


KILLS = """
import os, random, signal, sys, time
import torch
from mmbook.training.checkpoint import Checkpoint

folder, rng, done, half = sys.argv[1], random.Random(0), 0, 0
for kill in range(25):
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        kept, step = Checkpoint(folder, "run", {"seed": 1}), done
        while True:
            step += 1
            weights = {"w": torch.full((300_000,), float(step))}
            kept.save(step, weights, {"step": step, "m": torch.ones(99_999)})
            os.write(write, step.to_bytes(4, "big"))
    os.close(write)
    told = os.read(read, 4)  # the first save of this child is done
    time.sleep(rng.uniform(0, 0.02))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    while more := os.read(read, 4):
        told = more
    half += any(name.endswith((".new", ".old")) for name in os.listdir(folder))
    weights, rest = Checkpoint(folder, "run", {"seed": 1}).load()
    assert set(weights["w"].tolist()) == {rest["step"]}, "weights and the rest are of different steps"
    assert int.from_bytes(told, "big") <= rest["step"], "a finished save was lost"
    done = rest["step"]
Checkpoint(folder, "run", {"seed": 1}).save(done + 1, {}, {})
print(half, *sorted(os.listdir(folder)))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_run_killed_while_it_saves_always_has_a_whole_checkpoint(tmp_path: Path) -> None:
    """25 kills at random moments; those that hit a save leave pieces, which the next save clears away."""
    told = subprocess.run(
        [sys.executable, "-W", "error", "-c", KILLS, tmp_path], capture_output=True, text=True, check=False
    )
    assert told.returncode == 0, told.stderr
    half, *left = told.stdout.split()
    assert int(half) >= 5  # else the kills missed what they were meant to hit
    assert len(left) == 2 and left[1] == "run.pt"


FULL = """
import os, sys, torch
from pathlib import Path
from mmbook.training.checkpoint import Checkpoint

folder = Path(sys.argv[1])
kept = Checkpoint(folder, "run", {"seed": 1})
kept.save(1, {"w": torch.ones(50_000)}, {"step": 1})
for weights, rest in ((400_000, 10), (10, 400_000)):  # the weights, then the rest, is too large
    try:
        kept.save(2, {"w": torch.zeros(weights)}, {"m": torch.zeros(rest)})
    except OSError as error:
        print(error.errno, error)
    assert sorted(os.listdir(folder)) == ["run-1.safetensors", "run.pt"], os.listdir(folder)
    assert kept.load()[0]["w"].sum() == 50_000
kept.save(3, {"w": torch.zeros(20_000)}, {"step": 3})  # there is room for this one
assert kept.load()[1] == {"step": 3}
"""


@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs unshare, to mount a small disk")
def test_a_disk_that_is_really_full_loses_nothing(tmp_path: Path) -> None:
    mount = 'mount -t tmpfs -o size=1m tmpfs "$0" || exit 77; exec "$@"'
    command = ["unshare", "-rm", "sh", "-c", mount, tmp_path, sys.executable, "-c", FULL, tmp_path]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    if told.returncode == 77 or "unshare" in told.stderr:
        pytest.skip("no right to mount a small disk here")
    assert told.returncode == 0, told.stderr
    for line in told.stdout.splitlines():
        assert line.startswith("28 ") and "the checkpoint of step 2: about 1.6 MB needed, 0.8 MB free" in line
        assert str(tmp_path) in line and "make room" in line
    assert len(told.stdout.splitlines()) == 2


@pytest.mark.parametrize(
    ("error", "is_full"),
    [
        (OSError(28, "No space left on device"), True),
        (OSError(122, "Disk quota exceeded"), True),
        (SafetensorError("I/O error: No space left on device (os error 28)"), True),
        (OSError(13, "Permission denied"), False),
        (RuntimeError("another fault"), False),
    ],
)
def test_only_a_full_disk_is_called_one(tmp_path: Path, monkeypatch, error: Exception, is_full: bool) -> None:
    kept = saved(tmp_path, 1)

    def fails(_: dict, path: Path) -> None:
        path.write_bytes(b"half")
        raise error

    monkeypatch.setattr(checkpoint, "save_file", fails)
    with pytest.raises(OSError if is_full else type(error)) as caught:
        saved(tmp_path, 2)
    assert ("No space left for the checkpoint" in str(caught.value)) == is_full
    assert names(tmp_path) == ["run-1.safetensors", "run.pt"] and step_of(kept) == 1


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("harm", [cut, flip, Path.unlink])
def test_damaged_weights_are_refused_by_name(tmp_path: Path, harm) -> None:
    kept = saved(tmp_path, 1)
    harm(tmp_path / "run-1.safetensors")
    with pytest.raises(ValueError, match=r"run-1\.safetensors: expected the weights .* restore it .* begin"):
        kept.load()


def test_weights_of_another_step_are_refused(tmp_path: Path) -> None:
    one, other = saved(tmp_path / "a", 1), saved(tmp_path / "b", 2)
    shutil.copy(other.folder / "run-2.safetensors", one.folder / "run-1.safetensors")
    with pytest.raises(ValueError, match=r"run-1\.safetensors: expected the weights .* got other ones"):
        one.load()


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", None])
def test_a_damaged_pointer_is_refused_by_name(tmp_path: Path, content: bytes | None) -> None:
    kept = saved(tmp_path, 1)
    kept.path.write_bytes(kept.path.read_bytes()[:-50] if content is None else content)
    with pytest.raises(ValueError, match=r"run\.pt: expected a whole checkpoint, got a damaged one"):
        kept.load()


@pytest.mark.parametrize("name", ["run-2.safetensors", "run.pt"])
def test_the_checkpoint_before_a_damaged_one_is_taken(tmp_path: Path, monkeypatch, name: str) -> None:
    kept = with_the_one_before(tmp_path, monkeypatch)
    cut(tmp_path / name)
    with pytest.warns(UserWarning, match=rf"{name}: expected .* the one before it, run-1\.safetensors"):
        assert step_of(kept) == 1
    saved(tmp_path, 2)  # the run comes to step 2 again
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert step_of(kept) == 2
    assert names(tmp_path) == ["run-2.safetensors", "run.pt"]


def test_a_full_disk_keeps_the_one_before_a_damaged_one(tmp_path: Path, monkeypatch) -> None:
    kept = with_the_one_before(tmp_path, monkeypatch)
    cut(tmp_path / "run-2.safetensors")

    def full(*_) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match="No space"):
        saved(tmp_path, 2)
    with pytest.warns(UserWarning):
        assert step_of(kept) == 1


def test_a_kill_between_the_two_renamings_of_the_pointer_goes_unnoticed(tmp_path: Path, monkeypatch) -> None:
    kept, replace = saved(tmp_path, 1), Path.replace

    def killed(path: Path, target: Path) -> None:
        if path == tmp_path / "run.new" / "run.pt":
            raise KeyboardInterrupt
        replace(path, target)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Path, "replace", killed)
        saved(tmp_path, 2)
    assert not kept.path.exists() and step_of(kept) == 1
    saved(tmp_path, 2)
    assert names(tmp_path) == ["run-2.safetensors", "run.pt"] and step_of(kept) == 2


def test_only_what_belongs_to_this_run_is_cleared_away(tmp_path: Path) -> None:
    others = ["run-b-3.safetensors", "run-3.safetensors.txt", "rum-3.safetensors", "notes.new"]
    for name in [*others, "run-7.safetensors"]:
        (tmp_path / name).write_text("x")
    (tmp_path / "run.new").mkdir()
    (tmp_path / "run.new" / "run-8.safetensors").write_text("half")
    saved(tmp_path, 1, 2)
    assert names(tmp_path) == sorted([*others, "run-2.safetensors", "run.pt"])


@dataclass(frozen=True)
class Inner:
    graph: bool = False


@dataclass(frozen=True)
class Outer:
    lr: float = 0.1
    inner: Inner = field(default_factory=Inner)


def test_identities_may_be_nested_and_differ_field_by_field(tmp_path: Path) -> None:
    saved(tmp_path, 1, how=Outer(), more={"a": {"b": 2}})
    assert step_of(saved(tmp_path, how=Outer(), more={"a": {"b": 2}})) == 1
    assert step_of(saved(tmp_path, how={"lr": 0.1, "inner": {"graph": False}}, more={"a": {"b": 2}})) == 1
    with pytest.raises(ValueError, match=r"\(how\.inner\.graph = True\), got one of how\.inner\.graph"):
        saved(tmp_path, how=Outer(inner=Inner(True)), more={"a": {"b": 2}}).load()
    with pytest.raises(ValueError, match=r"\(more\.a\.b = None\), got one of more\.a\.b = 2"):
        saved(tmp_path, how=Outer()).load()


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    for text in ("one", "two"):
        with whole_folder(tmp_path / "model") as new:
            (new / "inner").mkdir()
            (new / "inner" / "a.txt").write_text(text)
            assert (tmp_path / "model").exists() == (text == "two")  # the old one, until the new one is done
        assert (tmp_path / "model" / "inner" / "a.txt").read_text() == text
    with pytest.raises(KeyboardInterrupt), whole_folder(tmp_path / "model") as new:
        (new / "half.txt").write_text("half")
        raise KeyboardInterrupt
    assert names(tmp_path) == ["model"] and names(tmp_path / "model") == ["inner"]
