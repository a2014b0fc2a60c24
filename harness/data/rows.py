"""Rows of a data set before they become samples, whatever kind of file they come from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from harness.core.images import ImageRef
from harness.data.folder import Folder, refuse
from harness.data.image_store import ImageStore
from harness.data.pictures import Name, Part, picture_fields, picture_number, pictures_in


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a data set, unchecked but for the paths of its pictures."""

    where: str
    """What an error calls it: "test.jsonl, line 12"."""
    number: int
    """Its position among the rows, from 0: its id where it has none."""
    fields: Mapping[str, Any]
    """Those that hold no picture."""
    images: tuple[ImageRef, ...] = ()
    columns: tuple[str, ...] = ()
    """The names of all its fields."""
    choice_images: tuple[ImageRef, ...] = field(default=())
    """One for each choice, or none."""
    called: Mapping[str, str] = field(default_factory=dict)
    """What the data set calls a field, where it has a name of its own for it."""
    keyless: bool = False
    """Its answer is not public: whatever stands in its place is none."""

    def renamed(self, columns: Mapping[str, str]) -> Row:
        """The row with our names for a data set's own columns; a field that has our name already
        stays.

        Args:
            columns: the data set's name -> ours.
        """
        new = {
            ours: theirs
            for theirs, ours in columns.items()
            if theirs in self.fields and self.fields.get(ours) is None
        }
        fields = {name: value for name, value in self.fields.items() if name not in new.values()}
        fields |= {ours: self.fields[theirs] for ours, theirs in new.items()}
        names = {ours: theirs for theirs, ours in columns.items()}
        return replace(self, fields=fields, called=names)


class RowBuilder:
    """Makes rows of the fields in a file: their pictures are in files that the fields name, or in
    the fields themselves, from where they go to an image store."""

    def __init__(self, folder: Path, store: ImageStore) -> None:
        self._folder = Folder(folder)
        self._store = store

    def row(
        self, fields: Mapping[str, Any], *, where: str, number: int, names: tuple[str, ...] = ()
    ) -> Row:
        """The row, with its pictures apart from its other fields; `names` are all of the file's."""
        images = tuple(
            image
            for key, parts in pictures_in(fields, where=where)
            for image in self.images(parts, where=where, key=key)
        )
        holding = {name for group in picture_fields(tuple(fields)) for name in group}
        others = {name: value for name, value in fields.items() if name not in holding}
        return Row(where, number, others, images, names or tuple(fields))

    def images(self, parts: Sequence[Part], *, where: str, key: str) -> tuple[ImageRef, ...]:
        """The pictures of one field; raises DataError for a path out of the folder."""
        if len(parts) == 1:
            image = self._image(parts[0], where=where, key=key, at=None)
            return (replace(image, number=picture_number(key)),)
        return tuple(
            self._image(part, where=where, key=key, at=at) for at, part in enumerate(parts, start=1)
        )

    def _image(self, part: Part, *, where: str, key: str, at: int | None) -> ImageRef:
        if isinstance(part, Name):
            return self._folder.image(part.path, where=where, key=key)
        label = picture_label(where, key, at)
        try:
            read = self._store.keep(part.data())
        except ValueError as error:
            read = partial(refuse, f"{label}: {error}")
        return ImageRef(label=label, read=read)


def picture_label(where: str, key: str, at: int | None) -> str:
    """What errors call a picture that is written into a row; `at` counts from 1 where there are
    several."""
    return f"{where}, field {key!r}" + (f", picture {at}" if at else "")
