"""Invented cases for triage: a scan, a pulse and a note, and how urgent each is. Nothing here is medicine.

Each modality shows one of three findings. How urgency and findings go together is a table that can be
printed, a mixture of causes; scans are drawn, notes written and pulses synthesised from the findings, with
nuisance that says nothing about urgency.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from mmbook.world.scenes import Seed, generator

URGENCY = ("wait", "soon", "now")
FINDINGS = {
    "scan": ("clear", "small spot", "large spot"),
    "pulse": ("calm", "fast", "irregular"),
    "note": ("nothing", "has climbed", "has fainted"),
}
MODALITIES = tuple(FINDINGS)
SCAN, SAMPLES, WINDOW, HOP, BANDS = 32, 256, 128, 32, 24  # pixels a side; samples of a pulse; of its frames
MISSING = 0.1  # chance of each modality
MARK = np.s_[1:5, 1:5]  # where a hospital's marker is, in the corner of a scan
# How likely each cause is, how urgent it is, and how often scan, pulse and note show each finding.
_CLEAR, _CALM, _PLAIN = (0.97, 0.02, 0.01), (0.97, 0.02, 0.01), (0.90, 0.095, 0.005)
CAUSES: dict[str, tuple[float, Sequence[float], Sequence[float], Sequence[float], Sequence[float]]] = {
    "nothing": (0.45, (1, 0, 0), _CLEAR, _CALM, _PLAIN),
    "stairs": (0.14, (1, 0, 0), _CLEAR, (0.03, 0.96, 0.01), (0.02, 0.975, 0.005)),
    "old scar": (0.11, (1, 0, 0), (0.02, 0.97, 0.01), _CALM, _PLAIN),
    "growth": (0.08, (0, 0.9, 0.1), (0.01, 0.02, 0.97), _CALM, _PLAIN),
    "skipped beats": (0.07, (0, 0.95, 0.05), _CLEAR, (0.01, 0.01, 0.98), _PLAIN),
    "fast at rest": (0.06, (0, 0.2, 0.8), _CLEAR, (0.01, 0.98, 0.01), (0.98, 0.005, 0.015)),
    "fainted": (0.05, (0, 0.3, 0.7), _CLEAR, _CALM, (0.01, 0.01, 0.98)),
    "clot": (0.036, (0, 0, 1), (0.01, 0.97, 0.02), (0.01, 0.01, 0.98), _PLAIN),
    "silent": (0.004, (0, 0.5, 0.5), _CLEAR, _CALM, _PLAIN),
}


def joint_table(rates: Sequence[float] | None = None) -> np.ndarray:
    """The probability of each urgency with each finding of scan, pulse and note, (3, 3, 3, 3).

    `rates` (3,) are other base rates of the urgencies. Raises ValueError unless they add up to 1.
    """
    table = np.zeros((3, 3, 3, 3))
    for p, *factors in CAUSES.values():
        table += p * np.einsum("u,s,p,n->uspn", *map(np.array, factors))
    if rates is None:
        return table
    if len(rates) != 3 or min(rates) < 0 or not abs(sum(rates) - 1) <= 1e-9:
        raise ValueError(f"rates: expected three shares that add up to 1, got {tuple(rates)}")
    return table * (np.array(rates) / table.sum((1, 2, 3)))[:, None, None, None]


def posterior(table: np.ndarray, findings: np.ndarray, present: np.ndarray) -> np.ndarray:
    """Exact probabilities (N, 3) of the urgencies, given findings (N, 3) where present (N, 3) is 1."""
    out = np.empty((len(findings), 3))
    for there in np.unique(present, axis=0):
        rows = (present == there).all(1)
        gone = tuple(1 + j for j in range(3) if not there[j])
        at = np.where(there > 0, findings[rows], 0).T
        out[rows] = table.sum(gone, keepdims=True)[:, *at].T
    return out / out.sum(1, keepdims=True)


@dataclass(frozen=True)
class Cases:
    """N cases in three modalities, with their urgency, the findings behind them and what is missing."""

    label: np.ndarray  # urgency (N,)
    findings: np.ndarray  # (N, 3), in the order of MODALITIES
    present: np.ndarray  # (N, 3), 0 where a modality is missing
    scan: np.ndarray  # pictures, uint8 (N, 32, 32, 3)
    pulse: np.ndarray  # spectra of windows of the wave, float32 (N, T, BANDS)
    note: np.ndarray  # ids into WORDS, (N, LONGEST), 0 after the end
    wave: np.ndarray  # float32 (N, SAMPLES)
    modalities: ClassVar[tuple[str, ...]] = MODALITIES

    def __len__(self) -> int:
        return len(self.label)

    def shuffled(self, modality: str, seed: Seed) -> Cases:
        """The same cases with one modality dealt out anew, among those that have it: a control."""
        if modality not in MODALITIES:
            raise ValueError(f"modality: expected one of {', '.join(MODALITIES)}, got {modality!r}")
        j, x, findings = MODALITIES.index(modality), getattr(self, modality).copy(), self.findings.copy()
        have = np.flatnonzero(self.present[:, j])
        order = generator(seed, f"shuffle {modality}").permutation(have)
        x[have], findings[have, j] = x[order], findings[order, j]
        return replace(self, findings=findings, **{modality: x})

    def marked(self, rows: np.ndarray, grey: int = 235) -> Cases:
        """The same cases with a white marker in the corner of the scans where rows (N,) is true.

        With the `grey` of the background, 18, the corner is covered.
        """
        scan = self.scan.copy()
        scan[(np.flatnonzero(rows)[:, None, None], *np.mgrid[MARK])] = grey
        return replace(self, scan=scan)

    def sentence(self, row: int) -> str:
        """The note of one of them."""
        return " ".join(WORDS[i] for i in self.note[row] if i)


def sample_cases(n: int, seed: Seed, rates: Sequence[float] | None = None, missing: float = MISSING) -> Cases:
    """Draw urgencies and findings from the table and render them; each modality is missing by chance."""
    rng, p = generator(seed, "cases"), joint_table(rates)
    label, *findings = np.unravel_index(rng.choice(p.size, n, p=p.ravel()), p.shape)
    there = rng.random((n, 3)) >= missing
    there[~there.any(1), rng.integers(3, size=(~there.any(1)).sum())] = True
    scan, pulse, note = findings
    wave = beat(pulse, rng)
    ids = np.array([write(int(x), rng) for x in note], np.int64).reshape(n, LONGEST)
    seen = np.stack(findings, 1)
    return Cases(label, seen, there.astype(np.float32), draw_scans(scan, rng), frames(wave), ids, wave)


def draw_scans(spot: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Grey discs with texture, uint8 (N, 32, 32, 3), without a spot (0), with a small or a large one."""
    n, (y, x) = len(spot), np.mgrid[:SCAN, :SCAN][:, None] - (SCAN - 1) / 2
    radius, shade = rng.uniform(12, 14.5, (2, n, 1, 1)), rng.uniform(95, 135, (n, 1, 1))
    waves = sum(
        rng.uniform(4, 9, (n, 1, 1)) * np.sin(a * x + b * y + c)
        for a, b, c in rng.uniform(-1, 1, (4, 3, n, 1, 1)) * np.array([1, 1, np.pi])[:, None, None, None]
    )
    inside = (x / radius[0]) ** 2 + (y / radius[1]) ** 2 < 1
    far, turn = rng.uniform(0, 7, (n, 1, 1)), rng.uniform(0, 2 * np.pi, (n, 1, 1))
    from_spot = (x - far * np.cos(turn)) ** 2 + (y - far * np.sin(turn)) ** 2
    size = np.array([1.0, 2.0, 4.2])[spot][:, None, None] * rng.uniform(0.9, 1.1, (n, 1, 1))
    bump = np.where(spot > 0, 75.0, 0.0)[:, None, None] / (1 + np.exp(2 * (np.sqrt(from_spot) - size)))
    grey = np.where(inside, shade + waves + bump, 18.0) + 7 * rng.standard_normal((n, SCAN, SCAN))
    return np.repeat(grey.clip(0, 255).astype(np.uint8)[..., None], 3, -1)


def beat(kind: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Waves, float32 (N, SAMPLES): a calm (0), fast (1) or irregular (2) beat, noise, a dropped stretch."""
    n = len(kind)
    mean = np.array([20.0, 11.0, 16.0])[kind] * rng.uniform(0.9, 1.1, n)
    spread = np.array([0.04, 0.04, 0.35])[kind][:, None]
    gaps = mean[:, None] * (1 + spread * rng.uniform(-1.7, 1.7, (n, 40)))
    at = gaps.cumsum(1) - mean[:, None] * rng.uniform(0, 1, (n, 1))
    t = np.arange(SAMPLES)
    wave = np.exp(-(((t - at[..., None]) / 1.8) ** 2)).sum(1) + 0.12 * rng.standard_normal((n, SAMPLES))
    lost = np.abs(t - rng.uniform(0, SAMPLES, (n, 1))) < rng.uniform(0, 20, (n, 1))
    return np.where(lost, 0, wave).astype(np.float32)


def frames(wave: np.ndarray) -> np.ndarray:
    """Magnitudes of the lowest frequencies in windows of waves (N, SAMPLES): float32 (N, T, BANDS)."""
    windows = np.lib.stride_tricks.sliding_window_view(wave, WINDOW, 1)[:, ::HOP]
    windows = (windows - windows.mean(-1, keepdims=True)) * np.hanning(WINDOW)
    return np.log1p(np.abs(np.fft.rfft(windows)))[..., 1 : BANDS + 1].astype(np.float32)


# Harmless phrases use the same words as telling ones, so that a word alone says little.
PHRASES = (
    ("has not climbed", "did not climb", "came by lift", "has not fainted", "no faint no climb"),
    ("has just climbed", "climbed and did not faint", "ran up from the bus", "no lift so climbed"),
    ("has fainted", "did faint and fell", "came by lift and has fainted", "has not climbed but did faint"),
)  # fmt: skip
FILLERS = ("", "asks for tea", "slept badly", "is in a hurry", "talks a lot", "has a new coat")
WORDS = ("", ",", *sorted({word for text in (*sum(PHRASES, ()), *FILLERS) for word in text.split()}))
LONGEST = 11
_ID = {word: i for i, word in enumerate(WORDS)}


def write(finding: int, rng: np.random.Generator) -> list[int]:
    """Ids (LONGEST,) of a note that shows the finding, with a filler before or after, 0 after its end."""
    parts = [PHRASES[finding][rng.integers(len(PHRASES[finding]))], FILLERS[rng.integers(len(FILLERS))]]
    said = " , ".join(part for part in parts[:: rng.choice([-1, 1])] if part).split()
    return [_ID[word] for word in said] + [0] * (LONGEST - len(said))
