"""What is asked: pairs of captions of one scene, their ids, and which of the two is shown first."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np

from mmbook.feedback.media import picture_uri
from mmbook.feedback.records import Item
from mmbook.world import near_miss_pairs, normalise, sample_scenes

Candidates = Iterator[tuple[Any, ...]]  # a scene and its captions
RESPONSES = {"pair": 2, "rating": 1, "edit": 1, "ranking": 4}  # of an item
TRIES = 40  # scenes drawn for each pair that is wanted before giving up


class Captioner(Protocol):
    """What collecting needs of a model: captions, the prompt that asks for them, a hash of the weights."""

    hash: str
    prompt: str

    def sample(
        self, scenes: Any, temperature: float = 1.0, seed: int = 0, greedy: bool = False, samples: int = 1
    ) -> list[str]:
        """Captions in scene-major order, `len(scenes) * samples` of them."""


def whole_seed(seed: Any) -> int:
    """An int seed from an int, or drawn from a NumPy or torch generator. Raises TypeError, ValueError."""
    if isinstance(seed, np.random.Generator):
        return int(seed.integers(2**31))
    torch = sys.modules.get("torch")  # whoever holds a torch generator has imported torch
    if torch is not None and isinstance(seed, torch.Generator):
        return int(torch.randint(2**31, (), generator=seed, device=seed.device))
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer):
        raise TypeError(f"seed: expected an int or a NumPy or torch generator, got {seed!r}")
    if not 0 <= seed < 2**53:  # where a page's numbers end
        raise ValueError(f"seed: expected 0 or more, below 2**53, got {seed}")
    return int(seed)


def make_items(
    model: Captioner,
    n: int,
    seed: int,
    candidates: str = "model",
    temperature: float = 1.0,
    round: int = 0,
    kind: str = "pair",
) -> list[Item]:
    """`n` different items of captions that differ, from the model's own samples or as near misses (pairs).

    Where a model's captions are codes that its `pictures` draws, what is to be edited are the pictures.

    Raises ValueError for unknown or unfitting arguments, or when the model hardly ever says different things.
    """
    sources = {"model": _from_model, "near-miss": _near_misses}
    if candidates not in sources:
        raise ValueError(f"candidates: expected 'model' or 'near-miss', got {candidates!r}")
    if kind not in RESPONSES or (kind != "pair" and candidates != "model"):
        kinds = ", ".join(RESPONSES)
        raise ValueError(f"kind: expected one of {kinds}, 'pair' for near misses, got {kind!r}")
    own = candidates == "model"
    shared = {
        "kind": kind,
        "prompt": model.prompt,
        "model": model.hash if own else candidates,
        "temperature": temperature if own else None,
        "seed": seed,
        "round": round,
    }
    items: dict[str, Item] = {}
    drawn = 0
    source = sources[candidates](model, n, np.random.default_rng(seed), temperature, RESPONSES[kind])
    for scene, *captions in source:
        drawn += 1
        said = set(map(normalise, captions))
        if len(said) == len(captions) and "" not in said:  # nobody can judge a caption without words
            if kind == "edit" and hasattr(model, "pictures"):  # nobody edits the codes of a picture
                captions = [{"picture": picture_uri(p, colours=0)} for p in model.pictures(captions)]
            item = {**shared, "scene": scene.to_json(), "responses": captions}
            if scene.question:
                item["prompt"] = model.prompt_for(scene.question)  # type: ignore[attr-defined]
            items.setdefault(digest(item), {"id": digest(item), **item})
        if len(items) == n:
            return list(items.values())
        if drawn == n * TRIES:
            break
    raise ValueError(
        f"only {len(items)} of {n} {kind}s found: in {drawn} scenes the model nearly always said "
        f"the same again, or nothing; raise the temperature from {temperature} or ask for fewer"
    )


def _from_model(
    model: Captioner, n: int, rng: np.random.Generator, temperature: float, samples: int
) -> Candidates:
    while True:
        scene_seed, sample_seed = (int(s) for s in rng.integers(2**31, size=2))
        scenes = getattr(model, "scenes", sample_scenes)(n, scene_seed)
        captions = model.sample(scenes, temperature=temperature, seed=sample_seed, samples=samples)
        yield from zip(scenes, *(captions[i::samples] for i in range(samples)), strict=True)


def _near_misses(
    model: Captioner, n: int, rng: np.random.Generator, temperature: float, samples: int
) -> Candidates:
    while True:
        yield from near_miss_pairs(n, int(rng.integers(2**31)))


def digest(value: object) -> str:
    """Twelve hexadecimal digits that stand for a JSON value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]


def items_hash(items: Sequence[Item]) -> str:
    """The hash of a list of items; a log is resumed only for the items it was begun with."""
    return digest([item["id"] for item in items])


def shown_first(seed: int, annotator: str, item_id: str) -> int:
    """The index of the response that this annotator sees first; `shownFirst` in labeller.js is its twin."""
    return _mix(f"{seed}|{annotator}|{item_id}") & 1


def shown_order(seed: int, annotator: str, item_id: str, n: int) -> list[int]:
    """The order in which this annotator sees n responses; `shownOrder` in labeller.js is its twin."""
    return sorted(range(n), key=lambda i: (_mix(f"{seed}|{annotator}|{item_id}|{i}"), i))


def _mix(text: str) -> int:
    """32-bit FNV-1a with the high bits mixed down: its lowest bit alone is only a parity."""
    h = 0x811C9DC5
    for byte in text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").encode():
        h = (h ^ byte) * 0x01000193 & 0xFFFFFFFF
    h = (h ^ h >> 16) * 0x7FEB352D & 0xFFFFFFFF
    return h ^ h >> 15
