"""Encoded pictures into RGB, upright. This module alone knows which picture files are accepted.

The bytes are untrusted: the size in the header is checked before anything is decoded, only the
formats named here are tried (none of them runs another program, as EPS would), and every refusal is
a `SampleError` that names the picture and the reason.
"""

from __future__ import annotations

import struct
from io import BytesIO
from typing import TYPE_CHECKING

from harness.errors import SampleError

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF", "PPM")
MAX_PIXELS = 64 * 1024 * 1024
"""Width times height; 8192 x 8192, or 192 MiB once decoded. Below Pillow's own warning level."""

_ORIENTATION = 0x0112
"""The EXIF tag; its values 2 to 8 are turns and mirrorings, 1 is upright."""


def decode(data: bytes, *, label: str) -> Image:
    """The picture in mode RGB, turned upright by its EXIF orientation.

    Every Pillow mode is taken. 16-bit greys are scaled from 0 .. 65535, floats from 0 .. 1; 32-bit
    integers and floats beyond that range are stretched from their own minimum to their own maximum.
    Transparency is dropped, not blended: the colours below it are kept, as `convert("RGB")` does in
    the published preprocessing of ScienceQA. Of an animation or of several pages, the first is
    taken.

    Args:
        data: the encoded file.
        label: what the error calls it.

    Raises:
        SampleError: not one of `FORMATS`, more than `MAX_PIXELS`, cut short or otherwise broken.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        # Opening reads the header only; pixels are decoded by _rgb, behind the check of the size.
        image = Image.open(BytesIO(data), formats=FORMATS)
        if image.width * image.height > MAX_PIXELS:
            raise SampleError(_too_large(label, f"{image.width} x {image.height} pixels"))
        return _upright(_rgb(image), _orientation(image))
    except UnidentifiedImageError:
        raise SampleError(
            f"{label}: not a picture in one of the formats {', '.join(FORMATS)}"
            f"{'' if data else ' (the file is empty)'}"
        ) from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise SampleError(_too_large(label, "its number of pixels")) from error
    except _BROKEN as error:
        raise SampleError(f"{label}: cannot be decoded: {error}") from error


# What Pillow's decoders raise on broken files, the format's own checks and slips alike.
_BROKEN = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    MemoryError,
    struct.error,
)


def _too_large(label: str, found: str) -> str:
    return f"{label}: {found} is more than the {MAX_PIXELS:,} that are decoded"


def _rgb(image: Image) -> Image:
    if image.mode.startswith("I"):  # I;16 and its byte orders; I also holds 16 bits, read from PPM
        return _from_levels(image, usual_high=65535)
    if image.mode == "F":
        return _from_levels(image, usual_high=1)
    # Pillow warns about a palette with graded transparency, which is dropped in any case.
    image.info.pop("transparency", None)
    if image.mode in {"La", "RGBa"}:
        image = image.convert(image.mode.upper())  # premultiplied alpha has no direct way to RGB
    return image.convert("RGB")


def _from_levels(image: Image, *, usual_high: float) -> Image:
    """Grey levels as 0 .. 255: from 0 .. `usual_high` if they fit in it, else from their range."""
    import numpy as np
    from PIL.Image import fromarray

    levels = np.asarray(image, dtype=np.float32)  # (height, width)
    low, high = float(levels.min()), float(levels.max())
    if not np.isfinite([low, high]).all():
        raise ValueError("its levels are not all finite numbers")
    if low >= 0 and high <= usual_high:
        low, high = 0, usual_high
    scaled = np.rint((levels - low) * (255 / max(high - low, 1e-12)))
    return fromarray(scaled.clip(0, 255).astype(np.uint8)).convert("RGB")


def _orientation(image: Image) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except _BROKEN:
        return 1  # EXIF data that cannot be read says nothing about the pixels


def _upright(image: Image, orientation: int) -> Image:
    from PIL.Image import Transpose

    turn = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }.get(orientation)
    return image if turn is None else image.transpose(turn)
