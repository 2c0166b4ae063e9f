"""The exercises on training: published solutions pass, typical mistakes get their own words."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from mmbook.exercises import Mistake, check

CHAPTER = Path(__file__).parents[2] / "book" / "multimodal" / "training.md"
CELLS = re.findall(r"^```\{code-cell\} ipython3\n(.*?)^```$", CHAPTER.read_text("utf-8"), re.M | re.S)


@pytest.mark.parametrize("name", ["clip", "uncertainty"])
def test_the_published_solution_is_right(name, capsys):
    (cell,) = [cell for cell in CELLS if f'check("multimodal-training/{name}"' in cell]
    exec(cell, {"torch": torch, "check": check})
    assert capsys.readouterr().out == "Right.\n"


CLIPS = {
    "should stay as it is": lambda g, c: g * c / g.norm(),
    "changes the direction": lambda g, c: g.clamp(-c, c),
    "not by the sum": lambda g, c: g * min(1, c / (g**2).sum()),
    "each row is shortened": lambda g, c: g * (c / g.norm(dim=-1, keepdim=True)).clamp(max=1),
    "multiply by c": lambda g, c: g / g.norm().clamp(min=1),
    "is right, on a small example": lambda g, c: 0 * g,
}


@pytest.mark.parametrize("words", CLIPS)
def test_each_mistake_in_clipping_is_named(words):
    with pytest.raises(Mistake, match=words):
        check("multimodal-training/clip", CLIPS[words])


WEIGHTS = {
    "should count less": lambda L, s: (s.exp() * L + s / 2).sum(),
    "without the price": lambda L, s: ((-s).exp() * L).sum(),
    "half of s": lambda L, s: ((-s).exp() * L + s).sum(),
    "for squared errors": lambda L, s: ((-s).exp() * L / 2 + s / 2).sum(),
    "this one falls": lambda L, s: ((-s).exp() * L - s / 2).sum(),
    "this is their mean": lambda L, s: ((-s).exp() * L + s / 2).mean(),
    "not the variance": lambda L, s: (L / s + s / 2).sum(),
    r"one number, got shape \(3,\)": lambda L, s: (-s).exp() * L + s / 2,
}


@pytest.mark.parametrize("words", WEIGHTS)
def test_each_mistake_in_learned_weights_is_named(words):
    with pytest.raises(Mistake, match=words):
        check("multimodal-training/uncertainty", WEIGHTS[words])
