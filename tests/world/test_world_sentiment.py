"""The constructed people: their table, what is drawn from it, and that symbols alone tell of the label."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest

from mmbook.world.sentiment import (
    HARSH,
    MODALITIES,
    SETTINGS,
    SYMBOLS,
    WARM,
    WORDS,
    Dials,
    joint_table,
    render_utterances,
    sample_utterances,
)
from mmbook.world.voice import BANDS, RATE, SAMPLES, log_mel, mel_filters, speak


def test_the_table_by_brute_force() -> None:
    """Checks id:dials: play the story of each situation many times, and count."""
    rng, n, dials = np.random.default_rng(0), 400_000, SETTINGS["mixed"]
    y = rng.integers(2, size=n)
    coin = rng.integers(2, size=(n, 3))
    situation = rng.choice(3, n, p=dials)
    shown = np.where(rng.random((n, 3)) < 0.2, 1 - y[:, None], y[:, None])
    face = np.where(rng.random(n) < 0.1, 1 - y, y)
    meant = np.where(rng.random(n) < 0.05, 1 - y, y)
    words = np.where(coin[:, 1] == 1, meant, 1 - meant)  # a cold voice turns them over
    x = np.where((situation == 0)[:, None], shown, coin)
    x[:, 0] = np.where(situation == 1, face, x[:, 0])
    x[:, 2] = np.where(situation == 2, words, x[:, 2])
    counted = np.bincount(y * 8 + x @ [4, 2, 1], minlength=16).reshape(2, 2, 2, 2) / n
    np.testing.assert_allclose(counted, joint_table(dials), atol=0.002)


def test_dials_that_are_no_shares_are_refused() -> None:
    for dials in (Dials(0.5, 0.6), Dials(1.5, -0.5), Dials(), Dials(float("nan"), 1.0), (0.5, 0.5)):
        with pytest.raises(ValueError, match="dials: expected three shares that add up to 1"):
            joint_table(dials)


def test_what_is_drawn_follows_the_table_and_the_seed() -> None:
    u = sample_utterances(400, SETTINGS["synergistic"], 3)
    counts = np.bincount(u.label * 8 + u.symbols @ [4, 2, 1], minlength=16).reshape(2, 2, 2, 2)
    np.testing.assert_allclose(counts / 400, joint_table(SETTINGS["synergistic"]), atol=0.06)
    assert u.face.shape == (400, 24, 24, 3) and u.face.dtype == np.uint8
    assert u.voice.shape == (400, 16, BANDS) and u.voice.dtype == np.float32
    again, other = (sample_utterances(400, SETTINGS["synergistic"], seed) for seed in (3, 4))
    for name in ("label", *MODALITIES):
        assert np.array_equal(getattr(u, name), getattr(again, name))
        assert not np.array_equal(getattr(u, name), getattr(other, name))


def test_words_show_their_symbol_and_no_other() -> None:
    u = sample_utterances(300, SETTINGS["mixed"], 0)
    for row in range(len(u)):
        said = set(u.sentence(row).split())
        assert (len(said & set(WARM)), len(said & set(HARSH))) == ((1, 0) if u.symbols[row, 2] else (0, 1))
    assert len(set(WORDS)) == len(WORDS) and not set(WARM) & set(HARSH)


def test_a_mouth_bends_up_or_down() -> None:
    """Darkness below and above the middle of the mouth's ends tells a smile from a frown in nearly all."""
    smile = np.arange(200) % 2
    u = render_utterances(smile, np.stack([smile] * 3, 1), 0)
    dark = 255 - u.face.astype(float).mean(-1)
    middle, sides = dark[:, 13:21, 11:13].mean(2), (dark[:, 13:21, 7:9] + dark[:, 13:21, 15:17]).mean(2) / 2
    centre = [(d - d.min(1, keepdims=True)) ** 2 for d in (middle, sides)]
    height = [(c * np.arange(8)).sum(1) / c.sum(1) for c in centre]
    assert ((height[0] > height[1]) == smile).mean() > 0.85


def pitch(wave: np.ndarray) -> np.ndarray:
    """Pitch in Hz of consecutive 64 ms by autocorrelation: an evaluation of its own."""
    found = []
    for start in range(0, SAMPLES - 512, 256):
        piece = wave[start : start + 512] - wave[start : start + 512].mean()
        if np.abs(piece).max() > 0.3 * np.abs(wave).max():
            r = np.correlate(piece, piece, "full")[511:]
            lags = np.arange(RATE // 420, RATE // 75)
            found.append(RATE / lags[r[lags].argmax()])
    return np.array(found)


def test_a_lively_pitch_moves_and_a_cold_one_does_not() -> None:
    lively = np.arange(60) % 2
    waves = speak(lively, np.random.default_rng(0))
    moves = np.array([np.std(np.log2(pitch(wave))) for wave in waves])
    assert ((moves > 0.1) == lively).mean() > 0.85  # autocorrelation takes an octave too many at times


def test_mel_frames_of_a_pure_tone_stand_in_its_band_whatever_its_loudness() -> None:
    filters = mel_filters()
    t = np.arange(SAMPLES) / RATE
    for band in (3, 10, 17):
        f = filters[band].argmax() * RATE / 400
        wave = np.stack([np.sin(2 * np.pi * f * t), 0.5 * np.sin(2 * np.pi * f * t)])
        frames = log_mel(wave)
        assert (frames.argmax(-1) == band).all()
        assert abs(frames.mean((1, 2))).max() < 1e-4


def test_shuffling_moves_one_modality_with_its_symbols_and_nothing_else() -> None:
    u = sample_utterances(50, SETTINGS["mixed"], 0)
    s = u.shuffled("voice", 1)
    assert np.array_equal(s.face, u.face) and np.array_equal(s.words, u.words)
    assert np.array_equal(s.label, u.label) and not np.array_equal(s.voice, u.voice)
    rows = [next(i for i in range(50) if np.array_equal(v, u.voice[i])) for v in s.voice]
    assert sorted(rows) == list(range(50)) and np.array_equal(s.symbols[:, 1], u.symbols[rows, 1])
    with pytest.raises(ValueError, match="modality: expected one of face, voice, words, got 'smell'"):
        u.shuffled("smell", 0)


def test_symbols_have_names() -> None:
    assert all(len(names) == 2 for names in SYMBOLS.values())


def test_some_of_the_people_are_those_people() -> None:
    people = sample_utterances(20, SETTINGS["mixed"], 0)
    some = people.take(np.array([3, 17]))
    assert len(some) == 2
    for field in fields(people):
        assert np.array_equal(getattr(some, field.name), getattr(people, field.name)[[3, 17]])
