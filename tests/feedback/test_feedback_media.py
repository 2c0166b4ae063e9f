"""Pictures and sounds survive as data URIs, hostile ones are refused, and styles are those of CSS."""

import base64
import io
import struct
import wave
import zlib

import numpy as np
import pytest
from PIL import Image

from mmbook.feedback.media import (
    PIXELS,
    decode_picture,
    encoded_uri,
    picture_uri,
    restyle,
    sound_uri,
)
from mmbook.feedback.records import form_of
from mmbook.world import render, sample_scenes


def uri(image, form="png", **how):
    file = io.BytesIO()
    image.save(file, form, **how)
    return f"data:image/{form};base64," + base64.b64encode(file.getvalue()).decode()


def png(width, height, *, data=b""):
    """A PNG that says it is so large, with other contents than that."""
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(data)),
        (b"IEND", b""),
    )
    parts = [struct.pack(">I", len(x)) + n + x + struct.pack(">I", zlib.crc32(n + x)) for n, x in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def test_every_pixel_comes_back_and_a_palette_is_close():
    pixels = np.random.default_rng(0).integers(0, 256, (7, 13, 3), dtype=np.uint8)
    assert (decode_picture(picture_uri(pixels, colours=0)) == pixels).all()
    scene = render(sample_scenes(1, 0), 240)[0]
    few = picture_uri(scene)
    assert (
        abs(decode_picture(few) - scene.astype(float)).mean() < 2 and form_of([{"picture": few}]) == "picture"
    )
    assert len(few) < len(picture_uri(scene, colours=0)) / 2
    for wrong in (pixels.astype(float), pixels[0], pixels[:0], pixels[..., :2]):
        with pytest.raises(ValueError, match=r"expected uint8 \(H, W, 3\)"):
            picture_uri(wrong)


def test_a_picture_is_decoded_as_a_browser_shows_it():
    red = Image.new("RGB", (4, 2), "red")
    assert (decode_picture(uri(red, "webp", lossless=True)) == (255, 0, 0)).all()
    assert abs(decode_picture(uri(red, "jpeg")).astype(int) - (255, 0, 0)).max() < 5
    assert (decode_picture(uri(Image.new("RGBA", (4, 2), (0, 0, 0, 0)))) == 255).all()
    assert (decode_picture(uri(red.quantize(2))) == (255, 0, 0)).all()
    assert (decode_picture(uri(Image.new("1", (4, 2), 1))) == 255).all()
    deep = np.full((2, 4), 0x80FF, np.uint16)
    assert (decode_picture(uri(Image.fromarray(deep))) == 0x80).all()
    turned = Image.Exif()
    turned[0x0112] = 6  # to be turned by a quarter
    assert decode_picture(uri(red, "jpeg", exif=turned)).shape == (4, 2, 3)


def test_what_is_no_picture_is_refused_with_what_was_expected():
    good = picture_uri(np.zeros((9, 9, 3), np.uint8))
    encoded = base64.b64decode(good.partition(",")[2])
    wrong = [
        "",
        "cat.png",
        "https://example.org/cat.png",
        "data:text/html;base64,AAAA",
        "data:image/png,AAAA",
        good[:60],
        good + "é",
        good.replace("iVBOR", "AAAAA"),
        "data:image/png;base64," + base64.b64encode(b"<svg onload='alert(1)'/>").decode(),
        uri(Image.new("RGB", (4, 4)), "gif"),
        "data:image/png;base64," + base64.b64encode(png(PIXELS, 2)).decode(),
        "data:image/png;base64," + base64.b64encode(png(9, 9, data=b"\0" * 9)).decode(),
    ]
    for text in wrong:
        with pytest.raises(ValueError, match=r"picture: expected .* PNG, JPEG or WebP"):
            decode_picture(text)
    rng = np.random.default_rng(0)
    for _ in range(500):
        broken = bytearray(encoded)
        for at in rng.integers(len(broken), size=3):
            broken[at] = rng.integers(256)
        try:
            assert decode_picture("data:image/png;base64," + base64.b64encode(broken).decode()).shape[2] == 3
        except ValueError as error:
            assert "expected" in str(error)
    assert encoded_uri(encoded) == good
    with pytest.raises(ValueError, match="7 bytes that are none"):
        encoded_uri(b"no file")


def test_a_sound_is_what_the_samples_say():
    samples = np.sin(np.arange(800) / 5)
    text = sound_uri(2 * samples, 8000)
    assert form_of([{"sound": text}]) == "sound"
    with wave.open(io.BytesIO(base64.b64decode(text.partition(",")[2]))) as file:
        assert file.getparams()[:4] == (1, 2, 8000, 800)
        heard = np.frombuffer(file.readframes(800), "<i2") / 32767
    assert abs(heard - (2 * samples).clip(-1, 1)).max() < 1e-4
    for wrong in (samples[None], samples * np.nan):
        with pytest.raises(ValueError, match="expected finite samples"):
            sound_uri(wrong, 8000)
    with pytest.raises(ValueError, match="rate"):
        sound_uri(samples, 0)


def test_styles_are_those_of_css():
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    assert (restyle(pixels) == pixels).all()
    colours = np.array([[[255, 0, 0], [100, 150, 200], [0, 0, 0], [255, 255, 255]]], np.uint8)
    assert restyle(colours, saturation=0.5)[0, 0].tolist() == [155, 27, 27]  # #9b1b1b in every browser
    assert restyle(colours, brightness=2)[0, 1].tolist() == [200, 255, 255]
    assert restyle(colours, contrast=0.5)[0].tolist()[2:] == [[64, 64, 64], [191, 191, 191]]
    grey = restyle(pixels, saturation=0)
    assert (grey == grey[..., :1]).all()
    bright = restyle(pixels, brightness=4)
    assert (restyle(pixels, 4, 0.5) == restyle(bright, contrast=0.5)).all()  # cut off after each
    in_turn = restyle(restyle(restyle(pixels, 1.3), contrast=0.7), saturation=1.8)
    assert abs(restyle(pixels, 1.3, 0.7, 1.8).astype(int) - in_turn).max() <= 3  # but for rounding
