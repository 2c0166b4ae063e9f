"""Spoken Spanish captions, found by their text: what learning from synthetic voices is worth on people.

`python benchmarks/speech_gap.py` writes results/speech-gap.json; it needs the fetched tuxpaint and speech,
and takes some minutes of computing. Each run learns all but 150 captions and is asked, as it hears one, which
of those it learned it is; then, of the 150 captions that no training has, which of these.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch
from results_file import number, write
from torch import Tensor, nn

from mmbook.equations import mel, mel_filters, recall_at, similarity, spectrogram
from mmbook.models.encoders import TextEncoder
from mmbook.models.threads import one_thread
from mmbook.training import Schedule
from mmbook.training.contrastive import Batch, build_towers, fit_towers
from mmbook.world.scenes import generator
from mmbook.world.speech import RATE, read_sound, speak
from mmbook.world.tuxpaint import read_stamps

LANGUAGE, NEW, FRAMES, BANDS = "es", 150, 240, 40
HEARD, UNHEARD = ("m1", "m2", "m3", "m4", "f1", "f2", "f3"), "f4"
RECIPE = Schedule(steps=700, lr=2e-3, warmup=50, weight_decay=0.01)
_CORNERS = 700 * (10 ** (torch.linspace(*mel(torch.tensor([60.0, 7600.0])).tolist(), BANDS + 2) / 2595) - 1)
_FILTERS = mel_filters(torch.fft.rfftfreq(400, 1 / RATE), _CORNERS).T
_WINDOW = torch.hann_window(400)


def frames(wave: np.ndarray) -> Tensor:
    """Log-mel frames (FRAMES, BANDS), 80 a second, from the first sound on; 0 after the end."""
    loud = np.flatnonzero(np.abs(wave) > 0.03 * np.abs(wave).max())
    wave = wave[max(0, loud[0] - 400) : loud[-1] + 800]
    x = torch.from_numpy(wave / wave.std())[None]
    seen = torch.log(spectrogram(x, _WINDOW, 200)[0] @ _FILTERS + 1e-2)[:FRAMES]
    seen = seen - seen.mean()
    return nn.functional.pad(seen, (0, 0, 0, FRAMES - len(seen)))


class Ear(nn.Module):
    """Frames through two convolutions of stride 2 and a GRU each way, to one vector."""

    def __init__(self, width: int = 128, hidden: int = 160) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv1d(BANDS, 128, 5, 2, 2), nn.BatchNorm1d(128), nn.ReLU(),
            nn.Conv1d(128, 192, 5, 2, 2), nn.BatchNorm1d(192), nn.ReLU(),
        )  # fmt: skip
        self.gru = nn.GRU(192, hidden, batch_first=True, bidirectional=True)
        self.project = nn.Linear(2 * hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        there = (x != 0).any(-1)[:, ::4, None]
        states = self.gru(self.layers(x.mT).mT)[0] * there
        return self.project(states.sum(1) / there.sum(1))


class Letters(nn.Module):
    """Texts, letter by letter, to one vector."""

    def __init__(self, letters: str, width: int = 128) -> None:
        super().__init__()
        self.number = {letter: i for i, letter in enumerate(letters, 1)}
        self.encoder = TextEncoder(width, len(letters) + 1, 128)

    def forward(self, texts: list[str]) -> Tensor:
        longest = max(map(len, texts))
        rows = [[self.number[c] for c in text] + [0] * (longest - len(text)) for text in texts]
        return self.encoder(torch.tensor(rows)).pooled


def spoil(x: Tensor, rng: np.random.Generator) -> Tensor:
    """Other pitch (bands move by up to 3), other tempo, another microphone, noise: (B, FRAMES, BANDS)."""
    out = []
    for one in x:
        long = int((one != 0).any(-1).sum())
        new = min(FRAMES, max(8, int(long * np.exp(rng.uniform(-0.25, 0.25)))))
        y = nn.functional.interpolate(one[None, None, :long], (new, BANDS), mode="bilinear")[0, 0]
        y = torch.roll(y, int(rng.integers(-3, 4)), 1)
        slope = torch.from_numpy(rng.normal(0, 0.5, 6).astype(np.float32))
        y = y + nn.functional.interpolate(slope[None, None], BANDS, mode="linear")[0]
        noise = torch.from_numpy(rng.standard_normal(y.shape, np.float32))
        y = torch.logaddexp(y, rng.uniform(-6, -1) + 0.5 * noise)
        out.append(nn.functional.pad(y - y.mean(), (0, 0, 0, FRAMES - new)))
    return torch.stack(out)


@torch.no_grad()
def found(towers: Any, sounds: Tensor, texts: list[str]) -> dict[str, float]:
    """How often the right text is the best of all, or among five."""
    with one_thread():
        u = torch.cat([towers.picture(some) for some in sounds.split(100)])
        s, y = similarity(u, towers.text(texts)), torch.arange(len(texts))
    return {f"top{k}": recall_at(s, y, k).item() for k in (1, 5)}


def main() -> None:
    """Read and speak everything, then three runs."""
    begun = time.process_time()
    stamps = {
        s.captions[LANGUAGE]: s for s in read_stamps() if {LANGUAGE} <= s.spoken.keys() & s.captions.keys()
    }
    texts = sorted(stamps)
    order = generator(0, "speech split").permutation(len(texts))
    new, old = ([texts[i] for i in sorted(part)] for part in (order[:NEW], order[NEW:]))
    people = {text: frames(read_sound(stamps[text].spoken[LANGUAGE])) for text in texts}
    voices = {v: {t: frames(speak(t, v, LANGUAGE)) for t in texts} for v in (*HEARD, UNHEARD)}
    synthesis = time.process_time() - begun
    print(len(texts), "captions", f"{synthesis:.0f} s", flush=True)
    letters, rows, values = "".join(sorted(set("".join(texts)))), [], {}
    tests = {"old_voice": (old, voices[UNHEARD]), "old_people": (old, people),
             "new_voice": (new, voices[UNHEARD]), "new_people": (new, people)}  # fmt: skip
    says = {"old_voice": "an unheard synthetic voice, known captions", "new_voice": "the same, new captions",
            "old_people": "people, known captions", "new_people": "people, new captions"}  # fmt: skip
    for run, share, spoiled in (("synthetic", 0.0, 0), ("spoiled", 0.0, 1), ("mixed", 0.5, 1)):

        def draw(rng: np.random.Generator, share: float = share, spoiled: int = spoiled) -> Batch:
            some = [old[i] for i in rng.choice(len(old), 64, replace=False)]
            kinds = [
                people if rng.random() < share else voices[HEARD[rng.integers(len(HEARD))]] for _ in some
            ]
            x = torch.stack([kind[text] for kind, text in zip(kinds, some, strict=True)])
            return Batch(spoil(x, rng) if spoiled else x, some, torch.arange(64))

        start = time.process_time()
        towers = build_towers(Ear, lambda: Letters(letters), 0)
        fit_towers(towers, draw, 0, RECIPE)
        row: dict[str, Any] = {"run": run, "cpu_seconds": round(time.process_time() - start)}
        for test, (asked, said) in tests.items():
            got = found(towers, torch.stack([said[text] for text in asked]), asked)
            row |= {f"{test}_{k}": round(v, 4) for k, v in got.items()}
            for k, v in got.items():
                values[f"{run}_{test}_{k}"] = number(v, 0.12, f"{run}: {says[test]}, {k}")
        values[f"{run}_seconds"] = number(row["cpu_seconds"], 120, f"{run}: CPU seconds", unit="seconds")
        rows.append(row)
        print(row, flush=True)
    for name, value in (("old", len(old)), ("new", len(new))):
        values[name] = number(value, 0, f"{name} captions", unit="captions")
    values["synthesis_seconds"] = number(synthesis, 60, "reading and speaking: CPU seconds", unit="seconds")
    write("speech-gap", values, rows=rows)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
