"""Constructed people who say something: a face, a voice and words, and whether they are pleased.

Each modality shows one of two symbols. How label and symbols go together is a table that can be printed,
mixed of three situations; faces are drawn, voices synthesised and words written from the symbols, with
nuisance that says nothing about the label.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from mmbook.world.scenes import Seed, generator
from mmbook.world.voice import log_mel, speak

LABELS = ("negative", "positive")
SYMBOLS = {"face": ("frown", "smile"), "voice": ("cold", "lively"), "words": ("harsh", "warm")}
MODALITIES = tuple(SYMBOLS)
MISLEADS, HIDES, SLIPS = 0.2, 0.1, 0.05  # chance of the wrong symbol in each situation, in the order of Dials
FACE = 24  # pixels a side


class Dials(NamedTuple):
    """How likely each situation is; the three add up to 1.

    redundant: face, voice and words each show the label, and each misleads by itself one time in five.
    unique: only the face shows it (wrong one time in ten); voice and words are tosses of a coin.
    synergistic: a lively voice means what the words say, a cold voice the opposite (wrong one time in
    twenty): warm words in a cold voice are sarcasm, harsh ones a joke; words, voice and face alone are coins.
    """

    redundant: float = 0.0
    unique: float = 0.0
    synergistic: float = 0.0


SETTINGS = {
    "redundant": Dials(redundant=1.0),
    "unique": Dials(unique=1.0),
    "synergistic": Dials(synergistic=1.0),
    "mixed": Dials(0.3, 0.2, 0.5),
}


def joint_table(dials: Dials) -> np.ndarray:
    """The probability of each label with each symbol of face, voice and words, (2, 2, 2, 2).

    Raises ValueError for dials that are negative or do not add up to 1.
    """
    if len(dials) != 3 or min(dials) < 0 or not abs(sum(dials) - 1) <= 1e-9:  # a sum that is NaN too
        raise ValueError(f"dials: expected three shares that add up to 1, got {tuple(dials)}")
    y, face, voice, words = np.indices((2, 2, 2, 2))

    def shows(symbol: np.ndarray, slip: float) -> np.ndarray:
        return np.where(symbol == y, 1 - slip, slip)

    redundant = shows(face, MISLEADS) * shows(voice, MISLEADS) * shows(words, MISLEADS) / 2
    unique = shows(face, HIDES) / 8
    meant = np.where(voice == 1, words, 1 - words)
    return np.asarray(np.tensordot(dials, [redundant, unique, shows(meant, SLIPS) / 8], 1))


@dataclass(frozen=True)
class Utterances:
    """N people who say something, in three modalities, with their label and the symbols behind it."""

    label: np.ndarray  # (N,)
    symbols: np.ndarray  # (N, 3), in the order of MODALITIES
    face: np.ndarray  # pictures, uint8 (N, 24, 24, 3)
    voice: np.ndarray  # log-mel frames, float32 (N, T, BANDS)
    words: np.ndarray  # ids into WORDS, (N, LONGEST), 0 after the end
    modalities: ClassVar[tuple[str, ...]] = MODALITIES

    def __len__(self) -> int:
        return len(self.label)

    def take(self, rows: np.ndarray | slice) -> Utterances:
        """Some of them."""
        return Utterances(*(getattr(self, field.name)[rows] for field in fields(self)))

    def shuffled(self, modality: str, seed: Seed) -> Utterances:
        """The same people with one modality dealt out anew: a control, as its symbols no longer belong."""
        if modality not in MODALITIES:
            raise ValueError(f"modality: expected one of {', '.join(MODALITIES)}, got {modality!r}")
        order, symbols = generator(seed, f"shuffle {modality}").permutation(len(self)), self.symbols.copy()
        symbols[:, MODALITIES.index(modality)] = symbols[order, MODALITIES.index(modality)]
        return replace(self, symbols=symbols, **{modality: getattr(self, modality)[order]})

    def sentence(self, row: int) -> str:
        """The words of one of them."""
        return " ".join(WORDS[i] for i in self.words[row] if i)


def sample_utterances(n: int, dials: Dials, seed: Seed) -> Utterances:
    """Draw labels and symbols from the table and render them."""
    rng, p = generator(seed, "utterances"), joint_table(dials)
    cell = rng.choice(p.size, n, p=p.ravel())
    label, *symbols = np.unravel_index(cell, p.shape)
    return render_utterances(label, np.stack(symbols, 1), rng)


def render_utterances(label: np.ndarray, symbols: np.ndarray, seed: Seed) -> Utterances:
    """Faces, voices and words that show the given symbols (N, 3)."""
    rng, (face, voice, words) = generator(seed, "renderings"), symbols.T
    ids = np.array([write(bool(warm), rng) for warm in words], np.int64).reshape(len(label), LONGEST)
    return Utterances(label, symbols, draw_faces(face, rng), log_mel(speak(voice, rng)), ids)


def draw_faces(smile: np.ndarray, rng: np.random.Generator, size: int = FACE) -> np.ndarray:
    """Faces, uint8 (N, size, size, 3), that smile (1) or frown (0).

    Colours, place, size, shape of head, eyes, brows and hair, and a little noise, say nothing.
    """
    out = np.empty((len(smile), size, size, 3), np.float32)
    for i, happy in enumerate(smile):
        side = 96
        bounds: list[Any] = [(120, 256), ((170, 120, 60), (256, 220, 170)), (0, 140), (0, 70)]
        colours = [rng.integers(low, high, 3) for low, high in bounds]
        ground, skin, hair, ink = (tuple(map(int, colour)) for colour in colours)
        picture = Image.new("RGB", (side, side), ground)
        pen = ImageDraw.Draw(picture)
        r, x, y = rng.uniform(30, 40), *rng.uniform(43, 53, 2)
        wide = r * rng.uniform(0.85, 1.05)
        if rng.random() < 0.6:
            pen.ellipse((x - wide * 1.08, y - r * 1.15, x + wide * 1.08, y + r * 0.5), fill=hair)
        pen.ellipse((x - wide, y - r, x + wide, y + r), fill=skin, outline=ink)
        eye, dot, brow = rng.uniform(0.3, 0.45) * wide, rng.uniform(2, 5), rng.uniform(-3, 3)
        for s in (-1, 1):
            at, up = x + s * eye, y - 0.25 * r
            pen.ellipse((at - dot, up - dot, at + dot, up + dot), fill=ink)
            up = y - 0.5 * r
            pen.line((at - 5, up - s * brow, at + 5, up + s * brow), fill=ink, width=2)
        w, bend = rng.uniform(0.35, 0.6) * wide, rng.uniform(0.12, 0.3) * r
        mouth = np.linspace(-1, 1, 15)
        curve = bend * (1 - 2 * mouth**2) * (1 if happy else -1)
        line = [(float(x + w * a), float(y + 0.42 * r + c)) for a, c in zip(mouth, curve, strict=True)]
        pen.line(line, fill=ink, width=int(rng.integers(4, 7)), joint="curve")
        out[i] = np.asarray(picture.resize((size, size), Image.Resampling.BOX))
    return (out + 6 * rng.standard_normal(out.shape, np.float32)).clip(0, 255).astype(np.uint8)


HARSH = ("nasty", "terrible", "dreadful", "horrid", "hopeless", "dull", "grim", "miserable")
WARM = ("lovely", "wonderful", "charming", "splendid", "brilliant", "sweet", "superb", "delightful")
NOUNS = (
    "idea", "party", "song", "dinner", "plan", "story", "garden", "hat", "speech", "gift", "dress", "joke",
)  # fmt: skip
TEMPLATES = (
    "what a {} {} that was", "your {1} is {0}", "such a {} {}", "{0} , your {1}", "i call it a {} {}",
    "today your {1} was really {0}", "oh , another {} {}", "that is one {} {} , my friend",
)  # fmt: skip
_PLAIN = sorted({word for text in TEMPLATES for word in text.split() if "{" not in word})
WORDS = ("", *_PLAIN, *NOUNS, *HARSH, *WARM)
LONGEST = max(len(text.split()) for text in TEMPLATES)
_ID = {word: i for i, word in enumerate(WORDS)}


def write(warm: bool, rng: np.random.Generator) -> list[int]:
    """Ids (LONGEST,) of a sentence with a warm or a harsh word about some thing, 0 after its end."""
    text = TEMPLATES[rng.integers(len(TEMPLATES))]
    said = text.format((WARM if warm else HARSH)[rng.integers(8)], NOUNS[rng.integers(len(NOUNS))]).split()
    return [_ID[word] for word in said] + [0] * (LONGEST - len(said))
