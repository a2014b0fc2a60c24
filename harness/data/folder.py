"""A data folder of unknown origin: paths that stay in it, and the pictures that its rows name.

A path that is written in the data is followed only within its folder. A picture that is missing or
broken is no error here: its `ImageRef` raises SampleError when it is read.
"""

from __future__ import annotations

import os
import re
import time
import unicodedata
from collections.abc import Mapping, Sequence
from functools import cache, cached_property, partial
from hashlib import sha256
from pathlib import Path
from typing import NoReturn
from urllib.parse import unquote

from harness.core.errors import DataError, SampleError
from harness.core.files.regular import read_regular
from harness.core.images import ImageRef
from harness.data.pictures import MAX_IMAGE_BYTES, found

_LONGEST_LABEL = 200


class Folder:
    """A data folder: the only way from a path that is written in the data to a file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._boundary = _boundary(path)
        self._realpath = cache(os.path.realpath)
        self._listing = cache(self._list)

    def inside(self, relative: object, *, where: str, key: str = "image") -> Path:
        """The path of `relative` in this folder; it need not exist.

        Raises:
            DataError: it is not a relative path, or leads out of the folder, by ".." or by a link.
        """
        if not isinstance(relative, str):
            raise DataError(f"{where}, field {key!r}: must be a path, found {found(relative)}.")
        parts = re.split(r"[/\\]", relative)
        if relative.startswith(("/", "\\", "~")) or re.match(r"[A-Za-z]:", relative):
            problem = "is an absolute path"
        elif ".." in parts:
            problem = "leads out of the data folder"
        elif "\0" in relative or any("\ud800" <= c <= "\udfff" for c in relative):
            problem = "is not a file name"
        else:
            path = self.path / relative
            if self._stays(path):
                return path
            problem = "is a link that leads out of the data folder"
        raise DataError(
            f"{where}, field {key!r}: {found(relative)} {problem}.",
            known=f"Paths are relative to {self.path} and stay in it.",
        )

    def _stays(self, path: Path) -> bool:
        # Folders repeat from row to row: each is resolved once, the last part for every row.
        real = f"{self._realpath(path.parent)}/{path.name}"
        if os.path.islink(real):  # noqa: PTH114  # a text; a Path for each row costs more
            real = os.path.realpath(real)
        return os.path.commonpath([real, self._boundary]) == self._boundary

    def image(self, name: str, *, where: str, key: str = "image") -> ImageRef:
        """The picture that a row names; raises DataError as `inside` does.

        A bare name that is not in the folder itself is looked for in `images`, `images1` ..., the
        way in which VQAonline is published.
        """
        if _ADDRESS.match(name):
            label = shortened(name)
            reason = f"{label}: nothing is fetched from an address; save it in the data folder"
            return ImageRef(label=label, read=partial(refuse, reason))
        path = self.inside(name, where=where, key=key)
        if not os.path.exists(path):  # noqa: PTH110  # Path raises for long names
            path = self._otherwise_spelt(name, where=where, key=key) or path
        label = shortened(path.relative_to(self.path).as_posix())
        return ImageRef(
            label=label,
            read=partial(read_image, path, label=label),
            state=partial(file_state, path),
        )

    def _otherwise_spelt(self, name: str, *, where: str, key: str) -> Path | None:
        """The file of the same name as another system spells it: Windows writes backslashes, macOS
        decomposes letters (NFD), neither distinguishes capitals, and addresses have %20 for a
        space. A bare name may be in one of the numbered folders."""
        for written in dict.fromkeys([name, unquote(name)]):
            parts = [part for part in re.split(r"[/\\]", written.strip()) if part not in {"", "."}]
            if len(parts) == 1 and (path := self._numbered.get(_folded(parts[0]))):
                return path
            if at := self._walk(parts):
                return self.inside(at, where=where, key=key)
        return None

    def _walk(self, parts: Sequence[str]) -> str:
        """The path of these names, however the file system spells them; "" where they name no
        file, or could name two."""
        at = ""
        for part in parts:
            names = self._listing(at).get(_folded(part), ())
            same = [name for name in names if _composed(name) == _composed(part)]
            if len(same or names) != 1:
                return ""
            at = f"{at}/{(same or names)[0]}".lstrip("/")
        return at

    def _list(self, relative: str) -> Mapping[str, Sequence[str]]:
        """The names in a folder below, by how they read in small letters."""
        names: dict[str, list[str]] = {}
        try:
            for path in (self.path / relative).iterdir():
                names.setdefault(_folded(path.name), []).append(path.name)
        except OSError:
            pass
        return names

    @cached_property
    def _numbered(self) -> Mapping[str, Path]:
        """File name in small letters -> path, of what is in `images`, `images1`, `images2` ..."""
        index: dict[str, Path] = {}
        for folder in sorted(self.path.glob("images*")):
            for parent, _, names in os.walk(folder):
                for name in names:
                    path = Path(parent, name)
                    if self._stays(path):
                        index.setdefault(_folded(name), path)
        return index


_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _folded(name: str) -> str:
    return _composed(_composed(name).casefold())


def shortened(name: str) -> str:
    """A name for labels: a long one is cut and gets a hash that distinguishes it."""
    if len(name) <= _LONGEST_LABEL:
        return name
    digest = sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{name[:60]}... ({len(name):,} characters, {digest[:8]})"


def refuse(reason: str) -> NoReturn:
    """Raises SampleError: the `read` of a picture that can never be read."""
    raise SampleError(reason)


def _boundary(folder: Path) -> str:
    """Where a data folder's links may lead: into itself or, for a snapshot in the hub's cache
    (whose files are links), into the cached repository that it belongs to."""
    real = Path(os.path.realpath(folder))
    for parent in real.parents:
        if parent.name == "snapshots" and (parent.parent / "blobs").is_dir():
            return str(parent.parent)
    return str(real)


def read_image(path: Path, *, label: str) -> bytes:
    """The encoded picture; raises SampleError."""
    try:
        return read_regular(path, limit=MAX_IMAGE_BYTES)
    except FileNotFoundError:
        raise SampleError(f"{label}: the file is missing") from None
    except OSError as error:
        raise SampleError(f"{label}: {error.strerror or error}") from error


_RACY_SECONDS = 2
"""A file that was changed so recently may change again without a new time."""


def file_state(path: Path) -> str:
    """The state of a picture's file: inode, size and times; "" where it was changed just now."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return ""
    changed = max(found.st_mtime, found.st_ctime)
    if changed > time.time() - _RACY_SECONDS:
        return ""
    return repr((found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns))
