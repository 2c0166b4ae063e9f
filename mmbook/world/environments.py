"""Importing this module registers the book's environments with Gymnasium."""

from __future__ import annotations

from gymnasium.envs.registration import register

for _name, _module in {"StickerClassifier": "classifier", "StickerGaze": "gaze"}.items():
    _entry = f"mmbook.world.{_module}:{_name}"
    register(id=f"mmbook/{_name}-v0", entry_point=_entry, vector_entry_point=f"{_entry}Batch")
