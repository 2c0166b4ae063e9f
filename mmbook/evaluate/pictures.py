"""What painted pictures show: an independent classifier's verdict, and readers with a taste in pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from mmbook.models.threads import one_thread
from mmbook.models.vq import to_quarters
from mmbook.training import Schedule, train
from mmbook.training.pretrain import quarter_targets
from mmbook.world import KINDS, Scene, SceneBatch, parse, render, sample_scenes
from mmbook.world.stickers import BACKGROUND

WEIGHTS = Path(__file__).parents[1] / "models" / "tiny_painter" / "judge.safetensors"
NOTHING = len(KINDS)
JUDGE = Schedule(steps=800, lr=4e-3, warmup=50, weight_decay=0.05)


class Judge(nn.Module):
    """A small convolutional classifier of quarters (Q, 3, 24, 24): kinds and nothing (Q, 33), and big (Q,).

    It has seen drawings only, never what a painter made, and shares no weight with painter or captioner.
    """

    def __init__(self, seed: int = 0, width: int = 32) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.body = nn.Sequential(
                nn.Conv2d(3, width, 3, stride=2, padding=1),
                nn.GELU(),
                nn.Conv2d(width, 2 * width, 3, stride=2, padding=1),
                nn.GroupNorm(8, 2 * width),
                nn.GELU(),
                nn.Conv2d(2 * width, 2 * width, 3, padding=1),
                nn.GroupNorm(8, 2 * width),
                nn.GELU(),
            )
            self.kind, self.big = nn.Linear(4 * width, NOTHING + 1), nn.Linear(4 * width, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = self.body(x).flatten(2)
        pooled = torch.cat([features.amax(2), features.mean(2)], 1)
        return self.kind(pooled), self.big(pooled).squeeze(-1)

    @torch.no_grad()
    def names(self, pictures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """For each quarter (N, 4) the kind, 32 for nothing, and whether it is big."""
        found = []
        with one_thread():
            for i in range(0, len(pictures), 256):
                kind, big = self(to_quarters(pictures[i : i + 256]))
                found.append((kind.argmax(-1).view(-1, 4), (big > 0).view(-1, 4)))
        kinds, bigs = (torch.cat(x).numpy() for x in zip(*found, strict=True))
        return kinds, bigs


def train_judge(seed: int = 1000, schedule: Schedule = JUDGE, progress: bool = True) -> Judge:
    """A judge that learns from scenes of all training artwork: too light, too dark, noisy, blurred."""
    judge = Judge(seed)

    def loss_at(step: int) -> Tensor:
        rng = np.random.default_rng([seed, 5, step])
        scenes = sample_scenes(64, rng)
        kinds, big, there = (t.flatten() for t in quarter_targets(scenes))
        kind_logits, big_logits = judge(spoiled(to_quarters(render(scenes)), rng))
        return F.cross_entropy(kind_logits, kinds) + F.binary_cross_entropy_with_logits(
            big_logits[there], big[there]
        )

    train(judge, loss_at, schedule, name="judge", progress=progress)
    return judge.eval().requires_grad_(False)


def spoiled(x: Tensor, rng: np.random.Generator) -> Tensor:
    """Quarters (Q, 3, 24, 24) in other light, noisy, and half of them blurred."""
    Q = len(x)
    gain, shift, noise, blur = (
        torch.from_numpy(rng.random(Q).astype(np.float32))[:, None, None, None] for _ in range(4)
    )
    x = x * (0.8 + 0.4 * gain) + 0.3 * (shift - 0.5)
    soft = F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, 1)
    x = torch.where(blur < 0.5, (1 - blur) * x + blur * soft, x)
    x = torch.where(blur < 0.15, F.avg_pool2d(F.pad(soft, (1, 1, 1, 1), mode="replicate"), 3, 1), x)
    return x + 0.15 * noise * torch.from_numpy(rng.standard_normal(x.shape, np.float32))


def load_judge(path: str | Path = WEIGHTS) -> Judge:
    """The trained classifier of the package. Raises FileNotFoundError."""
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: expected the weights of a Judge, found no such file")
    judge = Judge()
    judge.load_state_dict(load_file(path))
    return judge.eval().requires_grad_(False)


def verdict(judge: Judge, pictures: np.ndarray, asked: Sequence[Scene] | SceneBatch) -> dict[str, float]:
    """What a judge sees in pictures (N, 48, 48, 3) that were asked to show the kinds of scenes.

    "asked" is the share of asked stickers that are recognised, "exact" the share of pictures with all of them
    and nothing else, "extra" the stickers a picture has that nobody asked for, "big" the share of stickers
    that are big, "warm" the mean warmth of pictures.
    """
    kinds, big = judge.names(pictures)
    found, wanted, exact, extra = 0, 0, 0, 0
    for row, scene in zip(kinds, asked, strict=True):
        want, seen = set(scene.kinds), [KINDS[k] for k in row if k != NOTHING]
        found, wanted = found + len(want & set(seen)), wanted + len(want)
        exact, extra = exact + (sorted(seen) == sorted(want)), extra + len(seen) - len(want & set(seen))
    n, there = len(kinds), kinds != NOTHING
    return {
        "asked": found / wanted,
        "exact": exact / n,
        "extra": extra / n,
        "big": float(big[there].mean()) if there.any() else 0.0,
        "warm": float(warmth(pictures).mean()),
    }


def come_back(captioner: Any, pictures: np.ndarray, asked: Sequence[Scene] | SceneBatch) -> float:
    """The share of the kinds asked for that a captioner names, greedily, when it is shown the pictures."""
    said = [parse(caption) for caption in captioner.sample(pictures, greedy=True)]
    kept = [len({*s.kinds} & {*(n.kinds if n else ())}) for s, n in zip(asked, said, strict=True)]
    return sum(kept) / sum(len(s.kinds) for s in asked)


def _ink(pictures: np.ndarray) -> np.ndarray:
    """Which pixels (N, 48, 48) differ visibly from the background."""
    return np.abs(pictures.astype(int) - BACKGROUND).max(-1) > 60


def warmth(pictures: np.ndarray) -> np.ndarray:
    """Mean of red less blue over what is drawn, -1 to 1, for each picture (N,); 0 where nothing is."""
    ink, p = _ink(pictures), pictures.astype(float) / 255
    return ((p[..., 0] - p[..., 2]) * ink).sum((1, 2)) / np.maximum(ink.sum((1, 2)), 1)


def extent(pictures: np.ndarray) -> np.ndarray:
    """Mean size in pixels of what is drawn in the quarters that are not empty, for each picture (N,)."""
    ink = _ink(pictures).reshape(-1, 2, 24, 2, 24).swapaxes(2, 3)  # (N, 2, 2, 24, 24)
    sides = np.stack([_span(np.any(ink, axis)) for axis in (3, 4)]).max(0)
    return sides.sum((1, 2)) / np.maximum((sides > 0).sum((1, 2)), 1)


def _span(there: np.ndarray) -> np.ndarray:
    """The distance from the first to the last true entry of the last axis, both counted."""
    n = there.shape[-1]
    return np.where(there.any(-1), n - there.argmax(-1) - there[..., ::-1].argmax(-1), 0)


TASTES: dict[str, tuple[Callable[[np.ndarray], np.ndarray], float]] = {
    "big": (extent, 1.0),
    "warm": (warmth, 0.02),
}


class PictureReader:
    """A simulated person who looks at two painted pictures and likes the bigger, or the warmer, stickers.

    Called with what was asked for and two answers in codes; differences that nobody would see are ties. The
    classifier that judges the outcome is not asked. Raises ValueError for another taste.
    """

    def __init__(self, painter: Any, taste: str) -> None:
        if taste not in TASTES:
            raise ValueError(f"taste: expected one of {', '.join(TASTES)}, got {taste!r}")
        self.painter, self.taste, self.name = painter, taste, f"simulated-{taste}"

    def __call__(self, scene: Scene, answers: Sequence[str]) -> int | str:
        measure, least = TASTES[self.taste]
        a, b = measure(self.painter.pictures(answers))
        return "tie" if abs(a - b) < least else int(b > a)
