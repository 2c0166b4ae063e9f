"""Checkpoints that an interruption leaves whole: weights as safetensors, the rest in a file renamed last."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor


class Checkpoint:
    """One run's last state in a folder; `identity` is what a run must share with it to be continued."""

    def __init__(self, folder: str | Path, name: str, identity: dict[str, Any]) -> None:
        self.folder, self.name, self.identity = Path(folder), name, identity
        self.path = self.folder / f"{name}.pt"

    def save(self, step: int, weights: dict[str, Tensor], rest: dict[str, Any]) -> None:
        """Write the weights of a step beside the old ones, then replace the file that points to them."""
        self.folder.mkdir(parents=True, exist_ok=True)
        file = self.folder / f"{self.name}-{step}.safetensors"
        if self.path.exists() and torch.load(self.path, weights_only=True)["weights"] == file.name:
            return  # this step is already there
        old = set(self.folder.glob(f"{self.name}-*.safetensors")) - {file}
        save_file({k: v.clone().contiguous() for k, v in weights.items()}, file)
        new = self.path.with_suffix(".pt.new")
        torch.save({"identity": self.identity, "weights": file.name, "rest": rest}, new)
        new.replace(self.path)
        for path in old:
            path.unlink()

    def load(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Weights and the rest, or None where nothing was saved. Raises ValueError for another run's."""
        if not self.path.exists():
            return None
        saved = torch.load(self.path, weights_only=True)
        theirs = saved["identity"]
        if differ := [k for k in {**theirs, **self.identity} if theirs.get(k) != self.identity.get(k)]:
            ours, got = (", ".join(f"{k} = {x.get(k)!r}" for k in differ) for x in (self.identity, theirs))
            raise ValueError(
                f"{self.path}: expected a checkpoint of this run ({ours}), got one of {got}; "
                "choose another folder or remove this one"
            )
        return load_file(self.folder / saved["weights"]), saved["rest"]
