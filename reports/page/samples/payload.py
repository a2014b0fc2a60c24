"""All data elements of the page for its samples."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from reports.inputs import sanitize
from reports.inputs.material import Material, Pictures, SampleChoice
from reports.page.samples.blocks import (
    BLOCK,
    Block,
    BlockPlan,
    Packed,
    compressed,
    data_elements,
    packed_images,
    plans,
)
from reports.page.samples.groups import Group, merit, shown_ids
from reports.page.samples.index import group_key, index_of, numbered
from reports.page.samples.thumbnails import thumbnails_of
from reports.page.samples.verdicts import OTHERS, RECORDED

Packing = Callable[[Sequence[BlockPlan]], Iterable[Packed]]
"""Makes blocks, in their order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Payload:
    """What the page's script works on."""

    blocks: tuple[Block, ...]
    shown: int
    """Questions that can be looked at."""
    questions: int
    """Questions that were answered by some run."""
    notes: tuple[str, ...]
    """What was left out, and why."""
    tasks: frozenset[str]
    """Whose questions are shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupBlocks:
    """The samples of a group that can be looked at."""

    group: Group
    shown: Sequence[str]
    """Their ids."""
    images: Mapping[str, bytes]
    packed: Iterable[Packed]
    """Their blocks, which may still be under way."""


def begin(
    groups: Sequence[Group],
    *,
    samples: SampleChoice = "all",
    pictures: Pictures | None = None,
    packing: Packing,
) -> list[GroupBlocks]:
    """Begin to pack the samples of a page; `payload` waits for them.

    Args:
        groups: what `collect` made of its runs.
        samples: which of them can be looked at. Comparisons are over all of them in any case.
        pictures: where to look for their pictures; None: they are left out.
        packing: makes the blocks.
    """
    found = []
    for group in groups:
        group.runs.sort(key=lambda run: -merit(run))  # where equal, in the given order
        shown = shown_ids(group, samples)
        images = {} if pictures is None else thumbnails_of(group, shown, pictures)
        packed = packing(list(plans(group, shown, images)))
        found.append(GroupBlocks(group=group, shown=shown, images=images, packed=packed))
    return found


def payload(
    material: Material, found: Sequence[GroupBlocks], pictures: Pictures | None = None
) -> Payload | None:
    """The data elements of a page; None where no run has answers.

    Args:
        material: whose distillations say which runs are before and after.
        found: what `begin` began.
        pictures: where their pictures were looked for; None: nowhere.
    """
    if not found:
        return None
    blocks: list[Block] = []
    heads: list[dict[str, Any]] = []
    bodies: list[bytes] = []
    for place, each in enumerate(found):
        packed = list(each.packed)
        questions = [text for block in packed for text in block.questions]
        index = index_of(
            material,
            each.group,
            questions=dict(zip(each.shown, questions, strict=True)),
            images=each.images,
        )
        heads.append(index.head)
        bodies.append(compressed(index.body))
        blocks += data_elements(f"answers-{place}", [block.block for block in packed])
        blocks += data_elements(f"pictures-{place}", packed_images(list(each.images.values())))
    for key, head in zip(numbered(group_key(each.group) for each in found), heads, strict=True):
        head["key"] = key
    first = {"groups": heads, "block": BLOCK, "extractors": [RECORDED, *OTHERS]}
    return Payload(
        blocks=(
            Block("answers", Markup(sanitize.json_text(first)), "application/json"),  # noqa: S704  # made safe by json_text
            *data_elements("index", bodies),
            *blocks,
        ),
        shown=sum(len(each.shown) for each in found),
        questions=sum(len(each.group.samples) for each in found),
        notes=_notes(found, pictures),
        tasks=frozenset(str(each.group.runs[0].record.task.name) for each in found if each.shown),
    )


def _notes(found: Sequence[GroupBlocks], pictures: Pictures | None) -> tuple[str, ...]:
    """What was left out, and why."""
    if pictures is None:
        return ()
    notes = list(pictures.notes)
    samples = [each.group.samples[i] for each in found for i in each.shown]
    if lost := sum(not sample.pictures for sample in samples if sample.images):
        one = "1 question is shown without its image, which is not available."
        many = f"{lost:,} questions are shown without their images, which are not available."
        notes.append(one if lost == 1 else many)
    return tuple(dict.fromkeys(sanitize.text(note, limit=600) for note in notes))


def picture_bytes(page: str) -> int:
    """How much of a page is pictures of its samples."""
    return sum(len(found[0]) for found in re.finditer(r' id="pictures-\d+-\d+">[^<]*', page))
