"""Decode pictures into RGB, upright. This module alone knows which picture files are accepted, and
how their transparent parts are treated.

The bytes are untrusted: the size in the header is checked before anything is decoded, only the
formats named here are tried (none of them runs another program, as EPS would), and every refusal is
a `SampleError` that names the picture and the reason.
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from io import BytesIO
from typing import TYPE_CHECKING, Literal

from harness.core.errors import SampleError

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF", "PPM")
MAX_PIXELS = 64 * 1024 * 1024
"""Width times height; 8192 x 8192, or 192 MiB once decoded. Below Pillow's own warning level."""

MAX_ASPECT = 100
"""The longer side over the shorter one. A processor that scales the shorter side to 336 pixels
would make 1.7 million of the longer side of 1 x 5000."""
Transparency = Literal["blend", "drop"]
"""blend: on white, as browsers and chat programs show a picture; drop: the colours below are kept,
as `convert("RGB")` in the published preprocessing of ScienceQA does."""

_ORIENTATION = 0x0112
"""The EXIF tag; its values 2 to 8 are turns and mirrorings, 1 is upright."""


@dataclass(frozen=True, slots=True)
class ImageRef:
    """One picture of a sample; its bytes are read, and decoded, only when needed."""

    label: str
    """What an error message calls it: a path within the data folder, or a row and a field."""
    read: Callable[[], bytes]
    """Returns the encoded file; raises SampleError where it cannot be read."""
    transparency: Transparency = "blend"
    """How its transparent parts are treated."""
    state: Callable[[], str] | None = None
    """Returns a text that changes whenever the bytes do, without reading them; "" where only
    reading tells, as None always does."""
    number: int = 0
    """What the question calls it: 3 for `<image 3>`; 0: its place among the pictures, from 1."""

    def digest(self) -> str:
        """The sha256 of the encoded bytes, in hex; raises SampleError."""
        return sha256(self.read()).hexdigest()

    def expecting(self, digest: str) -> ImageRef:
        """The same picture, whose read fails if the bytes have another digest; "": the digest of a
        picture that could not be read."""
        return replace(self, read=partial(_read_expected, self, digest))

    def decode(self) -> Image:
        """The picture in RGB, upright; raises SampleError."""
        return decode(self.read(), label=self.label, transparency=self.transparency)


def _read_expected(image: ImageRef, digest: str) -> bytes:
    data = image.read()
    if sha256(data).hexdigest() != digest:
        raise SampleError(f"{image.label}: the picture has changed since the run began")
    return data


def decode(data: bytes, *, label: str, transparency: Transparency = "blend") -> Image:
    """The picture in mode RGB, turned upright by its EXIF orientation.

    Every Pillow mode is taken. 16-bit greys are scaled from 0 .. 65535, floats from 0 .. 1; 32-bit
    integers and floats beyond that range are stretched from their own minimum to their own maximum.
    Of an animation or of several pages, the first is taken.

    Args:
        data: the encoded file.
        label: what the error calls it.
        transparency: how transparent parts are treated.

    Raises:
        SampleError: not one of `FORMATS`, more than `MAX_PIXELS`, sides too unequal, cut short or
            otherwise broken.
    """
    with _refusals(label, data):
        image = _opened(data, label)
        return _upright(_rgb(image, transparency), _orientation(image))


def flat_by_transparency(data: bytes, *, label: str, transparency: Transparency) -> bool | None:
    """Whether a picture with transparent parts becomes one flat colour; None: it has no such parts.

    Black lines on a clear ground do where transparency is dropped, white ones where it is blended
    on white. Raises SampleError as `decode` does.
    """
    with _refusals(label, data):
        image = _opened(data, label)
        if not _is_transparent(image):
            return None
        return all(low == high for low, high in _rgb(image, transparency).getextrema())  # type: ignore[misc]


def _is_transparent(image: Image) -> bool:
    """Whether any part of it is; a channel of alpha alone makes no picture transparent."""
    if image.mode.startswith("I"):
        clear = _clear_level(image)
        return clear is not None and clear.getbbox() is not None
    if not _has_alpha(image):
        return False
    lowest: int = _rgba(image).getchannel("A").getextrema()[0]  # type: ignore[assignment]
    return lowest < 255


def _opened(data: bytes, label: str) -> Image:
    """The picture with its header read and no pixel decoded; raises SampleError for its size."""
    from PIL import Image

    image = Image.open(BytesIO(data), formats=FORMATS)
    if image.width * image.height > MAX_PIXELS:
        raise SampleError(_too_large(label, f"{image.width} x {image.height} pixels"))
    if max(image.size) > MAX_ASPECT * min(image.size):
        raise SampleError(
            f"{label}: {image.width} x {image.height} pixels: the longer side is more than "
            f"{MAX_ASPECT} times the shorter one"
        )
    return image


@contextlib.contextmanager
def _refusals(label: str, data: bytes) -> Iterator[None]:
    """Turn what Pillow raises into a SampleError that names the picture."""
    from PIL import Image, UnidentifiedImageError

    try:
        yield
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


def _rgb(image: Image, transparency: Transparency) -> Image:
    if image.mode.startswith("I"):  # I;16 and its byte orders; I also holds 16 bits, read from PPM
        grey = _from_levels(image, usual_high=65535)
        if transparency == "blend" and (clear := _clear_level(image)):
            grey.paste("white", mask=clear)
        return grey
    if image.mode == "F":
        return _from_levels(image, usual_high=1)
    if transparency == "blend" and _has_alpha(image):
        from PIL.Image import new

        ground, above = new("RGB", image.size, "white"), _rgba(image)
        ground.paste(above, mask=above)
        return ground
    # Pillow warns about a palette with graded transparency, which is dropped in any case.
    image.info.pop("transparency", None)
    return _straight(image).convert("RGB")


def _has_alpha(image: Image) -> bool:
    return image.mode in {"RGBA", "RGBa", "LA", "La", "PA"} or (
        "transparency" in image.info and image.mode in {"1", "L", "P", "RGB"}
    )


def _clear_level(image: Image) -> Image | None:
    """Where a 16-bit grey has the level that its file calls transparent, as a mask."""
    import numpy as np
    from PIL.Image import fromarray

    level = image.info.get("transparency")
    if not isinstance(level, int):
        return None
    return fromarray(np.where(np.asarray(image) == level, 255, 0).astype(np.uint8))


def _rgba(image: Image) -> Image:
    image = _straight(image)
    return image if image.mode == "RGBA" else image.convert("RGBA")


def _straight(image: Image) -> Image:
    """Premultiplied alpha has no direct way to RGB."""
    return image.convert(image.mode.upper()) if image.mode in {"La", "RGBa"} else image


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
