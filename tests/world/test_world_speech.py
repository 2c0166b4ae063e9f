"""Sound: resampling against exact waves, files written here, and, where fetched, what eSpeak NG says."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from mmbook.world.fetch import fetched
from mmbook.world.speech import RATE, VOICES, read_sound, resample, speak

needs_speech = pytest.mark.skipif(
    not fetched("speech").is_dir(), reason="eSpeak NG was not fetched: python -m mmbook fetch speech"
)


def tone(rate: int, hertz: float, seconds: float = 1.0) -> np.ndarray:
    return np.sin(2 * np.pi * hertz * np.arange(round(rate * seconds)) / rate)


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 48_000])
def test_a_tone_stays_itself_at_another_rate(rate):
    wave = resample(tone(rate, 440), rate)
    assert wave.dtype == np.float32 and len(wave) == RATE
    assert np.abs(wave - tone(RATE, 440)).max() < 1e-5


def test_what_the_lower_rate_cannot_hold_is_left_out():
    wave = resample(tone(48_000, 12_000) + tone(48_000, 1_000), 48_000)
    assert np.abs(wave - tone(RATE, 1_000)).max() < 1e-5  # and no alias at 4,000


def test_no_change_of_rate_changes_nothing_and_nothing_stays_nothing():
    wave = np.random.default_rng(0).normal(size=100)
    assert np.array_equal(resample(wave, RATE), wave.astype(np.float32))
    assert resample(np.zeros(0), 22_050).shape == (0,)


@pytest.mark.parametrize(("ending", "error"), [("ogg", 0.05), ("wav", 1e-3), ("flac", 1e-3)])
def test_a_sound_file_is_read_as_mono_at_one_rate(tmp_path, ending, error):
    soundfile = pytest.importorskip("soundfile")
    left, right = 0.6 * tone(44_100, 440), 0.2 * tone(44_100, 440)
    soundfile.write(tmp_path / f"a.{ending}", np.stack([left, right], 1), 44_100)
    wave = read_sound(tmp_path / f"a.{ending}")
    assert wave.shape == (RATE,) and wave.dtype == np.float32
    inside = slice(800, -800)
    assert np.abs(wave - 0.4 * tone(RATE, 440))[inside].max() < error


def test_without_soundfile_it_says_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "soundfile", None)
    with pytest.raises(ImportError, match="pip install soundfile"):
        read_sound(tmp_path / "a.ogg")


def test_what_was_not_fetched_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="python -m mmbook fetch speech"):
        speak("hello", folder=tmp_path / "nowhere")


def test_an_unknown_voice_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"voice: expected one of m1, .* got 'nobody'"):
        speak("hello", "nobody", folder=tmp_path)
    for wrong in ({"speed": 1000}, {"pitch": -1}):
        with pytest.raises(ValueError, match="speed, pitch: expected 80 to 450 and 0 to 99, got"):
            speak("hello", folder=tmp_path, **wrong)


@needs_speech
def test_the_same_words_sound_the_same_whatever_was_said_before():
    texts, said = ("a red apple", "she sells sea shells", "un gato"), {}
    for _ in range(3):
        for text in texts:
            for voice in ("m1", "f3", "whisper", "klatt2"):
                wave = speak(text, voice)
                assert wave.dtype == np.float32 and wave.std() > 0.003 and np.abs(wave).max() <= 1
                assert np.array_equal(wave, said.setdefault((text, voice), wave))
    assert len({wave.tobytes() for wave in said.values()}) == len(said)


@needs_speech
def test_words_speed_and_language_are_heard():
    slow, fast = speak("a red apple", speed=100), speak("a red apple", speed=300)
    assert len(slow) > 1.5 * len(fast)
    assert len(speak("a red apple and a yellow banana on the left")) > 2 * len(speak("a red apple"))
    assert not np.array_equal(speak("gato", language="es"), speak("gato"))
    assert len({speak("one two", voice).tobytes() for voice in VOICES}) == len(VOICES)
    assert len(speak("红苹果", language="cmn")) > RATE / 2 and len(speak("")) < RATE
    with pytest.raises(ValueError, match="language: expected a code of eSpeak NG, like en-us, got 'xx'"):
        speak("hello", language="xx")
    assert np.array_equal(speak("gato"), speak("gato"))  # after an error too


@needs_speech
def test_a_higher_pitch_is_higher():
    def period(pitch: int) -> int:
        """The lag, in samples, at which the middle of a vowel is most like itself, between 50 and 400 Hz."""
        wave = speak("ah", "f2", speed=80, pitch=pitch)
        middle = wave[len(wave) // 3 :][:3200]
        lags = np.arange(RATE // 400, RATE // 50)
        return int(lags[np.argmax([np.corrcoef(middle[:-lag], middle[lag:])[0, 1] for lag in lags])])

    assert period(50) > 1.3 * period(90)
