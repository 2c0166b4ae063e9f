"""The whole loop in one picture: plain SVG, drawn in `loop.svg.txt`."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from string import Template

from PIL import Image

from mmbook.figures.style import INK, POLICY, REWARD
from mmbook.world import Scene, Sticker, render

SCENE = Scene((Sticker("cat", 0, True, 1, 1), Sticker("pizza", 3, True, 1, 1)))
ALT = (
    "The loop: the model sees a scene and says two captions; you click the better one; a reward model learns "
    "from your clicks what you like; PPO changes the model so that its captions earn more of that reward."
)
PAPER, LETTERS = "#faf7ee", "#333333"  # the ground that stickers stand on, and writing on it


def loop() -> str:
    """The whole loop, from the scene through your click back to the model, as SVG."""
    file = io.BytesIO()
    Image.fromarray(render([SCENE], 240)[0]).save(file, "png", optimize=True)
    picture = "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
    template = Template(Path(__file__).with_name("loop.svg.txt").read_text(encoding="utf-8"))
    colours = {"policy": POLICY, "reward": REWARD, "ink": INK, "paper": PAPER, "letters": LETTERS}
    return template.substitute(colours, alt=ALT, picture=picture)
