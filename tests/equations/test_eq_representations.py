"""Representations: each equation against a slow or different evaluation."""

from __future__ import annotations

import cmath
import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from mmbook.equations import (
    gru_step,
    information,
    mel,
    mel_filters,
    neighbour_accuracy,
    patch_embedding,
    skip_gram_loss,
    spectrogram,
)
from mmbook.world import voice

F64 = torch.float64


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


def test_the_nearest_other_row_is_that_of_a_loop() -> None:
    x, y = random(40, 3), torch.arange(40) % 3
    right = 0
    for i in range(40):
        others = sorted((math.dist(x[i].tolist(), x[j].tolist()), j) for j in range(40) if j != i)
        right += int(y[others[0][1]] == y[i])
    assert neighbour_accuracy(x, y).item() == pytest.approx(right / 40)
    pairs = torch.tensor([[0.0], [0.1], [5.0], [5.1]])
    assert neighbour_accuracy(pairs, torch.tensor([0, 0, 1, 1])) == 1
    assert neighbour_accuracy(pairs, torch.tensor([0, 1, 0, 1])) == 0
    with pytest.raises(ValueError, match="N > 1"):
        neighbour_accuracy(x[:1], y[:1])


def test_skip_gram_equals_a_sum_of_logarithms() -> None:
    u, v, n = random(4, 3), random(4, 3, seed=1), random(4, 5, 3, seed=2)
    total = 0.0
    for b in range(4):
        total -= math.log(1 / (1 + math.exp(-float(u[b] @ v[b]))))
        total -= sum(math.log(1 - 1 / (1 + math.exp(-float(u[b] @ n[b, k])))) for k in range(5))
    assert skip_gram_loss(u, v, n).item() == pytest.approx(total / 4)
    with pytest.raises(ValueError, match="v: expected shape"):
        skip_gram_loss(u, v[:2], n)
    for wrong in (n[0], n[:1], n[..., :2]):
        with pytest.raises(ValueError, match=r"n: expected \(B, K, D\) with B, D of u \(4, 3\)"):
            skip_gram_loss(u, v, wrong)


def test_patches_of_a_picture() -> None:
    """Checks id:patch-is-convolution: the tokens of patches are a convolution whose stride is its size."""
    x, W, b = random(2, 6, 9, 2), random(5, 3 * 3 * 2, seed=1), random(5, seed=2)
    kernel = W.view(5, 3, 3, 2).permute(0, 3, 1, 2)
    seen = F.conv2d(x.permute(0, 3, 1, 2), kernel, b, stride=3).flatten(2).mT
    got = patch_embedding(x, W, b, 3)
    assert torch.allclose(got, seen)
    slow = [W @ x[1, r : r + 3, c : c + 3].flatten() + b for r in (0, 3) for c in (0, 3, 6)]
    assert torch.allclose(got[1], torch.stack(slow))
    with pytest.raises(ValueError, match="divisor of 6 and 9, got 2"):
        patch_embedding(x, W, b, 2)
    with pytest.raises(ValueError, match="divisor of 6 and 9, got 0"):
        patch_embedding(x, W, b, 0)


def test_a_shifted_picture() -> None:
    """Checks id:convolution-shift: convolving a shifted picture shifts what the convolution says."""
    x, w = random(1, 1, 12, 12), random(1, 1, 3, 3, seed=1)
    circular = lambda a: F.conv2d(F.pad(a, (1, 1, 1, 1), "circular"), w)  # noqa: E731
    shifted = torch.roll(x, (3, 2), (2, 3))
    assert torch.allclose(circular(shifted), torch.roll(circular(x), (3, 2), (2, 3)))
    W = random(4, 9, seed=2)  # a control: patches do not shift along unless the shift is a whole patch
    tokens = [patch_embedding(a[0, 0, None, ..., None], W, W[:, 0], 3) for a in (x, shifted)]
    grid, moved = (t.view(4, 4, 4) for t in tokens)
    assert not torch.allclose(moved, torch.roll(grid, (1, 1), (0, 1)))


def test_the_spectrogram_is_a_sum_over_samples() -> None:
    x, w, H = random(2, 30), random(8, seed=1).abs(), 5
    got = spectrogram(x, w, H)
    assert got.shape == (2, 5, 5)
    for b, t, k in np.ndindex(2, 5, 5):
        total = sum(float(w[n] * x[b, t * H + n]) * cmath.exp(-2j * cmath.pi * k * n / 8) for n in range(8))
        assert got[b, t, k].item() == pytest.approx(abs(total) ** 2)
    with pytest.raises(ValueError, match="at least 8 samples"):
        spectrogram(x[:, :5], w, H)


def test_mel_and_its_triangles() -> None:
    assert mel(torch.tensor([0.0, 700.0])).tolist() == pytest.approx([0, 2595 * math.log10(2)])
    assert mel(torch.tensor(1000.0)).item() == pytest.approx(1000, abs=0.1)  # how the scale was fixed
    c, f = torch.tensor([1.0, 2, 4, 7], dtype=F64), torch.linspace(0, 8, 33, dtype=F64)
    got = mel_filters(f, c)
    for i, k in np.ndindex(2, 33):
        assert got[i, k].item() == pytest.approx(np.interp(f[k], c[i : i + 3], [0, 1, 0]))
    with pytest.raises(ValueError, match="rise"):
        mel_filters(f, c.flip(0))


def test_the_steps_together_are_the_frames_of_the_voices() -> None:
    """The package's NumPy frames, made by other code, are what the equations say."""
    wave = voice.speak(np.array([0, 1]), np.random.default_rng(0))
    edges = torch.linspace(*mel(torch.tensor([60.0, 4000.0], dtype=F64)).tolist(), 22, dtype=F64)
    corners = 700 * (10 ** (edges / 2595) - 1)
    f = torch.arange(201, dtype=F64) * voice.RATE / voice.WINDOW
    w = torch.from_numpy(np.hanning(voice.WINDOW))
    power = spectrogram(torch.from_numpy(wave).double(), w, voice.HOP) @ mel_filters(f, corners).T
    frames = torch.log(power + 1e-4)
    frames -= frames.mean((1, 2), keepdim=True)
    assert torch.allclose(frames.float(), torch.from_numpy(voice.log_mel(wave)), atol=1e-3)


def test_a_gru_is_pytorchs() -> None:
    cell = torch.nn.GRUCell(3, 4, dtype=F64)
    x, h = random(5, 3), random(5, 4, seed=1)
    got = gru_step(x, h, cell.weight_ih, cell.weight_hh, cell.bias_ih, cell.bias_hh)
    assert torch.allclose(got, cell(x, h))


def test_what_is_written_down_of_a_sound_says_no_more() -> None:
    """Checks id:data-processing: for any transcript of the sound, by chance or not, information falls."""
    rng = np.random.default_rng(0)
    for _ in range(50):
        joint = rng.dirichlet(np.full(2 * 6, 0.4)).reshape(2, 6)  # label, sound
        writes = rng.dirichlet(np.full(3, 0.3), 6)  # transcript given sound
        both = torch.from_numpy(joint[:, :, None] * writes)
        assert information(both, [1]) <= information(both, [0]) + 1e-12
        assert information(both, [0, 1]).item() == pytest.approx(information(both, [0]).item())
