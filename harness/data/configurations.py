"""Data sets whose repository has a configuration for each of their parts: MMMU's subjects, BLINK's
tasks. All are read as one split, and each row knows whose it is."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from harness.core.errors import DataError
from harness.core.files.paths import user_path
from harness.core.types import DataOptions
from harness.data import hub
from harness.data.rows import Row
from harness.data.sources import Columns, Source, from_repository, open_source
from harness.data.splits import same_split

CONFIGURATION = "configuration"
"""The field of a row with the name of its configuration."""


def open_configurations(
    options: DataOptions,
    *,
    copies: Mapping[str, str],
    names: Sequence[str],
    columns: Columns = MappingProxyType({}),
) -> Source:
    """The rows of all configurations, in the order of `names`.

    A folder has a folder for each of them, and is read for those that it has; any other folder or
    file is read as one table.

    Args:
        options: the path, the split and the revision.
        copies: repository -> the files that hold a split's rows, a pattern with `{split}` and, but
            for one that is a single table, `{configuration}`. The first one that the caches have
            is read, or else the last one is fetched.
        names: the configurations; none where all copies are single tables.
        columns: as in `open_source`.

    Raises:
        DataError: as `open_source` does.
    """
    options = replace(options, split=options.split or "test")
    if options.path is None:
        return _from_hub(options, copies, names, columns)
    path = user_path(options.path)
    found = [name for name in names if os.path.isdir(path / name)]  # noqa: PTH112  # may not raise
    own = next(iter(copies.values()))
    if not found:
        return open_source(options, files=own, columns=columns)
    parts = {
        name: open_source(replace(options, path=path / name), files=own, columns=columns)
        for name in found
    }
    published = all(part.published for part in parts.values())
    return _joined(parts, name=str(path), published=published)


def _from_hub(
    options: DataOptions, copies: Mapping[str, str], names: Sequence[str], columns: Columns
) -> Source:
    *others, last = copies.items()
    for repo, pattern in others:
        with contextlib.suppress(DataError):
            return _from_copy(replace(options, download=False), repo, pattern, names, columns)
    return _from_copy(options, *last, names, columns)


def _from_copy(
    options: DataOptions, repo: str, pattern: str, names: Sequence[str], columns: Columns
) -> Source:
    """The rows of one repository; raises DataError where a configuration is missing."""
    if "{configuration}" not in pattern:
        return from_repository(options, repo, pattern, columns)
    patterns = {name: pattern.replace("{configuration}", name) for name in names}
    if options.download:  # all at once, and of one commit
        splits = same_split(options.split)
        every = [each.format(split=split) for each in patterns.values() for split in splits]
        folder = hub.snapshot(repo, options.revision, every)
        revision = folder.name if folder else options.revision
        options = replace(options, download=False, revision=revision)
    parts = {name: from_repository(options, repo, each, columns) for name, each in patterns.items()}
    return _joined(parts, name=repo, published=True)


def _joined(parts: Mapping[str, Source], *, name: str, published: bool) -> Source:
    """All parts as one source."""
    first = next(iter(parts.values()))
    return replace(first, rows=_rows(parts), name=name, published=published)


def _rows(parts: Mapping[str, Source]) -> Iterator[Row]:
    number = 0
    for name, part in parts.items():
        for row in part.rows:
            fields = {CONFIGURATION: name, **row.fields}
            where = f"{name}: {row.where}"
            yield replace(row, fields=fields, where=where, number=number)
            number += 1
