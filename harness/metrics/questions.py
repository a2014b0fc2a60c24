"""Which questions two runs share: those with one id whose options, target, text and pictures are
the same in both.

Files of data sets differ while most of their questions are equal, so each question has a digest of
its own. A run that keeps no question texts, or no pictures, is not taken to ask other questions:
what is unknown is not compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from harness.core.types import Prediction, Target, references

PARTS = 3
"""Options and target, text, pictures."""
UNKNOWN = bytes(4)
NAMED_ONLY = "name:"
"""What the digest of a picture begins with of which only the name is known."""

Digest = bytes
"""Four bytes for each part of a question; `UNKNOWN` for what its run does not keep."""


def digests(predictions: Sequence[Prediction]) -> dict[str, Digest]:
    """The digest of each question of a run, by sample id."""
    keeps_text = any(p.question for p in predictions)
    keeps_pictures = any(p.images for p in predictions)
    return {
        p.sample_id: _options(p.choices, p.target)
        + (_hash(" ".join(p.question.split())) if keeps_text else UNKNOWN)
        + (_pictures(p.images) if keeps_pictures else UNKNOWN)
        for p in predictions
    }


def are_same(first: Digest, second: Digest) -> bool:
    """Whether two digests are of one question, as far as both runs know it."""
    if first == second:
        return True
    return all(
        UNKNOWN in (one, two) or one == two
        for one, two in zip(_parts(first), _parts(second), strict=True)
    )


def merged(first: Digest, second: Digest) -> Digest:
    """What two runs know together of one question."""
    return b"".join(
        two if one == UNKNOWN else one
        for one, two in zip(_parts(first), _parts(second), strict=True)
    )


def joint(members: Iterable[tuple[str, Digest]]) -> Digest:
    """The digest of a group of questions, from those of its members by id."""
    ordered = sorted(members)
    parts = [[_parts(digest)[part] for _, digest in ordered] for part in range(PARTS)]
    ids = "\n".join(sample_id for sample_id, _ in ordered)
    return _hash(ids + b"".join(parts[0]).hex()) + b"".join(
        UNKNOWN if UNKNOWN in part else _hash(b"".join(part).hex()) for part in parts[1:]
    )


def shared(first: Mapping[str, Digest], second: Mapping[str, Digest]) -> list[str]:
    """The ids of the questions that two runs share, in the first one's order."""
    return [
        sample_id
        for sample_id, digest in first.items()
        if (other := second.get(sample_id)) is not None and are_same(digest, other)
    ]


def as_numbers(found: Iterable[Digest]) -> NDArray[np.uint32]:
    """Digests as an array, (n, PARTS); 0 is unknown."""
    return np.frombuffer(b"".join(found), dtype="<u4").reshape(-1, PARTS)


def _options(choices: Sequence[str], target: Target) -> bytes:
    right = target if isinstance(target, int) else [(r.text, r.weight) for r in references(target)]
    return _hash(repr((tuple(choices), right)))


def _pictures(images: Sequence[str]) -> bytes:
    """Of pictures that could not be read nobody knows whether they are the same."""
    if any(not image or image.startswith(NAMED_ONLY) for image in images):
        return UNKNOWN
    return _hash("\n".join(images))


def _hash(text: str) -> bytes:
    found = crc32(text.encode("utf-8", "backslashreplace"))
    return (found or 1).to_bytes(4, "little")


def _parts(digest: Digest) -> tuple[bytes, ...]:
    return tuple(digest[start : start + 4] for start in range(0, 4 * PARTS, 4))
