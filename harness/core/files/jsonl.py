"""JSONL files of ours: one JSON object on each line, appended and fsynced.

A process that is killed can leave a last line without its line feed. Readers leave such a line out,
and the next writer removes it; any other line that is no object of its kind is an error.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any, NamedTuple, TypeVar

from harness.core.errors import DataError
from harness.core.files.atomic import naming, write_atomically
from harness.core.files.regular import MAX_JSONL_BYTES, open_regular, read_lines
from harness.core.json_values import finite, json_object, parse_json

T = TypeVar("T")


class Line(NamedTuple):
    """A whole line of a file."""

    number: int
    """From 1."""
    data: bytes
    end: int
    """The offset after its line feed."""


def whole_lines(path: Path, *, start: int = 0) -> Iterator[Line]:
    """The lines of a regular file that end in a line feed; none where there is no file.

    Args:
        start: the offset at which to begin; lines are numbered from there.

    Raises:
        DataError: the file cannot be read.
    """
    try:
        with open_regular(path, within=path.parent, limit=MAX_JSONL_BYTES) as file:
            end = file.seek(start)
            for number, data in enumerate(read_lines(file), start=1):
                if not data.endswith(b"\n"):
                    return
                end += len(data)
                yield Line(number, data, end)
    except FileNotFoundError:
        return
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from error


def read_jsonl(
    path: Path, parse: Callable[[Any], T], *, kind: str, ends: list[int] | None = None
) -> Iterator[T]:
    """Parse each JSON value of a file of ours.

    Args:
        parse: raises ValueError, TypeError, KeyError or AttributeError for a value of another
            kind.
        kind: what each line is, for the error: "a prediction".
        ends: takes the offset after each line, to read some of them again.

    Raises:
        DataError: names the line that is of another kind.
    """
    for line in whole_lines(path):
        try:
            value = parse(parse_json(line.data))
        except KeyError as error:
            raise _wrong(path, line, kind, f"field {error} is missing") from error
        except (ValueError, TypeError, AttributeError) as error:
            raise _wrong(path, line, kind, str(error)) from error
        if ends is not None:
            ends.append(line.end)
        yield value


def read_objects(path: Path, *, kind: str = "an object") -> list[dict[str, Any]]:
    """The JSON objects of a file of ours; raises as `read_jsonl` does."""
    return list(read_jsonl(path, json_object, kind=kind))


def readable_objects(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSONL file without its invalid lines, to show what there is."""
    objects: list[dict[str, Any]] = []
    with contextlib.suppress(DataError):
        for line in whole_lines(path):
            with contextlib.suppress(ValueError, TypeError):
                objects.append(json_object(parse_json(line.data)))
    return objects


def encode_line(row: Mapping[str, Any]) -> bytes:
    """One line of a JSONL file; a number that is not finite becomes null."""
    text = json.dumps(finite(row), ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "backslashreplace") + b"\n"


class Appender:
    """Appends to one file, which stays open from the first line on.

    When `append` returns, the lines are in the file, whatever becomes of this process. A thread
    then has the disk write them, so that whoever appends does not wait for it; `sync` does, for
    what must not be there without them.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: IO[bytes] | None = None
        self._thread: ThreadPoolExecutor | None = None
        self._last: Future[None] | None = None
        self._failure: OSError | None = None

    def append(self, lines: Iterable[bytes]) -> os.stat_result:
        """Append, and begin to fsync; the first call removes a cut last line. Returns the file's
        state.

        Raises:
            DataError: there is a file that cannot be read.
            OSError: it names the file, which that of a full disk does not by itself; an earlier
                fsync may be what failed.
        """
        with naming(self.path):
            self._raise_failure()
            if self._file is None:
                end = _end_of_whole_lines(self.path)
                self._file = open(self.path, "ab")  # noqa: SIM115  # see close
                self._file.truncate(end)
            self._file.write(b"".join(lines))
            self._file.flush()
            self._begin_sync(self._file.fileno())
            return os.fstat(self._file.fileno())

    def sync(self) -> None:
        """Wait until everything that was appended is on the disk; raises as `append` does."""
        if self._last is not None:
            self._last.result()
        with naming(self.path):
            self._raise_failure()

    def close(self) -> None:
        """Sync, and close the file; the next append opens it again."""
        file, self._file = self._file, None
        if file is None:
            return
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.shutdown()
        self._last = None
        with naming(self.path):
            file.close()
            self._raise_failure()

    def _begin_sync(self, number: int) -> None:
        """Fsync the file with this number, unless a call that has not begun will do it."""
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="fsync")
        last = self._last
        if last is None or last.running() or last.done():
            self._last = self._thread.submit(self._fsync, number)

    def _fsync(self, number: int) -> None:
        try:
            os.fsync(number)
        except OSError as error:
            self._failure = error

    def _raise_failure(self) -> None:
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure


def append_lines(path: Path, lines: Iterable[bytes]) -> None:
    """Append to a file that is opened for this alone; raises as `Appender.append` does."""
    appender = Appender(path)
    try:
        appender.append(lines)
    finally:
        appender.close()


def replace_lines(path: Path, lines: Iterable[bytes]) -> None:
    """Make these the file's lines, at once; a file that has them already is left alone."""
    data = b"".join(lines)
    if not path.exists() or path.read_bytes() != data:
        write_atomically(path, data)


def cut_after(path: Path, end: int) -> None:
    """Remove what a file, if there is one, has after the offset `end`, and fsync."""
    if path.exists() and path.stat().st_size > end:
        with naming(path), open(path, "r+b") as file:
            file.truncate(end)
            os.fsync(file.fileno())


def _wrong(path: Path, line: Line, kind: str, problem: str) -> DataError:
    return DataError(
        f"{path}, line {line.number} is not {kind}: {problem}.",
        remedy="Remove that line and run the same command again, or use --fresh.",
    )


def _end_of_whole_lines(path: Path) -> int:
    """How many bytes of a file are whole lines."""
    try:
        file = open_regular(path, within=path.parent)
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from error
    with file:
        size = file.seek(0, os.SEEK_END)
        while size:
            start = max(0, size - 2**16)
            file.seek(start)
            end = file.read(size - start).rfind(b"\n")
            if end >= 0:
                return start + end + 1
            size = start
    return 0
