"""A picture as an address that a page can hold: made anew from its pixels, never passed through."""

from __future__ import annotations

import base64
from io import BytesIO

from harness.core.errors import SampleError
from harness.core.images import ImageRef

SIZE = (480, 360)
QUALITY = 70
"""Of WebP: some 10 KB a picture; a page has a handful."""


def address(image: ImageRef) -> str:
    """A data address of the picture; empty where it cannot be decoded."""
    from PIL import Image

    try:
        picture = image.decode()
    except SampleError:
        return ""
    picture.thumbnail(SIZE, Image.Resampling.LANCZOS)
    data = BytesIO()
    picture.save(data, "WEBP", quality=QUALITY, method=4)
    return f"data:image/webp;base64,{base64.b64encode(data.getvalue()).decode()}"
