"""What data a run was made on, as one hash: a run on other data is not continued."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from hashlib import sha256

from harness.errors import SampleError
from harness.types import ImageRef, Sample

Digests = Mapping[str, tuple[str, ...]]
"""Sample id -> sha256 of each picture's encoded bytes, in hex; "" for one that is not readable."""


def image_digests(samples: Sequence[Sample]) -> Digests:
    """The digests of all pictures. Each is read once, and none is kept."""
    return {sample.id: tuple(_digest(image) for image in sample.images) for sample in samples}


def fingerprint(samples: Sequence[Sample], digests: Digests | None = None) -> str:
    """The sha256 of the samples' ids, texts, choices, answers, topics and pictures, in hex.

    The order of the samples does not count: it changes no answer. A picture that cannot be read
    counts as such, so that a run is not continued once the picture is there.

    Args:
        samples: all samples of a split after filtering, also when fewer are asked.
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
        sample.target,
        sample.topic,
        sample.context,
        sample.lecture,
        sample.solution,
        digests,
    ]
    return sha256(json.dumps(fields).encode()).digest()
