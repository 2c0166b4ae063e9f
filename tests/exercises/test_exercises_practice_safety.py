"""The exercises on safety: published solutions pass, typical mistakes get their own words."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from mmbook.exercises import Mistake, check

CHAPTER = Path(__file__).parents[2] / "book" / "practice" / "safety.md"
CELLS = re.findall(r"^```\{code-cell\} ipython3\n(.*?)^```$", CHAPTER.read_text("utf-8"), re.M | re.S)


@pytest.mark.parametrize("name", ["occlusion", "warner", "coverage"])
def test_the_published_solution_is_right(name, capsys):
    (cell,) = [cell for cell in CELLS if f'check_answer("practice-safety/{name}"' in cell]
    exec(cell, {"np": np})
    assert capsys.readouterr().out == "Right.\n"


def covering(f, picture, cells, value, cover=None):
    side, out = len(picture) // cells, np.zeros((cells, cells))
    for a, b in np.ndindex(cells, cells):
        hidden = picture.copy()
        place = np.s_[a * side : (a + 1) * side, b * side : (b + 1) * side]
        if cover == "rest":
            hidden[:] = value
            hidden[place] = picture[place]
        else:
            hidden[place] = value
        out[a, b] = f(picture) - f(hidden)
    return out


def without_a_copy(f, picture, cells, value):
    whole, side = f(picture), len(picture) // cells
    out = np.zeros((cells, cells))
    for a, b in np.ndindex(cells, cells):
        picture[a * side : (a + 1) * side, b * side : (b + 1) * side] = value
        out[a, b] = whole - f(picture)
    return out


MAPS = {
    "the sign": lambda f, x, c, v: -covering(f, x, c, v),
    "you covered with 0": lambda f, x, c, v: covering(f, x, c, 0.0),
    "f of the covered pictures": lambda f, x, c, v: f(x) - covering(f, x, c, v),
    "covers the rest": lambda f, x, c, v: f(x) - covering(f, x, c, v, "rest"),
    "rows and columns": lambda f, x, c, v: covering(f, x, c, v).T,
    "copy it first": without_a_copy,
    "should be a tensor of shape": lambda f, x, c, v: covering(f, x, c, v).ravel(),
    "got nothing": lambda f, x, c, v: None,
}


@pytest.mark.parametrize("words", MAPS)
def test_each_mistake_in_the_map_is_named(words):
    with pytest.raises(Mistake, match=words):
        check("practice-safety/occlusion", MAPS[words])


SHARES = {
    "share that is seen": lambda a, p: a.mean(),
    "is half of it": lambda a, p: a.mean() - p,
    "not by 1 - p": lambda a, p: (a.mean() - p) / (1 - p),
    "once more": lambda a, p: (1 - p) * a.mean() + p * (1 - a.mean()),
    "no longer unbiased": lambda a, p: np.clip((a.mean() - p) / (1 - 2 * p), 0, 1),
    "on a small example": lambda a, p: 0.123,
}


@pytest.mark.parametrize("words", SHARES)
def test_each_mistake_in_the_share_is_named(words):
    with pytest.raises(Mistake, match=words):
        check("practice-safety/warner", SHARES[words])


def surest(sure, coverage):
    return np.argsort(-sure)[: round(coverage * len(sure))]


RISKS = {
    "share of right answers": lambda s, r, c: r[surest(s, c)].mean(),
    "the least sure": lambda s, r, c: 1 - r[surest(-s, c)].mean(),
    "divide by those that are given": lambda s, r, c: (~r[surest(s, c)]).sum() / len(r),
    "not a confidence": lambda s, r, c: 1 - r[s >= c].mean(),
    "sort them by confidence": lambda s, r, c: 1 - r[: round(c * len(r))].mean(),
    "on a small example": lambda s, r, c: 0.123,
}


@pytest.mark.parametrize("words", RISKS)
def test_each_mistake_in_the_risk_is_named(words):
    with pytest.raises(Mistake, match=words):
        check("practice-safety/coverage", RISKS[words])
