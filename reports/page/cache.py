"""What a page is made of, kept for the next one: JSON and packed blocks, by what they come from.

The name of a file is a digest of all that its contents depend on, the project's own code included:
what is there under a name is right, whatever was changed or updated since. A file that was damaged
or cut is taken for one that is not there; nothing in it is ever run.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib import resources
from pathlib import Path

from harness.core.files.atomic import write_atomically
from harness.core.files.caches import cache_folder
from harness.core.files.regular import read_regular

MAX_BYTES = 2**29
"""Of all that is kept."""
_MAX_FILE = 2**28
_DIGEST = 32
"""Bytes of a digest, which a file begins with."""
_CODE = ("harness", "reports", "distill", "tasks")


@dataclass(frozen=True, slots=True)
class PageCache:
    """A folder of what was made before."""

    folder: Path

    def get(self, key: str) -> bytes | None:
        """What is kept under a key; None: nothing."""
        path = self.folder / key
        try:
            data = read_regular(path, limit=_MAX_FILE)
            os.utime(path)  # it is used: what was not used for longest is removed first
        except OSError:
            return None
        digest, kept = data[:_DIGEST], data[_DIGEST:]
        return kept if sha256(kept).digest() == digest else None

    def put(self, key: str, data: bytes) -> None:
        """Keep `data`, where the folder can be written to."""
        with contextlib.suppress(OSError):
            self.folder.mkdir(parents=True, exist_ok=True)
            write_atomically(self.folder / key, sha256(data).digest() + data)

    def prune(self) -> None:
        """Remove what was used longest ago, until all fits into `MAX_BYTES`."""
        found = sorted(self._files(), reverse=True)
        kept = 0
        for _, size, path in found:
            kept += size
            if kept > MAX_BYTES:
                with contextlib.suppress(OSError):
                    path.unlink()

    def _files(self) -> Iterator[tuple[float, int, Path]]:
        """(when it was used, bytes, path) of each file."""
        with contextlib.suppress(OSError):
            for entry in os.scandir(self.folder):
                with contextlib.suppress(OSError):
                    about = entry.stat(follow_symlinks=False)
                    yield about.st_mtime, about.st_size, Path(entry.path)


def page_cache() -> PageCache:
    """The cache of this user."""
    return PageCache(cache_folder("pages"))


def key_of(*parts: str) -> str:
    """The name of what is made from these parts by the present code."""
    found = sha256(_code_digest())
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        found.update(len(data).to_bytes(8, "little") + data)
    return found.hexdigest()


@cache
def _code_digest() -> bytes:
    """Of every module and data file of the project."""
    found = sha256()
    for package in _CODE:
        root = Path(str(resources.files(package)))
        for path in sorted(root.rglob("*")):
            if path.suffix in (".py", ".toml") and path.is_file():
                found.update(f"{path.relative_to(root)}\0".encode())
                found.update(sha256(path.read_bytes()).digest())
    return found.digest()
