"""Hashes of what a run depends on. With other data or other prompts a run is not resumed; with
another extraction its stored answers are extracted again."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Self

from harness.core import structured
from harness.core.errors import SampleError
from harness.core.images import ImageRef, flat_by_transparency
from harness.core.types import Sample, Target, Task
from harness.data import scan_cache

if TYPE_CHECKING:
    from PIL.Image import Image

Digests = Mapping[str, tuple[str, ...]]
"""Sample id -> sha256 of each picture's encoded bytes, in hex; "" for one that is not readable."""


def image_digests(samples: Sequence[Sample]) -> Digests:
    """The digests of all pictures. Each is read once, and none is kept."""
    return {sample.id: tuple(_digest(image) for image in sample.images) for sample in samples}


_THREADS = 4
"""Pictures that are decoded at once: the largest take half a gigabyte each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageScan:
    """What is known of all pictures before the first question."""

    digests: Digests
    """Sample id -> sha256 of its images' bytes."""
    blended: int
    """Pictures with transparent parts that are blended on white."""
    dropped: int
    """Pictures whose transparency is dropped."""
    flat: tuple[str, ...]
    """Labels of those of both kinds that become one flat colour."""

    @property
    def transparency(self) -> str | None:
        """What a run's answers depend on; None where earlier versions had the same pictures."""
        return "blended on white" if self.blended else None


def scan_images(samples: Sequence[Sample]) -> ImageScan:
    """Read every picture once and decode those with transparent parts, or find in the cache what
    an earlier scan of the same pictures found."""
    images = list({id(image): image for sample in samples for image in sample.images}.values())
    scanned = dict(zip(map(id, images), _scan_all(images), strict=True))
    clear = [image for image in images if scanned[id(image)][1] is not None]
    return ImageScan(
        digests={s.id: tuple(scanned[id(image)][0] for image in s.images) for s in samples},
        blended=sum(image.transparency == "blend" for image in clear),
        dropped=sum(image.transparency == "drop" for image in clear),
        flat=tuple(image.label for image in clear if scanned[id(image)][1]),
    )


def _scan_all(images: Sequence[ImageRef]) -> Sequence[scan_cache.Scanned]:
    key = scan_cache.key_of(images)
    found = scan_cache.load(key, len(images)) if key else None
    if found is not None:
        return found
    with ThreadPoolExecutor(_THREADS) as pool:
        found = list(pool.map(_scan, images))
    if key and key == scan_cache.key_of(images):  # no file has changed meanwhile
        scan_cache.keep(key, found)
    return found


def _scan(image: ImageRef) -> scan_cache.Scanned:
    """The digest, and `flat_by_transparency`."""
    try:
        data = image.read()
    except SampleError:
        return "", None
    digest = sha256(data).hexdigest()
    try:
        return digest, flat_by_transparency(
            data, label=image.label, transparency=image.transparency
        )
    except SampleError:
        return digest, None  # it becomes an error row later


def fingerprint(samples: Sequence[Sample], digests: Digests | None = None) -> str:
    """The sha256 of the samples' ids, texts, choices, answers, topics and pictures, in hex.

    The order of the samples does not count: it changes no answer. An unreadable picture counts as
    such, so that a run is not resumed once the picture is there.

    Args:
        samples: all samples of a split after filtering, even if the run has a limit.
        digests: the result of `image_digests`, to save reading the pictures again.
    """
    digests = image_digests(samples) if digests is None else digests
    return sha256(b"".join(sorted(_content(s, digests[s.id]) for s in samples))).hexdigest()


def _digest(image: ImageRef) -> str:
    try:
        return image.digest()
    except SampleError:
        return ""


def _content(sample: Sample, digests: tuple[str, ...]) -> bytes:
    fields = [
        sample.id,
        sample.question,
        sample.choices,
        _target(sample.target),
        sample.topic,
        sample.context,
        sample.lecture,
        sample.solution,
        digests,
    ]
    if sample.group or sample.metadata:  # data without them keep the fingerprint that they had
        fields += [sample.group, dict(sample.metadata)]
    return sha256(json.dumps(fields).encode()).digest()


def _target(target: Target) -> object:
    if isinstance(target, tuple):
        return [[each.text, each.weight, each.role] for each in target]
    return target


PromptText = Callable[[Sample], str]
"""All words of a question's prompt as one text; raises SampleError."""


def wording(samples: Sequence[Sample], prompt_text: PromptText) -> str:
    """The sha256 of every question's prompt text, in hex, whatever their order.

    Args:
        samples: `blank` ones suffice: `fingerprint` has their pictures. A sample without a prompt
            counts as such.
    """
    total = [sha256(f"{s.id}\0{_text_of(s, prompt_text)}".encode()).digest() for s in samples]
    return sha256(b"".join(sorted(total))).hexdigest()


def _text_of(sample: Sample, prompt_text: PromptText) -> str:
    try:
        return prompt_text(sample)
    except SampleError as error:
        return f"\0{error}"


def blank(sample: Sample) -> Sample:
    """The sample with blank pictures in place of its own."""
    return replace(sample, images=tuple(map(_Blank.of, sample.images)))


class _Blank(ImageRef):
    """A picture that costs nothing to decode."""

    @classmethod
    def of(cls, image: ImageRef) -> Self:
        return cls(image.label, _blank_file, number=image.number)

    def decode(self) -> Image:
        return _blank_picture().copy()


@cache
def _blank_picture() -> Image:
    from PIL.Image import new

    return new("RGB", (512, 512), "white")


def _blank_file() -> bytes:
    file = BytesIO()
    _blank_picture().save(file, "PNG")
    return file.getvalue()


_EXTRACT = Path(structured.__file__).parents[1] / "extract"


def extraction(task: Task) -> str:
    """The sha256, in hex, of the code that extracts answers from raw text: the package's own, and
    the file of a user's task."""
    total = sha256((task.file.whole if task.file else "").encode())
    paths = [Path(structured.__file__), *_EXTRACT.glob("*.py")]
    for path in sorted(paths, key=lambda path: path.name):
        total.update(path.read_bytes())
    return total.hexdigest()
