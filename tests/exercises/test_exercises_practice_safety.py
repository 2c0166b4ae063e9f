"""Typical mistakes in the exercises on safety, each beside the words that it gets."""

import numpy as np


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
    r"got shape \(16,\)": lambda f, x, c, v: covering(f, x, c, v).ravel(),
    "got nothing": lambda f, x, c, v: None,
}


SHARES = {
    "share that is seen": lambda a, p: a.mean(),
    "is half of it": lambda a, p: a.mean() - p,
    "not by 1 - p": lambda a, p: (a.mean() - p) / (1 - p),
    "once more": lambda a, p: (1 - p) * a.mean() + p * (1 - a.mean()),
    "no longer unbiased": lambda a, p: np.clip((a.mean() - p) / (1 - 2 * p), 0, 1),
    "on a small example": lambda a, p: 0.123,
}


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

MISTAKES = {
    "practice-safety/occlusion": MAPS,
    "practice-safety/warner": SHARES,
    "practice-safety/coverage": RISKS,
}
