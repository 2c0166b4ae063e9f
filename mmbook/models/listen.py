"""A small ear: spoken one-sticker captions, told apart by how close they are to captions heard before."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mmbook.world import KINDS
from mmbook.world.captions import article
from mmbook.world.speech import RATE, resample, speak
from mmbook.world.voice import RATE as LOW
from mmbook.world.voice import log_mel

FRAMES = 16  # that a spoken caption is stretched to


def heard(wave: np.ndarray) -> np.ndarray:
    """A wave at 16 kHz as a unit vector: log-mel frames from the first sound to the last, 16 of them.

    Raises ValueError for silence.
    """
    if not np.any(wave):
        raise ValueError("wave: expected a sound at 16 kHz, got silence or nothing")
    loud = np.flatnonzero(np.abs(wave) > 0.02 * np.abs(wave).max())
    frames = log_mel(resample(wave[loud[0] : loud[-1] + 1], RATE, LOW)[None])[0]
    at = np.linspace(0, len(frames) - 1, FRAMES)
    low = np.minimum(at.astype(int), len(frames) - 2)
    x = frames[low] + (at - low)[:, None] * (frames[low + 1] - frames[low])
    x = (x - x.mean(0)).ravel()  # a voice colours all frames alike
    return x / np.linalg.norm(x)


class Listener:
    """Captions of one sticker, "a cat.", as several synthetic voices say them, to compare a new voice with.

    Raises FileNotFoundError when eSpeak NG was not fetched.
    """

    def __init__(self, voices: Sequence[str] = ("m1", "m2", "m3", "f1", "f2", "f3")) -> None:
        self.captions = [f"{article(kind)}." for kind in KINDS]
        self.known = np.array([[heard(speak(c, voice)) for c in self.captions] for voice in voices])

    def __call__(self, wave: np.ndarray) -> str:
        """The caption whose nearest voice is nearest to this wave."""
        return self.captions[int((self.known @ heard(wave)).max(0).argmax())]
