"""Pictures with texts that belong to them, distorted on the way, and two towers trained on them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import affine_grid, grid_sample

from mmbook.equations import clip_loss, info_nce
from mmbook.models.contrastive import TwoTowers
from mmbook.models.threads import one_thread
from mmbook.training.loop import Schedule, train
from mmbook.world.captions import say
from mmbook.world.classifier import CROP, place
from mmbook.world.emoji import emoji_pictures, read_emoji
from mmbook.world.scenes import Seed, generator, render, sample_scenes
from mmbook.world.stickers import ARTWORK, KINDS, TRAIN_ARTWORK
from mmbook.world.writers import describe

NEW = 320  # emoji that no training shows


class Batch(NamedTuple):
    """Pictures (B, ...) and K texts; picture i belongs to text y[i]. With K = B, y is 0, 1, ..., B - 1."""

    pictures: Tensor
    texts: Sequence[str]
    y: Tensor


def partners(pictures: np.ndarray, texts: Sequence[str]) -> Batch:
    """A batch in which picture i belongs to text i."""
    return Batch(torch.from_numpy(pictures), texts, torch.arange(len(texts)))


def one_sticker(
    n: int, seed: Seed, artwork: Sequence[str] | str = TRAIN_ARTWORK
) -> tuple[np.ndarray, np.ndarray]:
    """Pictures of one sticker each, uint8 (n, 24, 24, 3), and the numbers of their kinds (n,)."""
    rng = generator(seed, "one sticker")
    kind = np.full((n, 3), -1)
    kind[:, 0] = rng.integers(len(KINDS), size=n)
    scenes = place(kind, np.zeros((n, 3), np.int64), rng.random((n, 3)) < 0.5, artwork, rng)
    return render(scenes)[:, :CROP, :CROP], kind[:, 0]


def captioned(
    n: int, seed: Seed, artwork: Sequence[str] | str = TRAIN_ARTWORK, style: str = "plain"
) -> Batch:
    """Sticker scenes, uint8 (n, 48, 48, 3), with a true and full caption each."""
    scenes = sample_scenes(n, generator(seed, "captioned"), artwork)
    return partners(render(scenes), [say(describe(scene, style)) for scene in scenes])


def distort(pictures: Tensor, rng: np.random.Generator, strength: float = 1.0) -> Tensor:
    """Turn, shift, scale and recolour pictures (B, H, W, 3), each in its own way; float, from 0 to 255."""

    def draw(low: float, high: float, *shape: int) -> Tensor:
        return torch.from_numpy(rng.uniform(low, high, (len(pictures), *shape)).astype(np.float32))

    x = pictures.permute(0, 3, 1, 2).float() / 255
    angle, size = draw(-0.25, 0.25) * strength, torch.exp(draw(-0.2, 0.2) * strength)
    cos, sin, shift = torch.cos(angle) * size, torch.sin(angle) * size, draw(-0.15, 0.15, 2) * strength
    theta = torch.stack([cos, -sin, shift[:, 0], sin, cos, shift[:, 1]], 1).view(-1, 2, 3)
    x = grid_sample(x, affine_grid(theta, list(x.shape), align_corners=False), "bilinear", "border", False)
    mix = torch.eye(3) + draw(-0.25, 0.25, 3, 3) * strength  # colours that leak into one another
    x = torch.einsum("bij,bjhw->bihw", mix / mix.sum(-1, keepdim=True), x)  # and grey stays grey
    grey = (draw(0, 1) < 0.15 * strength).float()[:, None, None, None]
    x = x + grey * (x.mean(1, keepdim=True) - x)
    x = x * draw(1 - 0.3 * strength, 1, 1, 1, 1) + draw(-0.1, 0.1, 1, 1, 1) * strength
    return (x.clamp(0, 1) * 255).permute(0, 2, 3, 1)


def fit_towers(
    towers: TwoTowers,
    draw: Callable[[np.random.Generator], Batch],
    seed: int,
    schedule: Schedule,
    spare: bool = False,
    fixed: bool = False,
) -> list[float]:
    """Train on a batch a step, drawn with the step's own generator; returns the losses.

    Where picture i belongs to text i and no text is left over the loss is CLIP's, and with `spare` equal
    texts are not told apart; else it is InfoNCE from pictures to texts. With `fixed` the temperature stays.
    """

    def loss_at(step: int) -> Tensor:
        batch = draw(generator(seed, f"contrastive {step}"))
        s = towers(batch.pictures, batch.texts)
        if not torch.equal(batch.y, torch.arange(s.shape[1])):
            return info_nce(s, batch.y)
        number = {text: i for i, text in enumerate(batch.texts)}
        same = torch.tensor([number[text] for text in batch.texts])
        return clip_loss(s, (same[:, None] != same).float() if spare else None)

    towers.train()
    towers.log_tau.requires_grad_(not fixed)
    with torch.random.fork_rng(devices=[]):  # dropout draws globally
        torch.manual_seed(seed)
        losses = train(towers, loss_at, schedule, name="contrastive", progress=False)
    towers.eval()
    return losses


def build_towers(
    picture: Callable[[], nn.Module], text: Callable[[], nn.Module], seed: int, tau: float = 0.07
) -> TwoTowers:
    """Two towers whose first weights follow from the seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return TwoTowers(picture(), text(), tau)


@torch.no_grad()
def picture_vectors(towers: TwoTowers, pictures: np.ndarray | Tensor) -> Tensor:
    """Vectors (N, D) of many pictures, a batch at a time."""
    x = torch.as_tensor(pictures)
    with one_thread():
        return torch.cat([towers.eval().picture(some) for some in x.split(200)])


@torch.no_grad()
def text_vectors(towers: TwoTowers, texts: Sequence[str]) -> Tensor:
    """Vectors (N, D) of texts."""
    with one_thread():
        return towers.eval().text(texts)


class EmojiPairs:
    """The fetched emoji: 1,274 concepts to train on in three styles, 320 never shown, and one style held out.

    `old` and `new` are the concepts (numbers of `emoji`) that are trained on and that are not; `held` are the
    pictures of all of them in the style held out. Raises ValueError for an unknown style, FileNotFoundError
    when they were not fetched.
    """

    def __init__(self, artwork: str, size: int = 32, folder: Path | None = None) -> None:
        if artwork not in ARTWORK:
            raise ValueError(f"artwork: expected one of {', '.join(ARTWORK)}, got {artwork!r}")
        self.emoji, pictures = read_emoji(folder), emoji_pictures(size, folder)
        order = generator(0, "emoji split").permutation(len(self.emoji))
        self.new, self.old = np.sort(order[:NEW]), np.sort(order[NEW:])
        kept = [i for i, name in enumerate(ARTWORK) if name != artwork]
        self.pictures, self.held = torch.from_numpy(pictures[kept]), pictures[ARTWORK.index(artwork)]
        self.names = [e.en for e in self.emoji]
        self.texts = [f"{e.en}: {', '.join(e.tags)}" for e in self.emoji]

    def draw(self, rng: np.random.Generator, n: int = 128) -> Batch:
        """n concepts, in one style or between two, and the names of all that are old, some with tags."""
        y = rng.choice(len(self.old), n, replace=False)
        first, second = self.pictures[rng.integers(3, size=(2, n)), self.old[y]].float()
        share = np.where(rng.random(n) < 0.3, rng.random(n), 0.0).astype(np.float32)
        between = first + torch.from_numpy(share)[:, None, None, None] * (second - first)
        tagged = rng.random(len(self.old)) < 0.5
        texts = [(self.texts if t else self.names)[i] for i, t in zip(self.old, tagged, strict=True)]
        return Batch(distort(between, rng, 0.5), texts, torch.from_numpy(y))
