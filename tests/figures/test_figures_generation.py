"""Galleries of pictures: what they show, what they say of it, and what they refuse."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from mmbook.figures.generation import gallery
from mmbook.world import render, sample_scenes

PICTURES = render(sample_scenes(4, 0))


def test_it_says_rows_and_captions_and_draws_the_same_bytes():
    figure = gallery({"drawn": PICTURES, "painted": PICTURES[::-1]}, ["a cat.", "a dog.", "a bus.", "a key."])
    assert figure.alt == "Pictures in rows: drawn, painted; asked for: a cat. | a dog. | a bus. | a key."
    again = gallery({"drawn": PICTURES, "painted": PICTURES[::-1]}, ["a cat.", "a dog.", "a bus.", "a key."])
    assert figure.data() == again.data()


def test_every_picture_stands_in_its_place():
    colours = [(200, 30, 30), (30, 160, 30), (30, 30, 200)]
    flat = np.stack([np.full((48, 48, 3), c, np.uint8) for c in colours])
    with Image.open(io.BytesIO(gallery({"a": flat, "b": flat[::-1]}).data())) as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    centre = [[np.argwhere((np.abs(pixels - c).max(-1) < 3)[half]).mean(0)[1] for c in colours]
              for half in (slice(0, len(pixels) // 2), slice(len(pixels) // 2, None))]  # fmt: skip
    assert centre[0] == sorted(centre[0]) and centre[1] == sorted(centre[1], reverse=True)


def test_uneven_rows_and_missing_captions_are_refused():
    with pytest.raises(ValueError, match="equally many pictures in each"):
        gallery({"a": PICTURES, "b": PICTURES[:2]})
    with pytest.raises(ValueError, match="equally many pictures in each"):
        gallery({"a": PICTURES[:0]})
    with pytest.raises(ValueError, match="and captions"):
        gallery({"a": PICTURES}, ["one"])
