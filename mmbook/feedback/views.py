"""How items look on a screen: their texts, and pictures and sounds by key, made only when they are shown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from mmbook.feedback.items import digest
from mmbook.feedback.media import picture_uri
from mmbook.feedback.records import Item
from mmbook.feedback.taste import marks
from mmbook.world import Scene, render, say
from mmbook.world.writers import describe

LARGE = 480  # pixels of a scene's picture, shown at half of that: crisp on every screen
COLOURS = 64  # of a scene's picture, which has few
View = dict[str, Any]


class Views:
    """The views of items, as labeller.js reads them, and a lookup of their pictures and sounds.

    The captions of a `model` with `pictures(texts)` are codes of pictures, and are shown as pictures.
    """

    def __init__(self, items: Sequence[Item], model: Any = None) -> None:
        self._draws = model if hasattr(model, "pictures") else None
        self._source: dict[str, Any] = {}  # a key to a data URI, a scene, or the code of a picture
        self.items = [self._view(item) for item in items]

    def _view(self, item: Item) -> View:
        scene = Scene.from_json(item["scene"]) if item.get("scene") else None
        shown, alt = scene or item.get("image"), ""
        prompt = item["prompt"].replace("<image>", "")  # where a model's prompt has its picture
        responses = item["responses"]
        if scene is not None:
            alt, prompt = say(describe(scene, "detailed")), scene.question or prompt
        if scene is not None and self._draws is not None:
            shown, prompt, alt = None, say(describe(scene, "plain")), ""
            responses = [{"code": r} if isinstance(r, str) else r for r in responses]
        return {
            "id": item["id"],
            "kind": item["kind"],
            "prompt": prompt,
            "responses": [self._response(response) for response in responses],
            "image": self._key(shown) if shown else "",
            "alt": alt,
            "marks": marks(item),
        }

    def _response(self, response: Any) -> Any:
        if isinstance(response, str):
            return response
        ((form, source),) = response.items()
        key = self._key(source if form != "code" else (source,))
        return {"sound" if form == "sound" else "picture": key}

    def _key(self, source: Any) -> str:
        key = digest(source.to_json() if isinstance(source, Scene) else source)
        self._source[key] = source
        return key

    def keys(self, view: View) -> list[str]:
        """The keys of what an item shows."""
        heard = [r.get("picture") or r.get("sound") for r in view["responses"] if not isinstance(r, str)]
        return [key for key in (view["image"], *heard) if key]

    def uris(self, keys: Iterable[str]) -> dict[str, str]:
        """Data URIs by key. Raises KeyError for a key of no item."""
        found = {key: self._source[key] for key in keys}
        scenes = [key for key, source in found.items() if isinstance(source, Scene)]
        codes = [key for key, source in found.items() if isinstance(source, tuple)]
        drawn = dict(
            zip(scenes, render([found[key] for key in scenes], LARGE) if scenes else [], strict=True)
        )
        if codes and self._draws is not None:
            drawn |= zip(codes, self._draws.pictures([found[key][0] for key in codes]), strict=True)
        exact = dict.fromkeys(codes, 0)
        return {
            key: picture_uri(drawn[key], exact.get(key, COLOURS)) if key in drawn else source
            for key, source in found.items()
        }

    def recorded(self, key: str) -> bool:
        """Whether a picture or sound is part of the record itself, not drawn from it."""
        return isinstance(self._source[key], str)
