"""Sound as an array: any caption spoken by eSpeak NG, and recordings of people, at one sampling rate."""

from __future__ import annotations

import ctypes
import platform
from pathlib import Path
from threading import Lock

import numpy as np

from mmbook.world.fetch import present

RATE = 16_000  # samples a second
VOICES = ("m1", "m2", "m3", "m4", "m5", "f1", "f2", "f3", "f4", "f5")
_LIBRARY = {"Windows": "espeak-ng.dll", "Darwin": "libespeak-ng.dylib"}
_SYNCHRONOUS, _UTF8, _SPEED, _PITCH = 2, 1, 1, 3  # of speak_lib.h
_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)
_one_at_a_time = Lock()


def resample(wave: np.ndarray, rate: int, to: int = RATE) -> np.ndarray:
    """Change the sampling rate of a wave (T,), leaving out what the lower one cannot hold; float32."""
    n = round(len(wave) * to / rate)
    if n == len(wave) or not n:
        return wave[:n].astype(np.float32)
    spectrum = np.fft.rfft(wave)[: n // 2 + 1]
    return (np.fft.irfft(spectrum, n) * (n / len(wave))).astype(np.float32)


def read_sound(path: Path) -> np.ndarray:
    """Read a sound file (Ogg, WAV, FLAC) as mono at 16 kHz, float32 (T,) from -1 to 1.

    Raises ImportError, saying how to install it, without the package soundfile.
    """
    try:
        import soundfile
    except ImportError as error:
        raise ImportError("reading sound needs the package soundfile: pip install soundfile") from error
    wave, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return resample(wave.mean(axis=1), rate).clip(-1, 1)


def speak(
    text: str,
    voice: str = "m1",
    language: str = "en-us",
    speed: int = 175,
    pitch: int = 50,
    folder: Path | None = None,
) -> np.ndarray:
    """Let eSpeak NG say a text, float32 (T,) from -1 to 1 at 16 kHz; the same call gives the same samples.

    `voice` is one of `VOICES` or another variant of eSpeak's, `language` one of its codes ("es", "cmn"),
    `speed` 80 to 450 words a minute, `pitch` 0 to 99. Raises ValueError for other values and for a voice or
    language that is not there, FileNotFoundError when eSpeak NG was not fetched.
    """
    folder = present("speech", folder)
    if not (80 <= speed <= 450 and 0 <= pitch <= 99):
        raise ValueError(f"speed, pitch: expected 80 to 450 and 0 to 99, got {speed} and {pitch}")
    if not (folder / "espeak-ng-data" / "voices" / "!v" / voice).is_file() or not voice:
        raise ValueError(f"voice: expected one of {', '.join(VOICES)} or another variant, got {voice!r}")
    parts: list[bytes] = []

    @_CALLBACK
    def keep(samples: int, n: int, events: int) -> int:
        if samples and n > 0:
            parts.append(ctypes.string_at(samples, 2 * n))
        return 0

    with _one_at_a_time:
        library = ctypes.CDLL(str(folder / _LIBRARY.get(platform.system(), "libespeak-ng.so")))
        try:
            rate = library.espeak_Initialize(_SYNCHRONOUS, 0, str(folder).encode(), 0)
            library.espeak_ng_SetRandSeed(ctypes.c_long(1))
            library.espeak_SetSynthCallback(keep)
            if library.espeak_SetVoiceByName(f"{language}+{voice}".encode()):
                raise ValueError(f"language: expected a code of eSpeak NG, like en-us, got {language!r}")
            library.espeak_SetParameter(_SPEED, speed, 0)
            library.espeak_SetParameter(_PITCH, pitch, 0)
            said = text.encode()
            library.espeak_Synth(said, ctypes.c_size_t(len(said) + 1), 0, 1, 0, _UTF8, None, None)
            library.espeak_Synchronize()
        finally:
            library.espeak_Terminate()
            _unload(library)
    return resample(np.frombuffer(b"".join(parts), np.int16) / np.float32(32768), rate).clip(-1, 1)


def _unload(library: ctypes.CDLL) -> None:
    """Close a library: eSpeak NG keeps the phase of its trembling from one text to the next."""
    import _ctypes

    close = getattr(_ctypes, "FreeLibrary", None) or _ctypes.dlclose
    close(library._handle)
