"""What a run looks like while it runs: curves and captioned pictures in TensorBoard, captions in a file."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch.distributed as dist
from PIL import Image, ImageDraw
from torch.utils.tensorboard import SummaryWriter

from mmbook.world import Scene, render, sample_scenes

SIZE, LINE = 240, 16  # pixels: a picture's side, and a line of text under it


class Monitor:
    """The `callback` of a run that writes TensorBoard's events and `captions.jsonl` into `folder`.

    Step n of a curve is the history's row of update n. Before the first update and after `every` more, fixed
    scenes (`captions` of them, or `scenes`) get a greedy caption and one at `temperature`, always from the
    same random numbers, which are not the run's. A run that goes on from update n replaces what an earlier
    part of it wrote from there. In a run of several processes the main one writes.
    """

    def __init__(
        self,
        folder: str | Path,
        every: int = 10,
        captions: int = 4,
        scenes: Sequence[Scene] | None = None,
        temperature: float = 1.0,
    ) -> None:
        self.folder, self.every, self.temperature = Path(folder), every, temperature
        self.scenes = sample_scenes(captions, seed=7) if scenes is None else scenes
        self.main = not dist.is_initialized() or dist.get_rank() == 0
        self._events: SummaryWriter | None = None

    def __call__(self, update: int, model: Any) -> None:
        if not self.main:
            return
        said = {}
        if update % self.every == 0 and len(self.scenes):
            for greedy in (True, False):
                said[greedy] = model.sample(self.scenes, self.temperature, seed=0, greedy=greedy)
        if self._events is None:
            self._events = self._begin(update)
        for name, value in model.history[-1].items() if update else ():
            self._events.add_scalar(f"ppo/{name}", value, update)
        with (self.folder / "captions.jsonl").open("a", encoding="utf-8") as log:
            for greedy, captions in said.items():
                for scene, caption in zip(self.scenes, captions, strict=True):
                    row = {"update": update, "greedy": greedy, "temperature": self.temperature}
                    log.write(json.dumps({**row, "caption": caption, "scene": scene.to_json()}) + "\n")
        for i in range(len(self.scenes) if said else 0):
            text = {"greedy": said[True][i], f"at {self.temperature:g}": said[False][i]}
            picture = captioned(self.scenes[i], text)
            self._events.add_image(f"captions/{i}", picture, update, dataformats="HWC")
        self._events.flush()

    def _begin(self, update: int) -> SummaryWriter:
        """Cut off what an earlier part of this run wrote from this update on, and a half-written line."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / "captions.jsonl"
        if path.exists():
            lines = [x for x in path.read_text(encoding="utf-8").splitlines(True) if x.endswith("\n")]
            new = path.with_suffix(".new")
            new.write_text("".join(x for x in lines if json.loads(x)["update"] < update), encoding="utf-8")
            new.replace(path)
        return SummaryWriter(str(self.folder), purge_step=update)


def captioned(scene: Scene, text: dict[str, str]) -> np.ndarray:
    """The picture of a scene, 240 pixels wide, over captions with their names; uint8 (H, 240, 3)."""
    lines = [line for name, caption in text.items() for line in textwrap.wrap(f"{name}: {caption}", 38)]
    picture = Image.new("RGB", (SIZE, SIZE + LINE * len(lines)), "white")
    picture.paste(Image.fromarray(render([scene], SIZE)[0]))
    draw = ImageDraw.Draw(picture)
    for i, line in enumerate(lines):
        draw.text((4, SIZE + LINE * i + 2), line, fill="black")
    return np.asarray(picture)
