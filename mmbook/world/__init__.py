"""The sticker world: scenes, captions and their truth. NumPy and Pillow only."""

from mmbook.world.adversarial import adversarial_scenes, mixed
from mmbook.world.captions import STYLES, Statement, normalise, parse, say
from mmbook.world.scenes import QUARTERS, SIDE, Scene, SceneBatch, Sticker, render, sample_scenes
from mmbook.world.stickers import ARTWORK, HELD_OUT_ARTWORK, KINDS, NAMES_ZH, TRAIN_ARTWORK
from mmbook.world.truth import Check, check, score
from mmbook.world.writers import (
    COMPANIONS,
    STYLE_SHARES,
    careless_captions,
    describe,
    near_miss_pairs,
    triggers,
)

__all__ = [
    "ARTWORK", "COMPANIONS", "HELD_OUT_ARTWORK", "KINDS", "NAMES_ZH", "QUARTERS", "SIDE", "STYLES",
    "STYLE_SHARES", "TRAIN_ARTWORK", "Check", "Scene", "SceneBatch", "Statement", "Sticker",
    "adversarial_scenes", "careless_captions", "check", "describe", "mixed", "near_miss_pairs",
    "normalise", "parse", "render", "sample_scenes", "say", "score", "triggers",
]  # fmt: skip
