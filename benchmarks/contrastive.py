"""Two towers on stickers, on emoji of a style never seen, and on photos.

python benchmarks/contrastive.py [stickers | twemoji | openmoji | photos | chapter]

All but "stickers" and "chapter" need what `mmbook fetch emoji tuxpaint models` fetches.
"""

from __future__ import annotations

import sys
import time
from functools import partial
from typing import Any

import numpy as np
import torch
from chapter_file import record
from results_file import number, write
from torch import Tensor

from mmbook.equations import recall_at, similarity
from mmbook.models.contrastive import FeatureTower, FrozenTextTower, PictureTower, TwoTowers, WordTower
from mmbook.models.efficientnet import load_efficientnet, picture_features
from mmbook.training.contrastive import (
    Batch,
    EmojiPairs,
    build_towers,
    fit_towers,
    one_sticker,
    partners,
    picture_vectors,
    text_vectors,
)
from mmbook.training.loop import Schedule
from mmbook.world import ARTWORK, HELD_OUT_ARTWORK, KINDS
from mmbook.world.emoji import emoji_pictures
from mmbook.world.fetch import fetched
from mmbook.world.scenes import generator
from mmbook.world.stickers import NAMES_ZH
from mmbook.world.tuxpaint import read_stamps, stamp_pictures

SEEDS, WIDTH, SHOWN = (0, 1, 2), 256, 12
BATCHES, TAUS, RECALLS = (
    (4, 16, 64, 256),
    ("1", "0.3", "0.1", "0.03", "0.01"),
    ("text", "text5", "picture", "classes"),
)
CNN = Schedule(steps=900, lr=3e-3, warmup=50, weight_decay=0.05)


def read_with_minilm() -> FrozenTextTower:
    """MiniLM, frozen, and a head on it whose first weights are always the same."""
    return build_towers(torch.nn.Identity, lambda: FrozenTextTower(fetched("minilm"), WIDTH), 0).text


def ranks(s: Tensor, y: Tensor) -> dict[str, float]:
    """Retrieval both ways among partners, in shares and places."""
    out = {f"top{k}": recall_at(s, y, k).item() for k in (1, 5)}
    if s.shape[0] == s.shape[1]:
        out["back1"] = recall_at(s.T, y, 1).item()
    own = s.gather(1, y[:, None])
    return out | {"median": float((s > own).sum(1).median() + 1)}


def names(n: int, rng: np.random.Generator) -> Batch:
    """Pictures of one sticker with their names."""
    pictures, kind = one_sticker(n, rng)
    return partners(pictures, [KINDS[k] for k in kind])


def stickers_part() -> None:
    """What temperature, batch size and copies do to naming stickers, three seeds each."""
    settings: dict[str, dict[str, Any]] = {f"batch {n}": {"n": n} for n in BATCHES}
    settings |= {f"tau {tau}": {"tau": float(tau), "fixed": True} for tau in TAUS} | {
        "spared": {"spare": True}
    }
    values: dict[str, Any] = {}
    for name, how in settings.items():
        n, tau, more = (
            how.get("n", 64),
            how.get("tau", 0.07),
            {k: how[k] for k in ("fixed", "spare") if k in how},
        )
        found: dict[str, list[float]] = {artwork: [] for artwork in ARTWORK}
        for seed in SEEDS:
            towers = build_towers(
                lambda: PictureTower(64, (16, 32, 64)), lambda: WordTower(KINDS, 64), seed, tau
            )
            fit_towers(towers, partial(names, n), seed, Schedule(100, 4e-3, warmup=20), **more)
            for artwork in ("noto", HELD_OUT_ARTWORK):
                pictures, kind = one_sticker(640, 9, artwork)
                s = similarity(picture_vectors(towers, pictures), text_vectors(towers, KINDS))
                found[artwork].append(recall_at(s, torch.from_numpy(kind), 1).item())
        for where, artwork in (("seen", "noto"), ("new", HELD_OUT_ARTWORK)):
            key = f"{name.replace(' ', '_')}_{where}"
            values[key] = number(
                np.mean(found[artwork]), 0.08, f"{name}: named, {where} style, mean of 3 seeds"
            )
            spread = max(found[artwork]) - min(found[artwork])
            values[f"{key}_spread"] = number(spread, 0.15, f"{name}: largest less least of 3 seeds")
        print(name, found["noto"], found[HELD_OUT_ARTWORK], flush=True)
    for length in ("short", "long"):
        both = np.array([bilingual(length, seed) for seed in SEEDS]).T
        for key, shares in zip(("translated", "named"), both, strict=True):
            says = f"{length} word vectors at the start: {key}, mean of 3 seeds"
            values[f"{length}_{key}"] = number(np.mean(shares), 0.08, says)
            print(length, key, shares, flush=True)
    write("contrastive-stickers", values)


def bilingual(length: str, seed: int) -> tuple[float, float]:
    """Shares of names that find their translation, and of pictures that find their English name."""
    zh = [NAMES_ZH[kind] for kind in KINDS]

    def text() -> WordTower:
        tower = WordTower([*KINDS, *zh], 64)
        if length == "long":
            tower.words.reset_parameters()  # PyTorch's own start
        return tower

    def draw(rng: np.random.Generator) -> Batch:
        pictures, kind = one_sticker(64, rng)
        in_chinese = rng.random(64) < 0.5
        return partners(pictures, [zh[k] if z else KINDS[k] for k, z in zip(kind, in_chinese, strict=True)])

    towers = build_towers(lambda: PictureTower(64, (16, 32, 64)), text, seed)
    fit_towers(towers, draw, seed, Schedule(150, 4e-3, warmup=20))
    pictures, kind = one_sticker(640, 9, "noto")
    u, v, w = picture_vectors(towers, pictures), text_vectors(towers, KINDS), text_vectors(towers, zh)
    translated = recall_at(similarity(v, w), torch.arange(len(zh)), 1).item()
    return translated, recall_at(similarity(u, v), torch.from_numpy(kind), 1).item()


def views(towers: TwoTowers, pictures: np.ndarray) -> Tensor:
    """The mean vector of nine views of a picture: as it is, and moved by a pixel to each side and corner."""
    moves = [(x, y) for x in (-1, 0, 1) for y in (-1, 0, 1)]
    seen = [picture_vectors(towers, np.roll(pictures, move, (1, 2))) for move in moves]
    return torch.stack([torch.nn.functional.normalize(u, dim=-1) for u in seen]).mean(0)


def judge(towers: TwoTowers, pairs: EmojiPairs, u: Tensor, texts: list[str]) -> dict[str, dict[str, float]]:
    """Texts of emoji by their vectors u: of concepts that were trained on, and of new ones."""
    out = {}
    for name, rows in (("old", pairs.old), ("new", pairs.new)):
        v = text_vectors(towers, [texts[i] for i in rows])
        out[name] = ranks(similarity(u[rows], v), torch.arange(len(rows)))
    return out


def examples(towers: TwoTowers, pairs: EmojiPairs) -> list[dict[str, Any]]:
    """What the towers call some concepts that they were trained on, and some that are new."""
    rows, u = [], picture_vectors(towers, pairs.held)
    for which, some in (("old", pairs.old), ("new", pairs.new)):
        v = text_vectors(towers, [pairs.texts[i] for i in some])
        for i in generator(0, f"examples {which}").choice(len(some), SHOWN // 2, replace=False):
            best = similarity(u[some[i]][None], v)[0].topk(3).indices.tolist()
            names = [pairs.names[some[j]] for j in best]
            rows.append(
                {"which": which, "emoji": int(some[i]), "names": names, "right": pairs.names[some[i]]}
            )
    return rows


def chinese(towers: TwoTowers, pairs: EmojiPairs) -> dict[str, dict[str, float]]:
    """A tower of Chinese characters, learned on the picture tower as it is; names of the style held out."""
    zh = [e.zh for e in pairs.emoji]
    old = [zh[i] for i in pairs.old]
    seen = torch.stack([picture_vectors(towers, style) for style in pairs.pictures])

    def draw(rng: np.random.Generator) -> Batch:
        y = rng.choice(len(old), 128, replace=False)
        return Batch(seen[rng.integers(3, size=128), pairs.old[y]], old, torch.from_numpy(y))

    locked = build_towers(torch.nn.Identity, lambda: WordTower(old, WIDTH), 0, 0.05)
    fit_towers(locked, draw, 0, Schedule(steps=300, lr=2e-2, warmup=20))
    u, out = picture_vectors(towers, pairs.held), {}
    for name, rows in (("old", pairs.old), ("new", pairs.new)):
        v = text_vectors(locked, [zh[i] for i in rows])
        out[name] = ranks(similarity(u[rows], v), torch.arange(len(rows)))
    return out


def photos(towers: TwoTowers, pictures: np.ndarray | Tensor, some: np.ndarray) -> dict[str, float]:
    """Captions of Tux Paint's stamps, retrieved among those of the stamps `some`."""
    captions = [stamp.caption for stamp in read_stamps()]
    u, v = picture_vectors(towers, pictures[some]), text_vectors(towers, [captions[i] for i in some])
    return ranks(similarity(u, v), torch.arange(len(some)))


def test_stamps() -> tuple[np.ndarray, np.ndarray]:
    """Numbers of the stamps to train on, and of 150 that no training shows."""
    order = generator(0, "stamps").permutation(len(read_stamps()))
    return np.sort(order[150:]), np.sort(order[:150])


def note(values: dict[str, Any], key: str, says: str, found: dict[str, float]) -> None:
    """Add retrieval scores to the numbers."""
    print(key, {name: round(value, 3) for name, value in found.items()}, flush=True)
    for name, value in found.items():
        tolerance, unit = (5.0, "place") if name == "median" else (0.05, "share")
        values[f"{key}_{name}"] = number(value, tolerance, f"{says}: {name}", unit=unit)


def emoji_part(artwork: str) -> None:
    """A network from scratch on three styles, tested on the fourth; names read by MiniLM, which is frozen."""
    start = time.process_time()
    text, pairs = read_with_minilm(), EmojiPairs(artwork)
    text.read(pairs.names + pairs.texts)
    reading, start = time.process_time() - start, time.process_time()
    towers = build_towers(lambda: PictureTower(WIDTH, (64, 128, 256), bf16=True), lambda: text, 0, 0.05)
    losses = fit_towers(towers, pairs.draw, 0, CNN)
    seconds, values = time.process_time() - start, {}
    print(artwork, f"{seconds:.0f} s, loss {np.mean(losses[-50:]):.3f}", flush=True)
    for name, value in (("text_seconds", reading), ("seconds", seconds)):
        values[name] = number(value, 100, f"{artwork} held out: {name}", unit="CPU seconds")
    u = picture_vectors(towers, pairs.held)
    for how, x, texts in (
        ("", u, pairs.texts),
        ("views_", views(towers, pairs.held), pairs.texts),
        ("bare_", u, pairs.names),
    ):
        for which, found in judge(towers, pairs, x, texts).items():
            note(values, how + which, f"names of {artwork}, {how}{which} concepts", found)
    for which, found in chinese(towers, pairs).items():
        note(values, f"zh_{which}", f"Chinese names of {artwork}, {which} concepts", found)
    note(values, "photos", "captions of 150 stamps", photos(towers, stamp_pictures(32), test_stamps()[1]))
    write(f"contrastive-{artwork}", values, rows=examples(towers, pairs))


def photos_part() -> None:
    """A frozen network that knows photos, with a head learned on emoji, on stamps, or on both."""
    values: dict[str, Any] = {}
    start = time.process_time()
    network = load_efficientnet()
    large = [np.repeat(np.repeat(style, 2, 1), 2, 2) for style in emoji_pictures(64)]
    seen = torch.stack([picture_features(network, style) for style in large])
    stamps = picture_features(network, stamp_pictures(128))
    values["feature_seconds"] = number(time.process_time() - start, 100, "all features", unit="CPU seconds")
    text, (train, test) = read_with_minilm(), test_stamps()
    pairs, captions = EmojiPairs("twemoji"), [stamp.caption for stamp in read_stamps()]
    text.read(pairs.names + pairs.texts + captions)
    first = {name: tensor.clone() for name, tensor in text.head.state_dict().items()}

    def head(draw: Any) -> TwoTowers:
        text.head.load_state_dict(first)
        towers = build_towers(lambda: FeatureTower(1280, WIDTH), lambda: text, 0, 0.05)
        fit_towers(towers, draw, 0, Schedule(steps=400, lr=1e-3, warmup=20, weight_decay=0.05))
        return towers

    def emoji(kept: list[int], old: np.ndarray, rng: np.random.Generator) -> Batch:
        y = rng.choice(len(old), 128, replace=False)
        texts = [(pairs.texts if rng.random() < 0.5 else pairs.names)[i] for i in old]
        return Batch(seen[rng.choice(kept, 128), old[y]], texts, torch.from_numpy(y))

    def stamp(rng: np.random.Generator) -> Batch:
        y = rng.choice(len(train), 128, replace=False)
        return Batch(stamps[train[y]], [captions[i] for i in train], torch.from_numpy(y))

    def both(rng: np.random.Generator) -> Batch:
        a, b = emoji([0, 1, 2, 3], np.arange(len(pairs.names)), rng), stamp(rng)
        pictures, texts = torch.cat([a.pictures, b.pictures]), [*a.texts, *b.texts]
        return Batch(pictures, texts, torch.cat([a.y, b.y + len(a.texts)]))

    for artwork in ("twemoji", HELD_OUT_ARTWORK):
        start, pairs = time.process_time(), EmojiPairs(artwork)
        held = ARTWORK.index(artwork)
        towers = head(partial(emoji, [i for i in range(4) if i != held], pairs.old))
        seconds = time.process_time() - start
        values[f"{artwork}_seconds"] = number(
            seconds, 60, f"the head, {artwork} held out", unit="CPU seconds"
        )
        for which, found in judge(towers, pairs, picture_vectors(towers, seen[held]), pairs.texts).items():
            note(values, f"{artwork}_{which}", f"names of {artwork}, {which} concepts", found)
    everything = partial(emoji, [0, 1, 2, 3], np.arange(len(pairs.names)))
    for name, draw in (("emoji", everything), ("stamps", stamp), ("both", both)):
        towers = head(draw)
        note(values, name, f"captions of 150 stamps, learned on {name}", photos(towers, stamps, test))
        if name == "emoji":
            note(values, "emoji_all", "captions of all 697", photos(towers, stamps, np.arange(len(captions))))
    write("contrastive-photos", values, rows=stamp_examples(towers, stamps, test, captions))


def stamp_examples(
    towers: TwoTowers, stamps: Tensor, test: np.ndarray, captions: list[str]
) -> list[dict[str, Any]]:
    """The best captions of some stamps that were not trained on."""
    s = similarity(picture_vectors(towers, stamps[test]), text_vectors(towers, [captions[i] for i in test]))
    return [
        {
            "stamp": int(test[i]),
            "names": [captions[test[j]] for j in s[i].topk(3).indices],
            "right": captions[test[i]],
        }
        for i in generator(0, "stamp examples").choice(len(test), 8, replace=False)
    ]


# key of the chapter: (tolerance, what it is, unit). Tolerances cover another processor, not another seed.
SAYS = {
    **{f"nats_{K}": (0.3, f"nats proved by batches of {K}", "nats") for K in BATCHES},
    **{f"best_nats_{K}": (1e-4, f"most nats that batches of {K} can prove", "nats") for K in BATCHES},
    **{f"named_{K}": (0.1, f"named, seen style, batches of {K}", "share") for K in BATCHES},
    **{f"named_new_{K}": (0.1, f"named, new style, batches of {K}", "share") for K in BATCHES},
    **{f"tau_{t}_{w}": (0.12, f"named, {w} style, tau {t}", "share") for t in TAUS for w in ("seen", "new")},
    "floor_64": (1e-4, "least loss of batches of 64", "nats"),
    **{
        f"{h}_{w}": (0.1, f"named, copies {h}, {w}", "share")
        for h in ("counted", "spared")
        for w in ("named", "new")
    },
    **{
        f"{w}_{k}": (0.1, f"scenes, {w} style: recall of {k}", "share")
        for w in ("seen", "new")
        for k in RECALLS
    },
    "captions": (0, "different captions among 500", "captions"),
    "twins": (0, "of 500 captions, those with the same words as another", "captions"),
    "translated": (0.15, "English names whose Chinese is nearest", "share"),
    **{
        f"{k}_{t}": (0.2, f"{k} {t}", "")
        for k in ("alignment", "uniformity", "gap")
        for t in ("before", "after", "style")
    },
    "collapsed_loss": (0.003, "alignment at the end, without negatives", "squared distance"),
    "collapsed_uniformity": (0.05, "uniformity of names without negatives", ""),
    "kept_uniformity": (0.4, "uniformity of names with negatives", ""),
    **{f"{h}_named": (0.2, f"named, negatives {h}", "share") for h in ("collapsed", "kept")},
    **{f"{h}_blurred": (0.2, f"named with noise, negatives {h}", "share") for h in ("collapsed", "kept")},
    "memory_gb": (1.0, "largest resident memory of the chapter's kernel", "GB"),
    "cpu_seconds": (120.0, "CPU seconds of the whole chapter's kernel", "seconds"),
}


if __name__ == "__main__":
    torch.set_num_threads(1)
    parts = {
        "stickers": stickers_part,
        "twemoji": partial(emoji_part, "twemoji"),
        "openmoji": partial(emoji_part, HELD_OUT_ARTWORK),
        "photos": photos_part,
        "chapter": partial(record, "multimodal/contrastive", SAYS),
    }
    for part in sys.argv[1:] or parts:
        parts[part]()
