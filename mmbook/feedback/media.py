"""Pictures and sounds as data URIs, which a record can hold, and the style controls of a picture."""

from __future__ import annotations

import base64
import binascii
import io
import wave

import numpy as np
from PIL import Image, ImageOps

PIXELS = 1 << 24  # of a picture that is decoded: 4096 x 4096
ENCODED = 1 << 26  # characters of its data URI


def _uri(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def picture_uri(pixels: np.ndarray, colours: int = 64) -> str:
    """A picture, uint8 (H, W, 3), as the data URI of a PNG with a palette of `colours`; 0 keeps every pixel.

    Raises ValueError for pixels of another shape or type.
    """
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        raise ValueError(f"pixels: expected uint8 (H, W, 3), got {pixels.dtype} {pixels.shape}")
    image, file = Image.fromarray(pixels), io.BytesIO()
    if colours:
        image = image.quantize(colours, dither=Image.Dither.NONE)
    image.save(file, "PNG", optimize=True)
    return _uri("image/png", file.getvalue())


def decode_picture(uri: str) -> np.ndarray:
    """The picture of a data URI as a browser shows it on white, uint8 (H, W, 3).

    Raises ValueError for what is no PNG, JPEG or WebP picture, or one of more than `PIXELS` pixels.
    """
    expected = "picture: expected a data URI of a PNG, JPEG or WebP picture"
    head, _, data = uri[:ENCODED].partition(";base64,")
    if not head.startswith("data:image/") or len(uri) > ENCODED:
        raise ValueError(f"{expected} of at most {ENCODED} characters, got {len(uri)}: {uri[:40]!r}")
    try:
        encoded = base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"{expected}, got text that is no base64 ({error})") from None
    return _decode(encoded)[0]


def encoded_uri(encoded: bytes) -> str:
    """The bytes of a PNG, JPEG or WebP file as a data URI. Raises ValueError, as `decode_picture` does."""
    return _uri(f"image/{_decode(encoded)[1]}", encoded)


def _decode(encoded: bytes) -> tuple[np.ndarray, str]:
    """Pixels and format of a picture in a file."""
    try:
        with Image.open(io.BytesIO(encoded), formats=("PNG", "JPEG", "WEBP")) as image:
            if image.width * image.height > PIXELS:
                raise ValueError(f"{image.width} x {image.height} pixels are more than {PIXELS}")
            return from_image(image), str(image.format).lower()
    except Exception as error:  # decoders raise whatever they please when a file is broken
        expected = "picture: expected a PNG, JPEG or WebP file"
        raise ValueError(f"{expected}, got {len(encoded)} bytes that are none ({error})") from None


def from_image(image: Image.Image) -> np.ndarray:
    """A Pillow picture as uint8 (H, W, 3): upright, without alpha, on white."""
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):  # 16 bits of grey
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    image = image.convert("RGBA")
    return np.array(Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB"))


def sound_uri(samples: np.ndarray, rate: int) -> str:
    """Samples (T,) from -1 to 1, cut off beyond, as the data URI of a 16-bit mono WAV file.

    Raises ValueError for samples of another shape, or ones that are no finite numbers.
    """
    samples = np.asarray(samples, dtype=np.float64)
    if samples.ndim != 1 or not np.isfinite(samples).all() or rate <= 0:
        raise ValueError(f"sound: expected finite samples (T,) and a rate, got {samples.shape} at {rate!r}")
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(rate)
        out.writeframes(np.round(32767 * samples.clip(-1, 1)).astype("<i2").tobytes())
    return _uri("audio/wav", file.getvalue())


def restyle(
    pixels: np.ndarray, brightness: float = 1, contrast: float = 1, saturation: float = 1
) -> np.ndarray:
    """A picture, uint8 (H, W, 3), under the CSS filters brightness(), contrast() and saturate(), in order.

    On sRGB values, cut off at 0 and 1 after each. Source: W3C, Filter Effects Module Level 1.
    """
    x = pixels / 255
    x = (brightness * x).clip(0, 1)
    x = (contrast * (x - 0.5) + 0.5).clip(0, 1)
    grey = np.array([0.213, 0.715, 0.072])  # the luminance coefficients of the saturate() matrix
    x = (x @ grey)[..., None] * (1 - saturation) + x * saturation
    return np.round(255 * x.clip(0, 1)).astype(np.uint8)
