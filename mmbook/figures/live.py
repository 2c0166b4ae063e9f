"""Pictures that move: frames that need no kernel, and sliders that recompute where there is one."""

from __future__ import annotations

import base64
import hashlib
import html
import io
import itertools
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mmbook.figures.style import Drawing

_HERE = Path(__file__).parent
STYLE = f"<style>{(_HERE / 'live.css').read_text(encoding='utf-8')}</style>"
_SCRIPT = (_HERE / "frames.js").read_text(encoding="utf-8")
_DPI = 128  # a third more than the size on the page: sharp enough, and small


def is_live() -> bool:
    """Whether a reader sits before a kernel: not in a build, and not in plain Python."""
    from IPython import get_ipython

    return not os.environ.get("MMBOOK_STATIC") and hasattr(get_ipython(), "kernel")


def encode(picture: Any) -> tuple[str, int, str]:
    """A Drawing or an array (H, W, 3) as a small PNG data URI, its width in CSS pixels, and its alt text."""
    if isinstance(picture, Drawing):
        width, alt = round(picture.get_figwidth() * 96), picture.alt
        large: Image.Image = Image.open(io.BytesIO(picture.data("png", _DPI)))
        image = large.quantize(64, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    else:
        pixels = np.asarray(picture)
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
            got = f"{pixels.dtype} {pixels.shape}"
            raise ValueError(f"picture: expected a Drawing or an array uint8 (H, W, 3), got {got}")
        width, alt = max(pixels.shape[1], 240), ""
        image = Image.fromarray(pixels).quantize(64, dither=Image.Dither.NONE)
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode(), width, alt


def img(uri: str, width: int, alt: str) -> str:
    """The element of a picture."""
    return f'<img src="{uri}" width="{width}" alt="{html.escape(alt)}">'


def bundle(widget: Any, page: str, text: str) -> dict[str, Any]:
    """What a notebook shows: the widget where there is a kernel, else the page (ipywidgets 7 and 8)."""
    view = {"version_major": 2, "version_minor": 0, "model_id": widget.model_id}
    return {"application/vnd.jupyter.widget-view+json": view, "text/html": page, "text/plain": text}


def _say(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


class Frames:
    """A player as `html`, which a notebook and the page show, and in words as `text`."""

    def __init__(self, html: str, text: str) -> None:
        self.html, self.text = html, text

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return {"text/html": self.html, "text/plain": self.text}


def frames(
    pictures: Sequence[Any], captions: Sequence[str] | None = None, **controls: Sequence[Any]
) -> Frames:
    """A player of Drawings or arrays uint8 (H, W, 3) that moves without a kernel and without network.

    `pictures` are in the order of the product of the controls' values, the last control fastest; without
    controls they are the steps of a film. One control has a button that plays. Without JavaScript the first
    picture stands there with its caption. Raises ValueError when the numbers of pictures do not fit.
    """
    controls = controls or {"step": range(len(pictures))}
    wanted = int(np.prod([len(options) for options in controls.values()]))
    said = [""] * wanted if captions is None else list(captions)
    if not 0 < wanted == len(pictures) == len(said):
        got = f"{len(pictures)} pictures and {len(said)} captions"
        raise ValueError(
            f"pictures: expected {wanted}, one for each choice of {', '.join(controls)}, got {got}"
        )
    coded = [encode(picture) for picture in pictures]
    uris = list(dict.fromkeys(uri for uri, _, _ in coded))
    alts = [alt or caption for (_, _, alt), caption in zip(coded, said, strict=True)]
    values = [[_say(value) for value in options] for options in controls.values()]
    sliders = [
        f'<label><span>{html.escape(name.replace("_", " "))}</span><input type="range" min="0" '
        f'max="{len(texts) - 1}" step="1" value="0"><output>{html.escape(texts[0])}</output></label>'
        for name, texts in zip(controls, values, strict=True)
    ]
    button = '<p><button type="button">Play</button></p>' if len(controls) == 1 else ""
    data = {"order": [uris.index(uri) for uri, _, _ in coded], "pictures": [None, *uris[1:]]}
    data |= {"alts": alts, "captions": said, "values": values}
    body = (
        f'{STYLE}{img(uris[0], coded[0][1], alts[0])}<p class="mml-caption">{html.escape(said[0])}</p>'
        f'<div class="mml-controls" hidden>{"".join(sliders)}{button}</div><script type="application/json">'
        + json.dumps(data, ensure_ascii=False).replace("<", "\\u003c")
    )
    name = hashlib.sha256(body.encode()).hexdigest()[:12]
    page = f'<div class="mml" data-frames="{name}">{body}</script>'
    page += f"<script>{_SCRIPT.replace('HASH', name)}</script></div>"
    return Frames(page, f"{wanted} pictures, by {', '.join(controls)}: {alts[0]}")


class Explorer:
    """Sliders over keyword arguments; each move calls the function again and shows its Drawing."""

    def __init__(self, function: Callable[..., Drawing], **values: Sequence[Any]) -> None:
        import ipywidgets

        self.function, self.picture = function, ipywidgets.HTML()
        self.sliders = {
            name: ipywidgets.SelectionSlider(
                options=[(_say(value), value) for value in options],
                description=name.replace("_", " "),
                continuous_update=False,
                style={"description_width": "initial"},
            )
            for name, options in values.items()
        }
        for slider in self.sliders.values():
            slider.observe(self.draw, "value")
        self.box = ipywidgets.VBox([*self.sliders.values(), self.picture])
        self.draw()

    def draw(self, _: Any = None) -> None:
        """Show the drawing of the present choice, or what went wrong."""
        try:
            drawing = self.function(**{name: slider.value for name, slider in self.sliders.items()})
            self.picture.value = STYLE + f'<div class="mml">{img(*encode(drawing))}</div>'
        except Exception as error:
            self.picture.value = f"<p>{html.escape(f'{type(error).__name__}: {error}')}</p>"

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        note = "<p>Run this cell in a notebook to move the sliders.</p>"
        return bundle(self.box, self.picture.value + note, f"Sliders: {', '.join(self.sliders)}")


def explore(function: Callable[..., Drawing], **values: Sequence[Any]) -> Explorer | Frames:
    """Move sliders over the keyword arguments of a function that returns a Drawing.

    In a notebook each move calls the function; in the built page the pictures of all combinations are there
    beforehand, so keep their number near 20. The first value of each is where the slider begins.
    """
    if is_live():
        return Explorer(function, **values)
    choices = [dict(zip(values, choice, strict=True)) for choice in itertools.product(*values.values())]
    return frames([function(**choice) for choice in choices], **values)


def watch(
    env: Any, act: Callable[[np.ndarray], Any], seed: int = 0, steps: int = 100, actions: Sequence[str] = ()
) -> Frames:
    """Play one episode of an environment made with `render_mode="rgb_array"`, step by step.

    `act` takes a batch of observations and returns their actions, as in `mmbook.rl`; here the batch is one.
    `actions` names the actions, by default as the environment's MDP does. Raises ValueError without pictures.
    """
    if env.render_mode != "rgb_array":
        raise ValueError(f"env: expected render_mode='rgb_array', got {env.render_mode!r}")
    names = actions or getattr(getattr(env.unwrapped, "mdp", None), "actions", ())
    observation, _ = env.reset(seed=seed)
    pictures, captions, total, ended = [env.render()], ["The first state."], 0.0, False
    while not ended and len(pictures) <= steps:
        action = np.asarray(act(np.asarray(observation)[None]))[0].item()
        observation, reward, terminated, truncated, _ = env.step(action)
        total, ended = total + float(reward), terminated or truncated
        said = f"Action {names[action] if names else action}: reward {reward:.3g}, return {total:.3g}."
        said += " The episode has ended." if terminated else " The time is up." if truncated else ""
        pictures.append(env.render())
        captions.append(said)
    return frames(pictures, captions)
