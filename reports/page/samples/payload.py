"""All data elements of the page for its samples."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
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

Packing = Callable[[Sequence[BlockPlan]], Sequence[Packed]]
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


def payload(
    material: Material,
    groups: Sequence[Group],
    *,
    samples: SampleChoice = "all",
    pictures: Pictures | None = None,
    packing: Packing,
) -> Payload | None:
    """The data elements of a page; None where no run has answers.

    Args:
        material: whose distillations say which runs are before and after.
        groups: what `collect` made of its runs.
        samples: which of them can be looked at. Comparisons are over all of them in any case.
        pictures: where to look for their pictures; None: they are left out.
        packing: makes the blocks.
    """
    for group in groups:
        group.runs.sort(key=lambda run: -merit(run))  # where equal, in the given order
    if not groups:
        return None
    blocks: list[Block] = []
    heads: list[dict[str, Any]] = []
    bodies: list[bytes] = []
    notes = list(pictures.notes) if pictures else []
    shown_of_all = lost = 0
    for place, group in enumerate(groups):
        shown = shown_ids(group, samples)
        shown_of_all += len(shown)
        images: dict[str, bytes] = {}
        if pictures is not None:
            images = thumbnails_of(group, shown, pictures)
            lost += sum(not group.samples[i].pictures for i in shown if group.samples[i].images)
        packed = packing(list(plans(group, shown, images)))
        questions = [text for each in packed for text in each.questions]
        index = index_of(
            material, group, questions=dict(zip(shown, questions, strict=True)), images=images
        )
        heads.append(index.head)
        bodies.append(compressed(index.body))
        blocks += data_elements(f"answers-{place}", [each.block for each in packed])
        blocks += data_elements(f"pictures-{place}", packed_images(list(images.values())))
    for key, head in zip(numbered(map(group_key, groups)), heads, strict=True):
        head["key"] = key
    if lost:
        one = "1 question is shown without its image, which is not available."
        many = f"{lost:,} questions are shown without their images, which are not available."
        notes.append(one if lost == 1 else many)
    first = {"groups": heads, "block": BLOCK, "extractors": [RECORDED, *OTHERS]}
    return Payload(
        blocks=(
            Block("answers", Markup(sanitize.json_text(first)), "application/json"),  # noqa: S704  # made safe by json_text
            *data_elements("index", bodies),
            *blocks,
        ),
        shown=shown_of_all,
        questions=sum(len(group.samples) for group in groups),
        notes=tuple(dict.fromkeys(sanitize.text(note, limit=600) for note in notes)),
        tasks=frozenset(str(group.runs[0].record.task.name) for group in groups if shown_of_all),
    )


def picture_bytes(page: str) -> int:
    """How much of a page is pictures of its samples."""
    return sum(len(found[0]) for found in re.finditer(r' id="pictures-\d+-\d+">[^<]*', page))
