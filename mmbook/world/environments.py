"""Importing this module registers the book's environments with Gymnasium."""

from __future__ import annotations

from gymnasium.envs.registration import register

_ENTRIES = {
    "StickerGrid": ("gridworld:GridWorld", "gridworld:grid_batch", 200),
    "CaptionTree": ("caption_tree:CaptionTreeEnv", "caption_tree:tree_batch", None),
    "StickerClassifier": ("classifier:StickerClassifier", "classifier:StickerClassifierBatch", None),
    "StickerGaze": ("gaze:StickerGaze", "gaze:StickerGazeBatch", None),
}
for _name, (_one, _many, _steps) in _ENTRIES.items():
    register(
        id=f"mmbook/{_name}-v0",
        entry_point=f"mmbook.world.{_one}",
        vector_entry_point=f"mmbook.world.{_many}",
        max_episode_steps=_steps,
    )
