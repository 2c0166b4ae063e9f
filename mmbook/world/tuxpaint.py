"""Tux Paint's stamps: real pictures, captions in some seventy languages, and people who read them aloud."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from mmbook.world.fetch import present
from mmbook.world.sheets import rasterise, read_sheet, write_sheet

TILE = 128  # pixels


@dataclass(frozen=True)
class Stamp:
    """One picture with its captions and recordings, each by language code ("en", "es", "zh_CN", ...)."""

    name: str  # its path in the package, without an ending
    captions: dict[str, str]
    spoken: dict[str, Path]  # a person says the caption; for `speech.read_sound`
    effect: Path | None  # the sound of what is in the picture

    @property
    def caption(self) -> str:
        """The English caption."""
        return self.captions["en"]

    @property
    def category(self) -> str:
        """The first folder: animals, food, vehicles, ..."""
        return self.name.split("/")[0]


def read_stamps(folder: Path | None = None) -> list[Stamp]:
    """All stamps, by name. Raises FileNotFoundError when they were not fetched."""
    folder = present("tuxpaint", folder)
    stamps = []
    for row in json.loads((folder / "stamps.json").read_text(encoding="utf-8")):
        spoken = {language: folder / path for language, path in row["spoken"].items()}
        effect = folder / row["effect"] if row["effect"] else None
        stamps.append(Stamp(row["name"], row["captions"], spoken, effect))
    return stamps


def stamp_pictures(size: int = 96, folder: Path | None = None) -> np.ndarray:
    """The pictures of all stamps on white, uint8 (N, size, size, 3).

    Raises ValueError for a size over 128, FileNotFoundError when they were not fetched.
    """
    folder = present("tuxpaint", folder)
    n = len(json.loads((folder / "stamps.json").read_text(encoding="utf-8")))
    return read_sheet(folder / "stamps.png", n, size)


def read_captions(text: str) -> dict[str, str]:
    """Captions by language of a stamp's text: English first, then lines `language.utf8=caption`."""
    english, *others = text.splitlines() or [""]
    captions = {"en": english} | {
        language: caption for language, mark, caption in (line.partition(".utf8=") for line in others) if mark
    }
    return {language.strip(): caption.strip() for language, caption in captions.items() if caption.strip()}


def sort(package: Path, folder: Path) -> None:
    """Keep of the package what is read here: pictures with a caption of their own, and no letters."""
    rows: dict[str, dict[str, object]] = {}
    pictures = []
    for path in sorted(package.rglob("*.txt")):
        captions = read_captions(path.read_text(encoding="utf-8", errors="replace"))
        if "alphabets" in path.parts or "en" not in captions or captions["en"] in rows:
            continue
        try:
            if path.with_suffix(".png").is_file():
                picture = Image.open(path.with_suffix(".png")).convert("RGBA")
            elif path.with_suffix(".svg").is_file():
                picture = rasterise(path.with_suffix(".svg").read_text(encoding="utf-8"), TILE)
            else:
                continue
        except ValueError:  # drawings that state no size
            continue
        picture.thumbnail((TILE, TILE), Image.Resampling.LANCZOS)
        pictures.append(picture)
        name = path.relative_to(package).with_suffix("").as_posix()
        spoken = {}
        for clip in sorted(path.parent.glob(f"{path.stem}_desc*.ogg")):
            language = clip.stem.removeprefix(f"{path.stem}_desc").lstrip("_") or "en"
            spoken[language] = f"sounds/{clip.relative_to(package).as_posix()}"
        effect = f"sounds/{name}.ogg" if path.with_suffix(".ogg").is_file() else ""
        rows[captions["en"]] = {"name": name, "captions": captions, "spoken": spoken, "effect": effect}
    (folder / "stamps.json").write_text(json.dumps([*rows.values()], ensure_ascii=False), encoding="utf-8")
    write_sheet(pictures, TILE, folder / "stamps.png")
    for path in [path for path in package.rglob("*") if path.suffix in (".png", ".svg", ".txt")]:
        path.unlink()
    (package / "copyright").rename(folder / "copyright")
    package.rename(folder / "sounds")
