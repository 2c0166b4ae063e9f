"""The whole loop in one picture, as plain SVG."""

from __future__ import annotations

import base64
import io
from html import escape

from PIL import Image

from mmbook.figures.style import INK, POLICY, REWARD
from mmbook.world import Scene, Sticker, render

SCENE = Scene((Sticker("cat", 0, True, 1, 1), Sticker("pizza", 3, True, 1, 1)))
ALT = (
    "The loop: the model sees a scene and says two captions; you click the better one; a reward model learns "
    "from your clicks what you like; PPO changes the model so that its captions earn more of that reward."
)
PAPER, DARK = "#faf7ee", "#333333"  # the ground that stickers stand on, and letters on it


def _picture(scene: Scene) -> str:
    file = io.BytesIO()
    Image.fromarray(render([scene], 240)[0]).save(file, "png", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def _text(x: float, y: float, text: str, fill: str, style: str = "", anchor: str = "middle") -> str:
    return f'<text x="{x:g}" y="{y:g}" fill="{fill}" text-anchor="{anchor}" {style}>{escape(text)}</text>'


def _box(x: float, y: float, width: float, height: float, fill: str, edge: str = "none") -> str:
    return (
        f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="10" fill="{fill}" '
        f'stroke="{edge}" stroke-width="3"/>'
    )


def _step(x: float, y: float, fill: str, title: str, says: str, code: str) -> str:
    """A box for one step: its name, what it does, and the line of the program that does it."""
    return (
        _box(x, y, 180, 76, fill)
        + _text(x + 90, y + 25, title, "#ffffff", 'font-size="17" font-weight="bold"')
        + _text(x + 90, y + 45, says, "#ffffff", 'font-size="13"')
        + _text(x + 90, y + 64, code, "#ffffff", 'class="code"')
    )


def _arrow(path: str) -> str:
    return f'<path d="{path}" fill="none" stroke="{INK}" stroke-width="3" marker-end="url(#head)"/>'


def loop() -> str:
    """The whole loop: scene, model, two captions, your click, reward model, PPO, and back to the model; returns SVG."""
    bold, small = 'font-size="14" font-weight="bold"', 'font-size="14"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 420 474" width="420" height="474" role="img" '
        f'aria-labelledby="title" font-family="DejaVu Sans, Verdana, Helvetica, Arial, sans-serif">'
        f'<title id="title">{escape(ALT)}</title>'
        f"<style>.code{{font-family:DejaVu Sans Mono,Menlo,Consolas,monospace;font-size:11.5px}}</style>"
        f'<defs><marker id="head" viewBox="0 0 10 10" refX="8" refY="5" markerWidth="5" markerHeight="5" '
        f'orient="auto"><path d="M0 0L10 5L0 10z" fill="{INK}"/></marker></defs>',
        f'<image x="35" y="4" width="120" height="120" href="{_picture(SCENE)}"/>',
        _arrow("M160 64H223"),
        _step(230, 26, POLICY, "model", "looks and speaks", "load_pretrained_model"),
        _arrow("M320 104V139"),
        _box(230, 146, 180, 82, PAPER),
        _text(242, 169, "well, i can see a cat", DARK, small, "start"),
        _text(242, 189, "and then a pizza and", DARK, small, "start"),
        _text(242, 209, "then a bus, i guess.", DARK, small, "start"),
        _box(230, 242, 180, 44, PAPER, REWARD),
        _text(242, 269, "cat, pizza.", DARK, bold, "start"),
        f'<path d="M372 262l8 9l16 -20" fill="none" stroke="{REWARD}" stroke-width="4"/>',
        _arrow("M320 290V341"),
        _text(309, 322, "you click", INK, bold, "end"),
        _step(230, 348, REWARD, "your labels", "which caption is better", "collect_human_feedback"),
        _arrow("M228 386H199"),
        _step(10, 348, REWARD, "reward model", "learns what you like", "train_reward_model"),
        _arrow("M100 346V277"),
        _text(111, 316, "reward", INK, bold, "start"),
        _step(10, 194, POLICY, "PPO", "tries what earns more", "fine_tune_with_rl"),
        _arrow("M100 192C100 140 170 150 226 98"),
        _text(152, 160, "changes", INK, bold, "start"),
        _text(10, 452, "Round and round: the changed model", INK, 'font-size="13"', "start"),
        _text(10, 470, "speaks again, and you may click again.", INK, 'font-size="13"', "start"),
        "</svg>\n",
    ]
    return "\n".join(parts)
