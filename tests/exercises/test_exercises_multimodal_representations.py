"""The exercises on representations: published solutions pass, typical mistakes get their own words."""

from __future__ import annotations

import torch


def cut(x, w, H):
    return x.unfold(-1, len(w), H)


SPECTROGRAMS = {
    "window is not used": lambda x, w, H: torch.fft.rfft(cut(x, w, H)).abs() ** 2,
    "this is the magnitude": lambda x, w, H: torch.fft.rfft(cut(x, w, H) * w).abs(),
    "both halves": lambda x, w, H: torch.fft.fft(cut(x, w, H) * w).abs() ** 2,
    "without overlap": lambda x, w, H: torch.fft.rfft(x.view(2, -1, 8) * w).abs() ** 2,
    "take abs first": lambda x, w, H: (torch.fft.rfft(cut(x, w, H) * w) ** 2).real,
    "window is used twice": lambda x, w, H: torch.fft.rfft(cut(x, w, H) * w * w).abs() ** 2,
    "wrong way round": lambda x, w, H: torch.fft.rfft(cut(x, w, H) * w).abs().mT ** 2,
    "is right, on a small example": lambda x, w, H: torch.fft.rfft(cut(x, w, H) * w).abs() ** 2 + 1,
    "stopped with TypeError": lambda x, w, H: x.unfold(),
}


def squares(x, P):
    B, H, W, C = x.shape
    return x.reshape(B, H // P, P, W // P, P, C)


PATCHES = {
    "cuts strips of rows": lambda x, P: x.reshape(2, -1, P * P * 7),
    "down the columns first": lambda x, P: squares(x, P).permute(0, 3, 1, 2, 4, 5).reshape(2, 20, 63),
    "columns come before the rows": lambda x, P: squares(x, P).permute(0, 1, 3, 4, 2, 5).reshape(2, 20, 63),
    "channels come first": lambda x, P: squares(x, P).permute(0, 1, 3, 5, 2, 4).reshape(2, 20, 63),
    "from all over the picture": lambda x, P: (
        x.reshape(2, P, 4, P, 5, 7).permute(0, 2, 4, 1, 3, 5).reshape(2, 20, 63)
    ),
    r"shape \(2, 20, 63\), got shape": lambda x, P: squares(x, P).transpose(2, 3),
}


def of_scores(loss):
    return lambda u, v, n: loss((u * v).sum(-1), (n * u[:, None]).sum(-1))


def log(x):
    return torch.sigmoid(x).log()


LOSSES = {
    "needs a minus inside": lambda a, b: -(log(a) + log(b).sum(-1)).mean(),
    "falls where it should rise": lambda a, b: (log(a) + log(-b).sum(-1)).mean(),
    "negatives are averaged": lambda a, b: -(log(a) + log(-b).mean(-1)).mean(),
    "negatives are missing": lambda a, b: -log(a).mean(),
    "this is the sum": lambda a, b: -(log(a) + log(-b).sum(-1)).sum(),
    "stay in torch": lambda a, b: -(log(a) + log(-b).sum(-1)).mean().detach(),
    "put them through a sigmoid": lambda a, b: -(a - b.sum(-1)).mean(),
}


MISTAKES = {
    "multimodal-representations/spectrogram": SPECTROGRAMS,
    "multimodal-representations/patches": PATCHES,
    "multimodal-representations/skip-gram": {words: of_scores(loss) for words, loss in LOSSES.items()},
}
