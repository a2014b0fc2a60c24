"""Rows of Parquet and Arrow files, as the hub ships them and as `save_to_disk` writes them.

Text is read row by row as it streams by. Pictures are never held as a column: each is copied once
into a temporary file that ends with the process. No file is mapped: one that is cut while it is
read is an error, where a map would end the process.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from harness.core.errors import DataError
from harness.data.folder import Folder
from harness.data.image_store import ImageStore
from harness.data.pictures import picture_fields
from harness.data.rows import Row, RowBuilder
from harness.data.schema import FIELDS
from harness.data.text import load_json

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

_BATCH = 16
"""Rows that are read at once: with their pictures, a few MB."""
_BATCH_BYTES = 64 * 2**20
"""What the pictures of so many rows may come to."""
_BUFFER = 2**16


def parquet_rows(paths: Sequence[Path], columns: Collection[str] = ()) -> Iterator[Row]:
    """The rows of Parquet files, one after the other; `columns` are read in addition to those that
    every schema has."""
    yield from _rows(paths, partial(_parquet_batches, also=frozenset(columns)))


def arrow_rows(paths: Sequence[Path], columns: Collection[str] = ()) -> Iterator[Row]:
    """The rows of Arrow files, in the streaming or in the file format; `columns` as above."""
    yield from _rows(paths, partial(_arrow_batches, also=frozenset(columns)))


def saved_files(folder: Path) -> list[Path]:
    """The Arrow files of one data set that `save_to_disk` wrote, in their order."""
    where = str(folder / "state.json")
    state = load_json(folder / "state.json")
    files = state.get("_data_files") if isinstance(state, dict) else None
    if not isinstance(files, list) or not all(isinstance(item, dict) for item in files):
        raise DataError(f"{where}, field '_data_files': must list the data set's files.")
    data = Folder(folder)
    return [data.inside(item.get("filename"), where=where, key="filename") for item in files]


def _rows(
    paths: Sequence[Path], batches: Callable[[Path], Iterator[tuple[pa.RecordBatch, list[str]]]]
) -> Iterator[Row]:
    import pyarrow as pa

    number = 0
    store = ImageStore(sum(path.stat().st_size for path in paths))
    for path in paths:
        builder = RowBuilder(path.parent, store)
        in_file = 0
        try:
            for batch, names in batches(path):
                columns = batch.columns
                for at in range(batch.num_rows):
                    in_file += 1
                    values = [column[at].as_py() for column in columns]
                    fields = dict(zip(batch.schema.names, values, strict=True))
                    where = f"{path.name}, row {in_file}"
                    yield builder.row(fields, where=where, number=number, names=tuple(names))
                    number += 1
        except (pa.ArrowException, OSError, LookupError, ValueError, ArithmeticError) as error:
            raise DataError(
                f"{path} cannot be read: {error}.",
                remedy="Download or write the file again; it is cut short or damaged.",
            ) from error


def _wanted(names: Sequence[str], also: frozenset[str]) -> list[str]:
    """The columns that are read."""
    pictures = {name for group in picture_fields(tuple(names)) for name in group}
    return [name for name in names if name in FIELDS | pictures | also]


def _parquet_batches(
    path: Path, *, also: frozenset[str]
) -> Iterator[tuple[pa.RecordBatch, list[str]]]:
    import pyarrow.parquet as pq

    # Unbuffered, whole column chunks are read at once, and one can be all pictures of a split.
    with pq.ParquetFile(path, pre_buffer=False, buffer_size=_BUFFER) as parquet:
        names = parquet.schema_arrow.names
        wanted = _wanted(names, also)
        rows = _rows_at_once(parquet.metadata, wanted)
        for batch in parquet.iter_batches(rows, columns=wanted, use_threads=False):
            yield batch, names


def _rows_at_once(metadata: pq.FileMetaData, wanted: Sequence[str]) -> int:
    """As many rows as fit into memory for certain: where equal values are written once, each row
    can be as large as all of them."""
    largest = 1
    for at in range(metadata.num_row_groups):
        group = metadata.row_group(at)
        for column in (group.column(number) for number in range(group.num_columns)):
            if column.path_in_schema.partition(".")[0] not in wanted:
                continue
            shared = any("DICTIONARY" in encoding for encoding in column.encodings)
            rows = 1 if shared else max(1, group.num_rows)
            largest = max(largest, column.total_uncompressed_size // rows)
    return max(1, min(_BATCH, _BATCH_BYTES // largest))


def _arrow_batches(
    path: Path, *, also: frozenset[str]
) -> Iterator[tuple[pa.RecordBatch, list[str]]]:
    import pyarrow as pa

    with pa.OSFile(str(path)) as source:
        try:
            stream = pa.ipc.open_stream(source)
        except pa.ArrowInvalid:
            file = pa.ipc.open_file(source)
            stream = (file.get_batch(at) for at in range(file.num_record_batches))
        for batch in stream:
            # Offsets come from the file: an untrue one would be read beyond its end.
            batch.validate(full=True)
            names = batch.schema.names
            yield batch.select(_wanted(names, also)), names
