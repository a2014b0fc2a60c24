"""The blocks of a group: neighbouring questions with all their answers, compressed."""

from __future__ import annotations

import base64
import gzip
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from harness.core.types import Target, references
from reports.inputs import sanitize
from reports.page.samples.groups import Group
from reports.page.samples.verdicts import MAX_RAW, compact_json

BLOCK = 200
"""Questions, or images, in one block."""


@dataclass(frozen=True, slots=True)
class Block:
    """A data element of the page."""

    id: str
    text: Markup
    """JSON that was made safe by `sanitize.json_text`."""


def packed_questions(
    group: Group, shown: Sequence[str], images: Mapping[str, bytes]
) -> Iterator[bytes]:
    """The questions with all their answers, block by block."""
    numbers = {digest: n for n, digest in enumerate(images)}
    parts = (
        ",".join(_entry(group, sample_id, numbers) for sample_id in shown[start : start + BLOCK])
        for start in range(0, len(shown), BLOCK)
    )
    with ThreadPoolExecutor() as pool:  # compressing lets other threads run
        yield from pool.map(_compressed, parts)


def _compressed(part: str) -> bytes:
    return gzip.compress(f"[{part}]".encode(), compresslevel=9, mtime=0)


def _entry(group: Group, sample_id: str, numbers: Mapping[str, int]) -> str:
    """A question with every run's answer to it, as JSON."""
    sample = group.samples[sample_id]
    choice = isinstance(sample.target, int)
    asked = {
        "question": sanitize.passage(sample.question, limit=MAX_RAW),
        "choices": [sanitize.passage(choice, limit=2_000) for choice in sample.choices],
        "target": sample.target if choice else _accepted(sample.target),
        "pictures": [numbers[digest] for digest in sample.pictures],
        "missing": len(sample.images[0]) - len(sample.pictures) if sample.images else 0,
    }
    answers = ",".join(run.rows.get(sample_id, "null") for run in group.runs)
    return f'{compact_json(asked)[:-1]},"answers":[{answers}]}}'


def _accepted(target: Target) -> list[list[Any]]:
    """(accepted answer, how many gave it), the most frequent first, then as the data have them."""
    counts = Counter(reference.text for reference in references(target))
    return [[sanitize.passage(text, limit=MAX_RAW), n] for text, n in counts.most_common(50)]


def packed_images(images: Sequence[bytes]) -> Iterator[bytes]:
    """The images of one block after another."""
    for start in range(0, len(images), BLOCK):
        yield b"".join(images[start : start + BLOCK])


def data_elements(name: str, parts: Iterable[bytes]) -> Iterator[Block]:
    """The elements NAME-0, NAME-1 ... of the page."""
    for number, part in enumerate(parts):
        text = sanitize.json_text(base64.b64encode(part).decode())
        yield Block(f"{name}-{number}", Markup(text))  # noqa: S704  # made safe by json_text
