"""The tables of a page as files that the page holds itself.

A small file is an address, which works without a script. A large one, such as that of all pairs of
many runs, is packed as the samples are, and unpacked when somebody saves it.
"""

from __future__ import annotations

import base64
import gzip
from dataclasses import dataclass

from markupsafe import Markup

from reports.export.formats import downloads
from reports.page.samples.blocks import LEVEL, Block
from reports.tables.table import Table

LARGE = 100_000
"""Bytes of a table's files together from which on they are packed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedFile:
    """A link to a file."""

    title: str
    """Of the format."""
    name: str
    mime: str
    address: str
    """That holds the file; empty: it is packed."""
    packed: str = ""
    """The id of the data element with the file."""


class SavedFiles:
    """Makes the links while a page is rendered, and keeps the packed files for its end."""

    def __init__(self) -> None:
        self.blocks: list[Block] = []

    def of(self, table: Table) -> list[SavedFile]:
        """A table in each format."""
        found = [(each, as_bytes(each.text)) for each in downloads(table)]
        is_large = sum(len(data) for _, data in found) >= LARGE
        return [
            SavedFile(
                title=each.title,
                name=each.name,
                mime=each.mime,
                address="" if is_large else address(each.mime, data),
                packed=self._pack(data) if is_large else "",
            )
            for each, data in found
        ]

    def _pack(self, data: bytes) -> str:
        name = f"file-{len(self.blocks)}"
        text = in_base64(gzip.compress(data, compresslevel=LEVEL, mtime=0))
        self.blocks.append(Block(name, Markup(text)))  # noqa: S704  # base64
        return name


def as_bytes(text: str) -> bytes:
    """A text in UTF-8, what UTF-8 cannot carry by its code point."""
    return text.encode("utf-8", "backslashreplace")


def address(mime: str, data: bytes) -> str:
    """An address that holds the data itself."""
    return f"data:{mime};base64,{in_base64(data)}"


def in_base64(data: bytes) -> str:
    """Data as an address or an element of a page can hold it."""
    return base64.b64encode(data).decode()
