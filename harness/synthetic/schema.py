"""Synthetic questions in the fields of the published data sets, so that they load as those do."""

from __future__ import annotations

from functools import lru_cache
from io import BytesIO
from typing import Any

from harness.synthetic.drawing import draw
from harness.synthetic.questions import Item
from harness.synthetic.scenes import Scene

_SUBJECTS = {"geography": "social science", "us-history": "social science"}


def fields(item: Item) -> dict[str, Any]:
    """The fields of a row, the picture's left out: ScienceQA's where there are choices, and
    VQAonline's where there are none."""
    own = {"id": item.id, "question": item.question, "answer": item.answer, "topic": item.topic}
    if not item.choices:
        return {**own, "context": item.hint, "url": ""}
    return {
        **own,
        "choices": list(item.choices),
        "hint": item.hint,
        "task": "closed choice",
        "grade": f"grade{item.level}",
        "subject": _SUBJECTS.get(item.topic, "natural science"),
        "category": item.topic.replace("-", " ").capitalize(),
        "skill": item.skill,
        "lecture": item.lecture,
        "solution": item.solution,
    }


def png(item: Item) -> bytes:
    """The picture as a file."""
    return _file(item.scene)


@lru_cache(maxsize=8192)  # some 6 kB each: all of a split
def _file(scene: Scene) -> bytes:
    file = BytesIO()
    draw(scene).save(file, "PNG", compress_level=1)
    return file.getvalue()
