"""Questions about scenes: what they may mean, which answers are right, and when it is right to ask back."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from mmbook.world.captions import article, normalise
from mmbook.world.scenes import QUARTERS, Scene, SceneBatch, Seed, Sticker, generator, sample_scenes
from mmbook.world.stickers import KINDS, TRAIN_ARTWORK

ASK = "which one do you mean?"
NUMBERS = ("one", "two", "three")
FORMS = (
    "what is at the {quarter}?",
    "how many things are there?",
    "is there {a_kind}?",
    "where is the {kind}?",
    "which is bigger, the {kind} or the {other}?",
    "what is the {size} one?",
    "where is it?",
    "is it big?",
    "what is it?",
)
WORDS: tuple[str, ...] = (
    "things",
    "what",
    "how",
    "many",
    "are",
    "there",
    "where",
    "bigger",
    "one",
    "two",
    "three",
    "it",
)
WORDS += ("or", "?", "yes", "no", "nothing", "neither", "do", "you", "mean")
ANSWERS = (
    *(f"{article(kind)}." for kind in KINDS),
    *(f"the {kind}." for kind in KINDS),
    *(f"at the {quarter}." for quarter in QUARTERS),
    *(f"{word}." for word in (*NUMBERS, "yes", "no", "nothing", "neither")),
    ASK,
)
_NAMES = "|".join(KINDS)


def answers(scene: Scene) -> tuple[str, ...]:
    """The right answer for each thing that the scene's question may mean, one where it can mean one only.

    A question that says "it", or "the big one" where two are big, may mean several stickers. Raises
    ValueError for a question that is not in the language.
    """
    words, stickers = normalise(scene.question), {s.kind: s for s in scene.stickers}
    if found := re.fullmatch(rf"what is at the ({'|'.join(QUARTERS)}) \?", words):
        here = [s for s in scene.stickers if QUARTERS[s.quarter] == found[1]]
        return (f"{article(here[0].kind)}." if here else "nothing.",)
    if words == "how many things are there ?":
        return (f"{NUMBERS[len(stickers) - 1]}.",)
    if found := re.fullmatch(rf"is there an? ({_NAMES}) \?", words):
        return ("yes." if found[1] in stickers else "no.",)
    if found := re.fullmatch(rf"where is the ({_NAMES}) \?", words):
        return (_place(stickers[found[1]]) if found[1] in stickers else "nothing.",)
    if found := re.fullmatch(rf"which is bigger , the ({_NAMES}) or the ({_NAMES}) \?", words):
        big = [kind for kind in found.groups() if kind in stickers and stickers[kind].big]
        return (f"the {big[0]}." if len(big) == 1 else "neither.",)
    if found := re.fullmatch(r"what is the (big|small) one \?", words):
        fits = [s for s in scene.stickers if s.big == (found[1] == "big")]
        return tuple(f"{article(s.kind)}." for s in fits) or ("nothing.",)
    if words == "where is it ?":
        return tuple(map(_place, scene.stickers))
    if words == "is it big ?":
        return tuple("yes." if s.big else "no." for s in scene.stickers)
    if words == "what is it ?":
        return tuple(f"{article(s.kind)}." for s in scene.stickers)
    raise ValueError(f"question: expected one in the form of {' '.join(FORMS)}, got {scene.question!r}")


def _place(sticker: Sticker) -> str:
    return f"at the {QUARTERS[sticker.quarter]}."


def _said(answer: str) -> str:
    """An answer without its case, articles and full stop."""
    return " ".join(w for w in normalise(answer).split() if w not in ("a", "an", "the", "at", "."))


def asks(answer: str) -> bool:
    """Whether an answer is the question back."""
    return _said(answer) == _said(ASK)


def ambiguous(scene: Scene) -> bool:
    """Whether the right answer depends on what is meant."""
    return len(set(answers(scene))) > 1


def chance_right(scene: Scene, answer: str) -> float:
    """How likely an answer is right when each thing that may be meant is as likely; 0 for asking back."""
    return float(np.mean([_said(answer) == _said(right) for right in answers(scene)]))


def verdict(scene: Scene, answer: str) -> str:
    """What an answer is, in a few words."""
    if asks(answer):
        return "asks back" if ambiguous(scene) else "asks back for nothing"
    p = chance_right(scene, answer)
    return "wrong" if p == 0 else "right" if p == 1 else f"a guess, right with {p:.0%}"


def answer_utility(scene: Scene, answer: str, price: float = 0.5, ell: float = 1.0) -> float:
    """What an answer is expected to be worth: 1 if right, -ell if wrong, 1 - price if it has to ask back.

    Who asks an ambiguous question back is told what is meant, and then right; where nothing is unclear
    nothing is gained, and the answer is worth -price.
    """
    if asks(answer):
        return float(ambiguous(scene)) - price
    p = chance_right(scene, answer)
    return p - ell * (1.0 - p)


def best_answer(scene: Scene, price: float = 0.5, ell: float = 1.0) -> str:
    """The answer of the highest utility; where guessing is worth as much as asking, the guess."""
    return max((*answers(scene), ASK), key=lambda answer: answer_utility(scene, answer, price, ell))


def sample_questions(
    n: int, seed: Seed, artwork: Sequence[str] | str = TRAIN_ARTWORK, forms: Sequence[str] = FORMS
) -> SceneBatch:
    """Draw `n` scenes with a question each, those of `forms` that fit a scene alike."""
    rng = generator(seed, "questions")
    scenes = sample_scenes(n, rng, artwork)
    scenes.question = np.array([_question(scene, rng, forms) for scene in scenes], object)
    return scenes


def _question(scene: Scene, rng: np.random.Generator, forms: Sequence[str]) -> str:
    several = len(scene.stickers) > 1
    form = str(rng.choice([form for form in forms if several or "other" not in form]))
    here = [str(kind) for kind in rng.permutation(scene.kinds)]
    kind = here[0] if rng.random() < 0.5 or "a_kind" not in form else str(rng.choice(KINDS))
    return form.format(
        quarter=rng.choice(QUARTERS),
        a_kind=article(kind),
        kind=kind,
        other=here[-1],
        size=("small", "big")[int(scene.stickers[rng.integers(len(here))].big)],
    )


def right_answers(scenes: Sequence[Scene], rng: np.random.Generator) -> list[str]:
    """What is right of one thing that each question may mean; never asks back."""
    return [str(rng.choice(answers(scene))) for scene in scenes]


def careless_answers(
    scenes: Sequence[Scene], rng: np.random.Generator, asked: float = 0.25, needless: float = 0.1
) -> list[str]:
    """What a careless clerk answers: one in ten answers belongs to another thing of the same kind.

    Where a question is ambiguous they guess what is meant and ask back only with probability `asked`; where
    it is clear they ask back with probability `needless`.
    """
    said = []
    for scene in scenes:
        rights = answers(scene)
        if rng.random() < (asked if len(set(rights)) > 1 else needless):
            said.append(ASK)
            continue
        right = str(rng.choice(rights))
        said.append(str(rng.choice(_beside(right))) if rng.random() < 0.1 else right)
    return said


def _beside(answer: str) -> list[str]:
    """Other answers of the form of one."""
    forms: tuple[tuple[str, ...], ...] = (
        ANSWERS[: len(KINDS)],
        ANSWERS[len(KINDS) : 2 * len(KINDS)],
        tuple(f"{n}." for n in NUMBERS),
    )
    forms += (tuple(f"at the {q}." for q in QUARTERS), ("yes.", "no."))
    return [other for form in forms if answer in form for other in form if other != answer] or ["nothing."]
