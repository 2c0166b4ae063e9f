"""Spoken captions: a voice that was heard is understood, and so, mostly, is one that was not."""

from __future__ import annotations

import numpy as np
import pytest

from mmbook.models.listen import FRAMES, Listener, heard
from mmbook.world import KINDS
from mmbook.world.fetch import fetched
from mmbook.world.speech import speak

needs_speech = pytest.mark.skipif(not fetched("speech").is_dir(), reason="needs `mmbook fetch speech`")


def test_silence_and_loudness_say_nothing():
    rng = np.random.default_rng(0)
    wave = (np.sin(np.arange(9600) / 9) * np.hanning(9600) + 0.1 * rng.standard_normal(9600)).astype(
        np.float32
    )
    x = heard(wave)
    assert x.shape == (FRAMES * 20,) and np.linalg.norm(x) == pytest.approx(1)
    padded = np.concatenate([np.zeros(3000, np.float32), wave, np.zeros(5000, np.float32)])
    assert x @ heard(padded) > 0.98 and x @ heard(0.3 * wave) > 0.98
    assert x @ heard(wave[::-1].copy()) < 0.9
    with pytest.raises(ValueError, match="expected a sound at 16 kHz, got silence"):
        heard(np.zeros(16000, np.float32))


@needs_speech
def test_a_voice_never_heard_is_understood_more_often_than_not():
    ear = Listener()
    right = [ear(speak(caption, "f5")) == caption for caption in ear.captions]
    assert len(right) == len(KINDS) and np.mean(right) > 0.5
    assert ear(speak(ear.captions[3], "m1")) == ear.captions[3]
