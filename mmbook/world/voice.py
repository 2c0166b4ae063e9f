"""A small voice: harmonics of a moving pitch under a syllable beat, and its log-mel frames. NumPy only."""

from __future__ import annotations

import numpy as np

RATE = 8000  # samples a second
SAMPLES = 6400  # of one utterance: 0.8 s
BANDS = 20  # of the mel scale
WINDOW, HOP = 400, 400  # samples of one frame and from one frame to the next
HARMONICS = 10


def speak(lively: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Waveforms (N, 6400), float32, of utterances (N,): a lively pitch swings, a cold one stays where it is.

    Speaker (pitch and timbre), tempo, loudness and background noise differ from clip to clip and say nothing.
    """
    n, t = len(lively), np.arange(SAMPLES, dtype=np.float32) / RATE
    lively = np.asarray(lively, bool)
    base = 90 * 3 ** rng.random(n)  # Hz: 90 to 270
    swing = np.where(lively, rng.uniform(0.25, 0.5, n), rng.uniform(0.0, 0.06, n))  # octaves
    turns, start = rng.uniform(1.5, 3.0, n), rng.random(n)  # pitch movements a second
    beat, tilt = rng.uniform(3, 6, n), rng.uniform(0.6, 1.6, n)  # syllables a second; how dull
    loud, noise = 10 ** rng.uniform(-0.6, 0.0, n), 10 ** rng.uniform(-2.3, -1.3, n)
    out = np.empty((n, SAMPLES), np.float32)
    for rows in np.array_split(np.arange(n), max(1, n // 128)):
        column = [x[rows, None].astype(np.float32) for x in (base, swing, turns, start, beat, tilt)]
        f, s, k, a, b, d = column
        pitch = f * 2 ** (s * np.sin(2 * np.pi * (k * t + a)))
        phase = 2 * np.pi * np.cumsum(pitch, 1) / RATE
        before, now, double = np.zeros_like(phase), np.sin(phase), 2 * np.cos(phase)
        wave = np.zeros_like(phase)
        for h in range(1, HARMONICS + 1):  # sin(h x) = 2 cos(x) sin((h - 1) x) - sin((h - 2) x)
            wave += now * h**-d
            before, now = now, double * now - before
        wave *= 0.55 - 0.45 * np.cos(2 * np.pi * b * t)
        wave *= loud[rows, None] / np.abs(wave).max(1, keepdims=True)
        out[rows] = wave + noise[rows, None] * rng.standard_normal(wave.shape, np.float32)
    return out


def mel_filters(bands: int = BANDS) -> np.ndarray:
    """Triangles on the mel scale from 60 Hz to 4 kHz, (bands, WINDOW // 2 + 1)."""
    low, high = 2595 * np.log10(1 + np.array([60.0, RATE / 2]) / 700)
    edges = 700 * (10 ** (np.linspace(low, high, bands + 2) / 2595) - 1)
    f = np.arange(WINDOW // 2 + 1) * RATE / WINDOW
    left, middle, right = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    return np.clip(np.minimum((f - left) / (middle - left), (right - f) / (right - middle)), 0, None)


def log_mel(waves: np.ndarray, bands: int = BANDS) -> np.ndarray:
    """Log-mel frames (N, T, bands), float32, of waveforms (N, samples), each clip less its own mean."""
    frames = np.lib.stride_tricks.sliding_window_view(waves, WINDOW, axis=1)[:, ::HOP]
    filters, window = mel_filters(bands).T.astype(np.float32), np.hanning(WINDOW).astype(np.float32)
    out = np.empty((len(waves), frames.shape[1], bands), np.float32)
    for rows in np.array_split(np.arange(len(waves)), max(1, len(waves) // 128)):
        power = np.abs(np.fft.rfft(frames[rows] * window)) ** 2
        out[rows] = np.log(power @ filters + 1e-4)
    return out - out.mean((1, 2), keepdims=True)
