"""Checkpoints that are loaded whole or not at all, whatever happens while they are written.

Weights and the file that points to them, with their digest, are written under other names, brought to the
disk and only then renamed; the last checkpoint stays until the new one is there.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

FULL = (errno.ENOSPC, errno.EDQUOT)


class Checkpoint:
    """One run's last state in a folder; `identity` is what a run must share with it to be continued.

    Dictionaries and dataclasses in `identity` are compared field by field.
    """

    def __init__(self, folder: str | Path, name: str, identity: dict[str, Any]) -> None:
        self.folder, self.name, self.identity = Path(folder), name, flat(identity)
        self.path = self.folder / f"{name}.pt"
        self.before = beside(self.path, ".old")

    def save(self, step: int, weights: dict[str, Tensor], rest: dict[str, Any]) -> None:
        """Write the state of a step, then remove the last one, and what a killed save left.

        Raises OSError where the disk is full, and leaves the last checkpoint as it was.
        """
        new = self.folder / f"{self.name}.new"  # a folder, as safetensors leaves pieces under other names
        last, saved, _ = self.last()
        file = self.folder / f"{self.name}-{step}.safetensors"
        if saved.get("weights") == file.name:
            return  # this step is already there
        shutil.rmtree(new, ignore_errors=True)
        self.folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(self.folder).free
        try:
            new.mkdir()
            save_file({k: v.clone().contiguous() for k, v in weights.items()}, new / file.name)
            _sync(new / file.name)
            saved = {"weights": file.name, "digest": _digest(new / file.name), "identity": self.identity}
            torch.save({**saved, "rest": rest}, new / self.path.name)
            _sync(new / self.path.name)
        except (OSError, RuntimeError, SafetensorError) as error:  # torch and safetensors raise their own
            shutil.rmtree(new, ignore_errors=True)
            needed = _bytes([weights, rest])
            is_full = getattr(error, "errno", 0) in FULL or "(os error 28)" in str(error)
            if not is_full and free > needed:
                raise
            says = (
                f"No space left for the checkpoint of step {step}: about {needed / 1e6:,.1f} MB needed, "
                f"{free / 1e6:,.1f} MB free; the last checkpoint is whole: make room, then run the same again"
            )
            raise OSError(errno.ENOSPC, says, str(self.folder)) from error
        (new / file.name).replace(file)
        if last == self.path:
            last.replace(self.before)
        (new / self.path.name).replace(self.path)
        _sync(self.folder)
        self.before.unlink(missing_ok=True)
        new.rmdir()
        for path in self.folder.glob(f"{self.name}-*.safetensors"):
            if path != file and path.name[len(self.name) + 1 : -12].isdecimal():
                path.unlink()

    def load(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Weights and the rest, or None where nothing was saved.

        Warns where the newest checkpoint is damaged and the one before it is taken. Raises ValueError for
        another run's, and where what is there is damaged.
        """
        path, saved, problems = self.last()
        if path is None and problems:
            raise ValueError(f"{problems[0]}; restore it from a copy, or remove it to begin again")
        if path is None:
            return None
        theirs = saved["identity"]
        if differ := [k for k in {**theirs, **self.identity} if theirs.get(k) != self.identity.get(k)]:
            ours, got = (", ".join(f"{k} = {x.get(k)!r}" for k in differ) for x in (self.identity, theirs))
            raise ValueError(
                f"{path}: expected a checkpoint of this run ({ours}), got one of {got}; "
                "choose another folder or remove this one"
            )
        if problems:
            warnings.warn(f"{problems[0]}; going on from the one before it, {saved['weights']}", stacklevel=2)
        return load_file(self.folder / saved["weights"]), saved["rest"]

    def last(self) -> tuple[Path | None, dict[str, Any], list[str]]:
        """The newest pointer to whole weights, what it holds, and what is wrong with a newer one."""
        problems = list[str]()
        for path in (self.path, self.before):
            if not path.exists():
                continue
            try:
                saved = torch.load(path, weights_only=True, map_location="cpu")
                file, digest = self.folder / saved["weights"], saved["digest"]
                if file.exists() and _digest(file) == digest:
                    return path, saved, problems
                got = "other ones" if file.exists() else "no such file"
                problems.append(f"{file}: expected the weights that {path.name} was saved with, got {got}")
            except OSError:
                raise
            except Exception as error:  # a damaged file fails in many ways
                why = next(iter(str(error).splitlines()), "empty")
                problems.append(f"{path}: expected a whole checkpoint, got a damaged one ({why})")
        return None, {}, problems


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """A new folder to write into; it takes the place of `folder` once everything in it is on the disk."""
    new, old = beside(folder, ".new"), beside(folder, ".old")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    try:
        yield new
        for path in new.rglob("*"):
            _sync(path)
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)
        raise
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.replace(old)
    new.replace(folder)
    _sync(folder.parent)
    shutil.rmtree(old, ignore_errors=True)


def beside(path: Path, ending: str) -> Path:
    """The path with an ending added to its name."""
    return path.with_name(path.name + ending)


def flat(values: Any, prefix: str = "") -> dict[str, Any]:
    """Nested dictionaries and dataclasses as one dictionary with dotted names."""
    if is_dataclass(values):
        values = vars(values)
    if not isinstance(values, dict):
        return {prefix[:-1]: values}
    return {k: v for name, value in values.items() for k, v in flat(value, f"{prefix}{name}.").items()}


def _digest(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _sync(path: Path) -> None:
    """Bring a file's content, or a folder's names, from memory to the disk."""
    if os.name == "nt" and path.is_dir():
        return  # Windows opens no folder
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _bytes(state: Any) -> int:
    """The bytes of all tensors in a nested state."""
    if isinstance(state, Tensor):
        return state.nbytes
    parts = state.values() if isinstance(state, dict) else state if isinstance(state, list | tuple) else ()
    return sum(map(_bytes, parts))
