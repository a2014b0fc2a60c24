"""ScienceQA as its authors released it: questions, splits and pictures in files of their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.core.errors import DataError
from harness.core.images import ImageRef
from harness.data.folder import Folder
from harness.data.image_store import ImageStore
from harness.data.pictures import Name, Part, found, parts_of
from harness.data.rows import Row, RowBuilder
from harness.data.splits import same_split, wrong_split
from harness.data.text import load_json


def released_rows(path: Path, split: str) -> Iterator[Row]:
    """The rows of ScienceQA's original release.

    `problems.json` holds the questions by their ids, `pid_splits.json` the ids of each split,
    `images/SPLIT/ID/` the picture of the question, and those of its options as `choice_0.png` ...
    """
    problems = load_json(path / "problems.json")
    if not isinstance(problems, dict):
        raise DataError(f"{path / 'problems.json'}: must be an object, found {found(problems)}.")
    folder = Folder(path)
    builder = RowBuilder(path, ImageStore((path / "problems.json").stat().st_size))
    for number, pid in enumerate(_ids_of_split(path, problems, split)):
        where = f"problems.json, question {found(pid)}"
        if not isinstance(pid, str) or pid not in problems:
            raise DataError(f"pid_splits.json, split {split!r}: {found(pid)} is no question's id.")
        fields = problems[pid]
        if not isinstance(fields, dict):
            raise DataError(f"{where}: must be an object, found {found(fields)}.")
        own = f"images/{fields.get('split')}/{pid}"
        parts = parts_of(fields.get("image"), where=where, key="image")
        below = [_below(own, part) for part in parts]
        images = builder.images(below, where=where, key="image")
        choices = fields.get("choices")
        names = [f"{own}/choice_{at}.png" for at in range(_length(choices))]
        pictures: tuple[ImageRef, ...] = ()
        if any(folder.inside(name, where=where, key="split").exists() for name in names):
            pictures = tuple(folder.image(name, where=where) for name in names)
        others = {name: value for name, value in fields.items() if name != "image"}
        yield Row(where, number, {**others, "id": pid}, images, tuple(fields), pictures)


def _below(folder: str, part: Part) -> Part:
    """The name of an image with its folder; an absolute one is left for the check of paths."""
    if isinstance(part, Name) and not part.path.startswith("/"):
        return Name(f"{folder}/{part.path}")
    return part


def _length(choices: object) -> int:
    return len(choices) if isinstance(choices, list) else 0


def _ids_of_split(path: Path, problems: dict[str, Any], split: str) -> list[Any]:
    file = path / "pid_splits.json"
    if not file.is_file():
        owns = {
            pid: fields.get("split") for pid, fields in problems.items() if isinstance(fields, dict)
        }
        ids = [pid for pid, own in owns.items() if own in same_split(split)]
        if not ids:
            raise wrong_split(str(path), split, {str(own) for own in owns.values()})
        return ids
    splits = load_json(file)
    if not isinstance(splits, dict):
        raise DataError(f"{file}: must be an object, found {found(splits)}.")
    for name in same_split(split):
        if name in splits:
            if not isinstance(splits[name], list):
                raise DataError(f"{file}, field {name!r}: must be a list of ids.")
            return list(splits[name])
    raise wrong_split(str(file), split, splits)
