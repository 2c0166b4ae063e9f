"""Many small pictures in one file: drawn from SVG once, kept as a sheet of square tiles, read as an array."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


def plain(hexcode: str) -> str:
    """Code points in lower case without leading zeros and without the mark that asks for a picture."""
    return "-".join(p.lower().lstrip("0") for p in hexcode.split("-") if p.upper() != "FE0F")


def rasterise(svg: str, size: int) -> Image.Image:
    """Draw an SVG document `size` pixels wide, transparent. Raises ValueError when it states no size."""
    import resvg_py

    return Image.open(io.BytesIO(bytes(resvg_py.svg_to_bytes(svg_string=svg, width=size)))).convert("RGBA")


def draw_icon(icons: dict[str, Any], name: str, size: int) -> Image.Image:
    """Draw one icon of an Iconify set, transparent, in a square."""
    icon = icons["icons"].get(name) or icons["icons"][icons["aliases"][name]["parent"]]
    width, height = (icon.get(k, icons.get(k, icons.get("height", 16))) for k in ("width", "height"))
    return rasterise(
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'width="{size}" height="{size}" '
        f'viewBox="{icon.get("left", 0)} {icon.get("top", 0)} {width} {height}">{icon["body"]}</svg>',
        size,
    )


def write_sheet(pictures: Sequence[Image.Image], size: int, path: Path) -> None:
    """Write pictures as tiles of `size` pixels, each fitted in whole on white, row by row."""
    columns = math.ceil(math.sqrt(len(pictures)))
    sheet = Image.new("RGB", (columns * size, -(-len(pictures) // columns) * size), "white")
    for i, picture in enumerate(pictures):
        scale = size / max(picture.size)
        shape = [max(1, round(side * scale)) for side in picture.size]
        small = picture.convert("RGBa").resize(shape, Image.Resampling.LANCZOS).convert("RGBA")
        row, column = divmod(i, columns)
        left, top = column * size + (size - shape[0]) // 2, row * size + (size - shape[1]) // 2
        sheet.paste(small, (left, top), small)
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path, optimize=True)


def read_sheet(path: Path, n: int, size: int) -> np.ndarray:
    """The first n tiles of a sheet, uint8 (n, size, size, 3), made smaller if asked for.

    Raises ValueError for a size that is larger than the tiles.
    """
    columns = math.ceil(math.sqrt(n))
    with Image.open(path) as picture:
        pixels = np.asarray(picture.convert("RGB"))
    tile = pixels.shape[1] // columns
    if not 1 <= size <= tile:
        raise ValueError(f"size: expected 1 to {tile} pixels, got {size}")
    tiles = pixels.reshape(-1, tile, columns, tile, 3).swapaxes(1, 2).reshape(-1, tile, tile, 3)[:n]
    if size == tile:
        return tiles.copy()
    shrink = [Image.fromarray(t).resize((size, size), Image.Resampling.BOX) for t in tiles]
    return np.stack([np.asarray(picture) for picture in shrink])
