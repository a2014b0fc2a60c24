"""predictions.jsonl of a run, as a page reads it: all of it once, and then some lines again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from harness.core.errors import HarnessError
from harness.core.files.regular import MAX_JSONL_BYTES, open_regular
from harness.core.json_values import parse_json
from harness.core.types import Prediction
from harness.run.folder import RunFolder
from harness.run.records import checked_prediction

_CHUNK = 2**20


class RunChanged(HarnessError):  # noqa: N818  # a state, not a mistake
    """A run's answers were replaced while a page was made of them."""


@dataclass(frozen=True, slots=True)
class PredictionsFile:
    """The answers of a run on disk."""

    path: Path
    known: str = ""
    """The digest of what was read of it; empty: not known."""

    @property
    def size(self) -> int:
        """In bytes; 0 where it cannot be read."""
        try:
            return self.path.stat().st_size
        except OSError:
            return 0

    def state(self) -> tuple[int, int, int] | None:
        """Which file it is, its size and when it was changed; None where there is none."""
        try:
            found = self.path.stat()
        except OSError:
            return None
        return found.st_ino, found.st_size, found.st_mtime_ns

    def digest(self) -> str:
        """Of all its bytes; empty where it cannot be read."""
        found = sha256()
        try:
            with open_regular(self.path, within=self.path.parent, limit=MAX_JSONL_BYTES) as file:
                while chunk := file.read(_CHUNK):
                    found.update(chunk)
        except OSError:
            return ""
        return found.hexdigest()

    def read(self) -> tuple[list[Prediction], list[int]]:
        """All answers, and the offset after each of their lines; raises HarnessError where they
        cannot be read."""
        return RunFolder(self.path.parent).read_indexed()

    def lines(
        self, spans: Iterable[tuple[int, int] | None], known: dict[bytes, Prediction]
    ) -> Iterator[Prediction | None]:
        """The answers between these offsets, which `read` has checked before; None stays None.

        Args:
            known: lines that were parsed already, of this file and of others, with their answers:
                models often answer alike.

        Raises:
            HarnessError: the file is no longer the one that was read.
        """
        try:
            with open_regular(self.path, within=self.path.parent) as file:
                at = 0
                for span in spans:
                    if span is None:
                        yield None
                        continue
                    if span[0] != at:
                        file.seek(span[0])
                    at = span[1]
                    line = file.read(at - span[0])
                    found = known.get(line)
                    if found is None:
                        found = known[line] = checked_prediction(parse_json(line))
                    yield found
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise self.changed() from error

    def changed(self) -> RunChanged:
        """The error where the file no longer has what was read."""
        return RunChanged(
            f"{self.path} was changed while the page was made.",
            remedy="Run the same command again.",
        )
