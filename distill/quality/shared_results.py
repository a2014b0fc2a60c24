"""Small results by the text that they are of, shared by a process and those forked from it."""

from __future__ import annotations

from hashlib import blake2b
from mmap import mmap

_SLOTS = 2**16


class SharedResults:
    """Results from 0 to 254 of texts, in memory that forked processes share.

    A slot is eight bytes, written at once: seven of the digest, and the result and one. A later
    text takes the slot of an earlier one.
    """

    def __init__(self) -> None:
        self._slots = memoryview(mmap(-1, 8 * _SLOTS)).cast("Q")

    def get(self, text: str) -> int | None:
        """The result of a text; None: none is there."""
        digest = _digest(text)
        found = self._slots[digest % _SLOTS]
        return (found & 255) - 1 if found >> 8 == digest >> 16 and found & 255 else None

    def put(self, text: str, result: int) -> None:
        """Keep the result of a text; one beyond 254 is left out."""
        if result < 255:
            digest = _digest(text)
            self._slots[digest % _SLOTS] = digest >> 16 << 8 | result + 1


def _digest(text: str) -> int:
    """Of nine bytes: the last two choose the slot, and the others tell texts apart in it."""
    data = text.encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(data, digest_size=9).digest(), "big")
