"""Synthetic questions in the fields of the published data sets, so that they load as those do."""

from __future__ import annotations

from functools import cache, lru_cache
from hashlib import sha256
from io import BytesIO
from pathlib import Path
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


def drawn_from(item: Item) -> str:
    """All that the picture's file depends on but for Pillow: the scene, and what draws it."""
    return f"{_drawing_code()} {item.scene!r}"


@cache
def _drawing_code() -> str:
    """A hash of the modules that draw and encode."""
    folder, total = Path(__file__).parent, sha256()
    for name in ("backdrops", "drawing", "pen", "schema", "things"):
        total.update((folder / f"{name}.py").read_bytes())
    return total.hexdigest()


@lru_cache(maxsize=8192)  # some 6 kB each: all of a split
def _file(scene: Scene) -> bytes:
    file = BytesIO()
    draw(scene).save(file, "PNG", compress_level=1)
    return file.getvalue()
