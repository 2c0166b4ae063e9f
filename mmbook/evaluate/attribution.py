"""What a model looked at: cover parts of a picture, or follow gradients, and compare with the truth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from mmbook.equations import integrated_gradients, log_prob, occlusion
from mmbook.models.threads import one_thread
from mmbook.world import KINDS, Scene, SceneBatch, render
from mmbook.world.stickers import BACKGROUND

if TYPE_CHECKING:
    from mmbook.models.vlm import VLM, Prefix

Asked = Callable[["Prefix", Sequence[int]], Tensor]


class Word(NamedTuple):
    """The word at place `at` among the tokens of the caption of scene `row`, and the quarter to look at."""

    row: int
    at: int
    kind: str
    quarter: int


def named(model: VLM, scenes: Sequence[Scene] | SceneBatch, captions: Sequence[str]) -> list[Word]:
    """Each kind that a caption names, once, with the quarter where it stands; -1 where it does not."""
    ids, _ = model.tokens(captions)
    found = []
    for row, (scene, line) in enumerate(zip(scenes, ids, strict=True)):
        where = {s.kind: s.quarter for s in scene.stickers}
        words = model.tokenizer.convert_ids_to_tokens(line.tolist())
        for kind in dict.fromkeys(w for w in words if w in KINDS):
            found.append(Word(row, words.index(kind), kind, where.get(kind, -1)))
    return found


def word_log_p(model: VLM, captions: Sequence[str], words: Sequence[Word]) -> Asked:
    """What to ask of a policy: log p of the word of each row, its caption up to there having been read."""
    ids, _ = model.tokens(captions)
    ids, at = ids[[w.row for w in words]], torch.tensor([w.at for w in words])

    def f(prefix: Prefix, rows: Sequence[int]) -> Tensor:
        some = ids[rows, : int(at[rows].max()) + 1]
        log_p = log_prob(model.logits(model.states(prefix, some)[:, :-1]), some)
        return log_p.gather(1, at[rows][:, None])[:, 0]

    return f


def reward_of(reward: Any, captions: Sequence[str]) -> Asked:
    """What to ask of a reward model: the reward of the caption of each row."""
    ids, mask = reward.trunk.tokens(captions)
    return lambda prefix, rows: reward(prefix, ids[rows], mask[rows])


def covered(pictures: np.ndarray, cells: int) -> np.ndarray:
    """Pictures (N, H, W, 3) with one cell after the other covered by background: (N, cells^2, H, W, 3)."""
    n, side = len(pictures), pictures.shape[1] // cells
    out = np.repeat(pictures[:, None], cells**2, 1)
    for c in range(cells**2):
        top, left = c // cells * side, c % cells * side
        out[:, c, top : top + side, left : left + side] = BACKGROUND
    return out.reshape(n, cells**2, *pictures.shape[1:])


@torch.no_grad()
def occlusion_map(model: VLM, scenes: SceneBatch, f: Asked, cells: int = 4) -> np.ndarray:
    """How much `f` falls when a cell of the picture is covered: (N, cells, cells).

    Scene i is the picture of row i. Source: {cite}`zeiler2014visualizing`.
    """
    maps = []
    with one_thread():
        for i in range(0, len(scenes), 32):
            pictures = render(scenes[i : i + 32], model.picture_size)
            rows = range(i, i + len(pictures))
            f_x = f(model.prefix(pictures), list(rows))
            hidden = covered(pictures, cells).reshape(-1, *pictures.shape[1:])
            f_covered = f(model.prefix(hidden), np.repeat(rows, cells**2).tolist())
            maps.append(occlusion(f_x, f_covered.view(-1, cells**2)))
    return torch.cat(maps).view(-1, cells, cells).numpy()


def gradient_map(model: VLM, scenes: SceneBatch, f: Asked, K: int = 16) -> np.ndarray:
    """Integrated gradients of `f` from an empty page to the picture, summed over each part: (N, S, S).

    They are with respect to the embeddings that the language model is fed, one for each of the S x S parts of
    the picture; what a tower mixes between parts before that, it does not undo. K = 1 is gradient times
    input, with the gradient taken at the picture itself. Source: {cite}`sundararajan2017axiomatic`.
    """
    page = np.full((1, model.picture_size, model.picture_size, 3), BACKGROUND, np.uint8)
    empty, maps = model.prefix(page), []
    with one_thread():
        for i in range(0, len(scenes), 32):
            prefix = model.prefix(scenes[i : i + 32])
            x, x_0 = prefix.embeds, empty.embeds.expand_as(prefix.embeds)
            rows, g = list(range(i, i + len(x))), []
            for t in [1.0] if K == 1 else (np.arange(K) + 0.5) / K:
                point = (x_0 + t * (x - x_0)).requires_grad_()
                g.append(torch.autograd.grad(f(replace(prefix, embeds=point), rows).sum(), point)[0])
            each = integrated_gradients(x, x_0, torch.stack(g)).sum(-1)
            maps.append(each[prefix.picture].view(len(x), -1))
    flat = torch.cat(maps)
    side = int(flat.shape[1] ** 0.5)
    return flat.view(-1, side, side).numpy()


def quarters(maps: np.ndarray) -> np.ndarray:
    """Maps (N, S, S) summed over the four quarters, in reading order: (N, 4)."""
    half = maps.shape[1] // 2
    return maps.reshape(-1, 2, half, 2, half).sum((2, 4)).reshape(-1, 4)


def pointed(maps: np.ndarray, quarter: Sequence[int]) -> np.ndarray:
    """Whether the highest quarter of each map (N, S, S) is the one asked for: the pointing game (N,).

    Source: {cite}`zhang2016excitation`.
    """
    return quarters(maps).argmax(1) == np.asarray(quarter)


def inside(maps: np.ndarray, quarter: Sequence[int]) -> np.ndarray:
    """The share of each map's positive part that lies in the quarter asked for (N,); 0 where none is."""
    positive = quarters(np.maximum(maps, 0))
    of = positive[np.arange(len(maps)), np.asarray(quarter)]
    return of / np.maximum(positive.sum(1), 1e-12)
