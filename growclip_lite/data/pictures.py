"""Reading one picture: whatever a user has on disk becomes (3, S, S) uint8."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

# More pixels than most cameras give, and still within memory; a small broken file may claim billions.
MAX_PIXELS = 80_000_000

# The usual full scales of pictures whose pixels are numbers without a declared range.
INTEGER_SCALES = (255, 65535)
FLOAT_SCALES = (1, 255, 65535)


def to_pixels(picture: Image.Image, size: int) -> np.ndarray:
    """Any PIL picture as (3, size, size) uint8: upright, RGB on white, short side resized, centre cropped.

    Raises `ValueError` for the rare colour modes that PIL cannot convert to RGB.
    """
    rgb = _to_rgb(ImageOps.exif_transpose(picture))
    # `fit` crops the centre square and resizes it in one go: an extremely long picture costs no memory.
    square = ImageOps.fit(rgb, (size, size), Image.Resampling.BICUBIC)
    return np.ascontiguousarray(np.asarray(square).transpose(2, 0, 1))


def read_picture(source: Path | bytes, size: int) -> np.ndarray:
    """Decodes a picture file, or its bytes, to (3, size, size) uint8.

    Raises `ValueError` with a short reason for anything missing, broken, truncated or too large.
    """
    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise ValueError(f"{picture.width} x {picture.height} pixels are too many")
            # Lets the JPEG decoder skip detail that the resizing would throw away; other formats ignore it.
            picture.draft("RGB", (2 * size, 2 * size))
            return to_pixels(picture, size)
    except UnidentifiedImageError:
        raise ValueError("not a picture in a known format") from None
    except OSError as error:
        raise ValueError(error.strerror or str(error)) from error
    except Exception as error:  # Decoders meet broken bytes with almost any exception.
        raise ValueError(f"cannot be decoded ({error})") from error


def _to_rgb(picture: Image.Image) -> Image.Image:
    """The picture in mode RGB: deep pixels scaled to 8 bits, transparency on white."""
    if picture.mode.startswith("I;16"):
        picture = _scale(np.asarray(picture), (65535,))
    elif picture.mode == "I":
        picture = _scale(np.asarray(picture), INTEGER_SCALES)
    elif picture.mode == "F":
        picture = _scale(np.asarray(picture), FLOAT_SCALES)
    elif picture.has_transparency_data:
        picture = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")
    return picture.convert("RGB")


def _scale(values: np.ndarray, scales: tuple[int, ...]) -> Image.Image:
    """(H, W) numbers as an 8-bit grey picture; full scale is the smallest of `scales` that holds them all."""
    values = np.nan_to_num(values.astype(np.float64)).clip(min=0)
    full = next((scale for scale in scales if values.max() <= scale), values.max())
    return Image.fromarray((values * 255 / full).round().astype(np.uint8))
