"""Tux Paint's stamps: sorted from a small package written here, and, where fetched, their known counts."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from mmbook.world.fetch import fetched
from mmbook.world.speech import RATE, read_sound
from mmbook.world.tuxpaint import read_captions, read_stamps, sort, stamp_pictures

needs_tuxpaint = pytest.mark.skipif(
    not fetched("tuxpaint").is_dir(), reason="the stamps were not fetched: python -m mmbook fetch tuxpaint"
)
SVG = '<svg xmlns="http://www.w3.org/2000/svg" {}><rect width="10" height="10" fill="#0000ff"/></svg>'


@pytest.fixture
def folder(tmp_path):
    pytest.importorskip("resvg_py")
    package = tmp_path / "package"
    for name in ("animals/cats", "symbols/alphabets/english", "food"):
        (package / name).mkdir(parents=True)
    captions = {
        "animals/cats/cat": "A cat.\nes.utf8=Un gato.\nfr.utf8=\nzh_CN.utf8=一只猫。\nnonsense\n",
        "animals/cats/cat2": "A cat.\nes.utf8=Otro gato.\n",
        "animals/cats/lost": "A lost picture.\n",
        "animals/empty": "\n",
        "food/apple": "An apple.\n",
        "food/bare": "A drawing without a size.\n",
        "symbols/alphabets/english/a": "The letter A.\n",
    }
    for name, text in captions.items():
        (package / f"{name}.txt").write_text(text, encoding="utf-8")
        if name not in ("food/apple", "food/bare", "animals/cats/lost"):
            picture = Image.new("RGBA", (40, 20), (255, 0, 0, 255))
            picture.putalpha(Image.new("L", (40, 20), 128))
            picture.save(package / f"{name}.png")
    (package / "food" / "apple.svg").write_text(SVG.format('width="10" height="10"'))
    (package / "food" / "bare.svg").write_text(SVG.format('width="0" height="0"'))
    sounds = ("cat", "cat_desc", "cat_desc_es", "cat_desc_zh_CN", "cat2_desc_es", "lost")
    for name in sounds:
        (package / "animals" / "cats" / f"{name}.ogg").write_text(name)
    (package / "copyright").write_text("License: GPL-2")
    (tmp_path / "out").mkdir()
    sort(package, tmp_path / "out")
    return tmp_path / "out"


def test_one_stamp_for_each_caption_and_none_for_letters(folder):
    stamps = read_stamps(folder)
    assert [(s.name, s.category, s.caption) for s in stamps] == [
        ("animals/cats/cat", "animals", "A cat."),
        ("food/apple", "food", "An apple."),
    ]
    assert stamps[0].captions == {"en": "A cat.", "es": "Un gato.", "zh_CN": "一只猫。"}
    spoken = {language: path.read_text() for language, path in stamps[0].spoken.items()}
    assert spoken == {"en": "cat_desc", "es": "cat_desc_es", "zh_CN": "cat_desc_zh_CN"}
    assert stamps[0].effect.read_text() == "cat" and stamps[1].effect is None and stamps[1].spoken == {}
    assert (folder / "copyright").read_text() == "License: GPL-2"
    assert not [path for path in folder.rglob("*") if path.suffix in (".txt", ".svg")]


def test_pictures_stand_whole_on_white(folder):
    pictures = stamp_pictures(128, folder)
    assert pictures.shape == (2, 128, 128, 3) and pictures.dtype == np.uint8
    assert np.abs(pictures[0, 33:95].astype(int) - (255, 127, 127)).max() <= 1  # half transparent red
    assert (pictures[0, :31] == 255).all() and (pictures[0, 97:] == 255).all()
    assert (pictures[1] == (0, 0, 255)).all()
    assert stamp_pictures(folder=folder).shape == (2, 96, 96, 3)
    with pytest.raises(ValueError, match="size: expected 1 to 128 pixels, got 200"):
        stamp_pictures(200, folder)


def test_captions_of_an_empty_text_are_none():
    assert read_captions("") == {} and read_captions("A.\nca@valencia.utf8= B. ")["ca@valencia"] == "B."


def test_what_was_not_fetched_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="python -m mmbook fetch tuxpaint"):
        read_stamps(tmp_path / "nowhere")


@needs_tuxpaint
def test_the_fetched_set_has_its_known_counts():
    stamps = read_stamps()
    assert len(stamps) == len({s.caption for s in stamps}) == 697
    assert len({s.category for s in stamps}) == 16
    counts = [sum(language in s.spoken for s in stamps) for language in ("fr", "es", "en")]
    assert counts == [677, 643, 62]
    assert sum("zh_CN" in s.captions for s in stamps) > 500
    assert all(path.is_file() for s in stamps for path in s.spoken.values())
    pictures = stamp_pictures(32)
    assert pictures.shape == (697, 32, 32, 3) and (pictures.min((1, 2, 3)) < 200).mean() > 0.95


@needs_tuxpaint
def test_people_speak_the_fetched_captions():
    pytest.importorskip("soundfile")
    stamps = [s for s in read_stamps() if "es" in s.spoken][::40]
    for stamp in stamps:
        wave = read_sound(stamp.spoken["es"])
        assert wave.dtype == np.float32 and wave.ndim == 1 and np.abs(wave).max() <= 1
        assert 0.3 * RATE < len(wave) < 30 * RATE and wave.std() > 0.003
