"""Rows of Parquet and Arrow files, as the hub ships them and as `save_to_disk` writes them.

Text is read row by row as it streams by; pictures are never held as a column. Those of an Arrow
file are read from the mapped file, those of a Parquet file, which has no access by row, are copied
once into a temporary file that ends with the process.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import DataError, HarnessError
from harness.types import ImageRef
from tasks.files import Folder, Row, is_name, load_json
from tasks.schema import FIELDS

if TYPE_CHECKING:
    import pyarrow as pa

Keep = Callable[["pa.Array", int], Callable[[], bytes]]
"""(encoded pictures, place) -> how the picture there is read later."""

_BATCH = 16
"""Rows that are read at once: with their pictures, a few MB."""
_BUFFER = 2**16


def parquet_rows(paths: Sequence[Path]) -> Iterator[Row]:
    """The rows of Parquet files, one after the other."""
    spool = _Spool()
    yield from _rows(paths, _parquet_batches, spool.keep)


def arrow_rows(paths: Sequence[Path]) -> Iterator[Row]:
    """The rows of Arrow files, in the streaming or in the file format."""
    yield from _rows(paths, _arrow_batches, lambda array, at: partial(_bytes_at, array, at))


def saved_files(folder: Path) -> list[Path]:
    """The Arrow files of one data set that `save_to_disk` wrote, in their order."""
    where = str(folder / "state.json")
    state = load_json(folder / "state.json")
    files = state.get("_data_files") if isinstance(state, dict) else None
    if not isinstance(files, list) or not all(isinstance(item, dict) for item in files):
        raise DataError(f"{where}, field '_data_files': must list the data set's files.")
    data = Folder(folder)
    return [data.inside(item.get("filename"), where=where, key="filename") for item in files]


class _Spool:
    """Pictures in one temporary file; readable by place, from any thread or forked process."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  # lives as long as its readers
        self._end = 0

    def keep(self, array: pa.Array, at: int) -> Callable[[], bytes]:
        data = array[at].as_py()
        try:
            self._file.write(data)
            self._file.flush()
        except OSError as error:
            raise HarnessError(
                f"The pictures cannot be kept in {tempfile.gettempdir()}: {error.strerror}.",
                remedy="Set TMPDIR to a folder with more room.",
            ) from error
        place = self._end
        self._end += len(data)
        return partial(self._read, place, len(data))

    def _read(self, place: int, length: int) -> bytes:
        return os.pread(self._file.fileno(), length, place)


def _bytes_at(array: pa.Array, at: int) -> bytes:
    data: bytes = array[at].as_py()
    return data


def _rows(
    paths: Sequence[Path],
    batches: Callable[[Path], Iterator[pa.RecordBatch]],
    keep: Keep,
) -> Iterator[Row]:
    import pyarrow as pa

    number = 0
    for path in paths:
        folder = Folder(path.parent)
        in_file = 0
        try:
            for batch in batches(path):
                encoded, names = _pictures(batch, path)
                texts = batch.select([name for name in batch.schema.names if name in FIELDS])
                for at, fields in enumerate(texts.to_pylist()):
                    in_file += 1
                    where = f"{path.name}, row {in_file}"
                    image = None
                    if encoded is not None and encoded[at].is_valid:
                        image = ImageRef(label=f"{where}, field 'image'", read=keep(encoded, at))
                    elif is_name(names[at]):
                        image = folder.image(names[at], where=where)
                    yield Row(where, number, fields, image)
                    number += 1
        except (pa.ArrowException, OSError, LookupError, ValueError, ArithmeticError) as error:
            raise DataError(
                f"{path} cannot be read: {error}.",
                remedy="Download or write the file again; it is cut short or damaged.",
            ) from error


def _pictures(batch: pa.RecordBatch, path: Path) -> tuple[pa.Array | None, list[str | None]]:
    """The encoded pictures of a batch, and the names of pictures in files."""
    import pyarrow as pa
    import pyarrow.compute as pc

    none: list[str | None] = [None] * batch.num_rows
    if "image" not in batch.schema.names:
        return None, none
    column = batch.column("image")
    kind = column.type
    if pa.types.is_struct(kind):
        parts = {kind.field(at).name: kind.field(at).type for at in range(kind.num_fields)}
        encoded = pc.struct_field(column, "bytes") if "bytes" in parts else None
        names = pc.struct_field(column, "path").to_pylist() if "path" in parts else none
        if encoded is not None and not _is_binary(encoded.type):
            encoded = None if pa.types.is_null(encoded.type) else _refuse(kind, path)
        return encoded, names
    if _is_binary(kind):
        return column, none
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return None, column.to_pylist()
    return (None, none) if pa.types.is_null(kind) else _refuse(kind, path)


def _is_binary(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _refuse(kind: pa.DataType, path: Path) -> Any:
    raise DataError(
        f"{path.name}, column 'image': must hold encoded pictures or their paths, found {kind}."
    )


def _parquet_batches(path: Path) -> Iterator[pa.RecordBatch]:
    import pyarrow.parquet as pq

    # Unbuffered, whole column chunks are read at once, and one can be all pictures of a split.
    with pq.ParquetFile(path, pre_buffer=False, buffer_size=_BUFFER) as parquet:
        columns = [name for name in parquet.schema_arrow.names if name in FIELDS | {"image"}]
        yield from parquet.iter_batches(_BATCH, columns=columns, use_threads=False)


def _arrow_batches(path: Path) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa

    source = pa.memory_map(str(path))
    try:
        stream = pa.ipc.open_stream(source)
    except pa.ArrowInvalid:
        file = pa.ipc.open_file(source)
        stream = (file.get_batch(at) for at in range(file.num_record_batches))
    for batch in stream:
        # Offsets come from the file: an untrue one would be read beyond its end.
        batch.validate(full=True)
        yield batch
