"""The exercises on representations: published solutions pass, typical mistakes get their own words."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from mmbook.exercises import Mistake, check

CHAPTER = Path(__file__).parents[2] / "book" / "multimodal" / "representations.md"
CELLS = re.findall(r"^```\{code-cell\} ipython3\n(.*?)^```$", CHAPTER.read_text("utf-8"), re.M | re.S)


@pytest.mark.parametrize("name", ["spectrogram", "patches", "skip-gram"])
def test_the_published_solution_is_right(name, capsys):
    (cell,) = [cell for cell in CELLS if f'check("multimodal-representations/{name}"' in cell]
    exec(cell, {"torch": torch, "check": check})
    assert capsys.readouterr().out == "Right.\n"


def cut(x, w, H):
    return x.unfold(-1, len(w), H)


SPECTROGRAMS = {
    "window is not used": lambda x, w, H: torch.fft.rfft(cut(x, w, H)).abs() ** 2,
    "this is the magnitude": lambda x, w, H: torch.fft.rfft(cut(x, w, H) * w).abs(),
    "both halves": lambda x, w, H: torch.fft.fft(cut(x, w, H) * w).abs() ** 2,
    "without overlap": lambda x, w, H: torch.fft.rfft(x.view(2, -1, 8) * w).abs() ** 2,
    "take abs first": lambda x, w, H: (torch.fft.rfft(cut(x, w, H) * w) ** 2).real,
    "wrong way round": lambda x, w, H: torch.fft.rfft(cut(x, w, H) * w).abs().mT ** 2,
    "is right, on a small example": lambda x, w, H: torch.fft.rfft(cut(x, w, H) * w).abs() ** 2 + 1,
    "stopped with TypeError": lambda x, w, H: x.unfold(),
}


@pytest.mark.parametrize("words", SPECTROGRAMS)
def test_each_mistake_in_the_spectrogram_is_named(words):
    with pytest.raises(Mistake, match=words):
        check("multimodal-representations/spectrogram", SPECTROGRAMS[words])


def squares(x, P):
    B, H, W, C = x.shape
    return x.reshape(B, H // P, P, W // P, P, C)


PATCHES = {
    "cuts strips of rows": lambda x, P: x.reshape(2, -1, P * P * 3),
    "down the columns first": lambda x, P: squares(x, P).permute(0, 3, 1, 2, 4, 5).reshape(2, 6, 12),
    "columns come before the rows": lambda x, P: squares(x, P).permute(0, 1, 3, 4, 2, 5).reshape(2, 6, 12),
    "channels come first": lambda x, P: squares(x, P).permute(0, 1, 3, 5, 2, 4).reshape(2, 6, 12),
    r"shape \(2, 6, 12\), got shape": lambda x, P: squares(x, P).transpose(2, 3),
}


@pytest.mark.parametrize("words", PATCHES)
def test_each_mistake_in_the_patches_is_named(words):
    with pytest.raises(Mistake, match=words):
        check("multimodal-representations/patches", PATCHES[words])


def parts(u, v, n):
    return (u * v).sum(-1), (n * u[:, None]).sum(-1)


def log(x):
    return torch.sigmoid(x).log()


LOSSES = {
    "needs a minus inside": lambda a, b: -(log(a) + log(b).sum(-1)).mean(),
    "falls where it should rise": lambda a, b: (log(a) + log(-b).sum(-1)).mean(),
    "negatives are averaged": lambda a, b: -(log(a) + log(-b).mean(-1)).mean(),
    "negatives are missing": lambda a, b: -log(a).mean(),
    "this is the sum": lambda a, b: -(log(a) + log(-b).sum(-1)).sum(),
    "put them through a sigmoid": lambda a, b: -(a - b.sum(-1)).mean(),
}


@pytest.mark.parametrize("words", LOSSES)
def test_each_mistake_in_the_loss_is_named(words):
    with pytest.raises(Mistake, match=words):
        check("multimodal-representations/skip-gram", lambda u, v, n: LOSSES[words](*parts(u, v, n)))
