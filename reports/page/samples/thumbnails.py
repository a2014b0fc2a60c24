"""Small images of the questions, encoded again from their pixels."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from itertools import chain

from harness.core.errors import SampleError
from harness.core.images import ImageRef
from reports.inputs.material import Pictures
from reports.page.samples.groups import Group

THUMBNAIL = (128, 96)
QUALITY = 60
"""Of WebP: about 1.3 KB a picture."""


def thumbnails_of(group: Group, shown: Iterable[str], pictures: Pictures) -> dict[str, bytes]:
    """Digest -> thumbnail of each image that is found, in the order of the questions."""
    wanted: dict[str, ImageRef] = {}
    for sample_id in shown:
        for digest in chain(*group.samples[sample_id].images):
            if digest and digest not in wanted and (image := pictures.find(digest)):
                wanted[digest] = image
    with ThreadPoolExecutor() as pool:  # decoding lets other threads run
        made = pool.map(_thumbnail, wanted.values())
        images = {digest: data for digest, data in zip(wanted, made, strict=True) if data}
    for sample_id in shown:
        sample = group.samples[sample_id]
        at_hand = ([digest for digest in each if digest in images] for each in sample.images)
        sample.pictures = max(at_hand, key=len, default=[])
    return images


def _thumbnail(image: ImageRef) -> bytes:
    """The picture as a small WebP, made anew from its pixels; empty where it cannot be decoded."""
    from PIL import Image

    try:
        picture = image.decode()
    except SampleError:
        return b""
    picture.thumbnail(THUMBNAIL, Image.Resampling.LANCZOS)
    data = BytesIO()
    picture.save(data, "WEBP", quality=QUALITY, method=4)
    return data.getvalue()
