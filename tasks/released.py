"""ScienceQA as its authors released it: questions, splits and pictures in files of their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.errors import DataError
from harness.types import ImageRef
from tasks.files import Folder, Row, found, is_name, load_json
from tasks.splits import same_split, wrong_split


def released_rows(path: Path, split: str) -> Iterator[Row]:
    """The rows of ScienceQA's original release.

    `problems.json` holds the questions by their ids, `pid_splits.json` the ids of each split,
    `images/SPLIT/ID/` the picture of the question, and those of its options as `choice_0.png` ...
    """
    problems = load_json(path / "problems.json")
    if not isinstance(problems, dict):
        raise DataError(f"{path / 'problems.json'}: must be an object, found {found(problems)}.")
    folder = Folder(path)
    for number, pid in enumerate(_ids_of_split(path, problems, split)):
        where = f"problems.json, question {found(pid)}"
        if not isinstance(pid, str) or pid not in problems:
            raise DataError(f"pid_splits.json, split {split!r}: {found(pid)} is no question's id.")
        fields = problems[pid]
        if not isinstance(fields, dict):
            raise DataError(f"{where}: must be an object, found {found(fields)}.")
        own = f"images/{fields.get('split')}/{pid}"
        image = None
        if is_name(fields.get("image")):
            image = folder.image(_below(own, fields["image"]), where=where)
        choices = fields.get("choices")
        names = [f"{own}/choice_{at}.png" for at in range(_length(choices))]
        pictures: tuple[ImageRef, ...] = ()
        if any(folder.inside(name, where=where, key="split").exists() for name in names):
            pictures = tuple(folder.image(name, where=where) for name in names)
        yield Row(where, number, {**fields, "id": pid}, image, pictures)


def _below(folder: str, name: object) -> object:
    """The path of an image in its folder; what is not text is left for the check of paths."""
    return f"{folder}/{name}" if isinstance(name, str) and not name.startswith("/") else name


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
