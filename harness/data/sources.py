"""Find the files that hold a split: on the hub, in a folder, or in the one file that is named.

    hub or PATH -> the files that hold the split -> their rows

The files at the path decide how they are read; if none can be, the error lists what was looked for.
"""

from __future__ import annotations

import contextlib
import os
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from glob import escape
from pathlib import Path
from types import MappingProxyType

from harness.core.errors import DataError
from harness.core.files.paths import user_path
from harness.core.types import DataOptions
from harness.data import hub
from harness.data.arrow import arrow_rows, parquet_rows, saved_files
from harness.data.delimited import delimited_rows
from harness.data.folder import Folder
from harness.data.json_rows import json_rows, jsonl_rows
from harness.data.released import released_rows
from harness.data.rows import Row
from harness.data.splits import same_split, splits_in, wrong_split
from harness.data.text import load_json


@dataclass(frozen=True, slots=True)
class Source:
    """The rows of one split, not yet checked."""

    rows: Iterable[Row]
    name: str
    """The hub repository or the path, for provenance."""
    kind: str = ""
    """How its files' names end, or `_RELEASE`."""
    revision: str | None = None
    published: bool = False
    """Whether the files are such as the task's own data set consists of, so that its licence
    applies."""


Columns = Mapping[str, str]
"""A data set's own name of a column -> ours (see `harness.data.schema`)."""
_Reader = Callable[[Sequence[Path], Columns], Iterator[Row]]


def _one_by_one(read: Callable[[Path], Iterator[Row]]) -> _Reader:
    return lambda paths, _: (row for path in paths for row in read(path))


# In the order in which a folder is searched. Only table files may come in several parts.
_READERS: dict[str, _Reader] = {
    ".jsonl": _one_by_one(jsonl_rows),
    ".json": _one_by_one(json_rows),
    ".tsv": _one_by_one(delimited_rows),
    ".csv": _one_by_one(delimited_rows),
    ".parquet": parquet_rows,
    ".arrow": arrow_rows,
}
_TABLES = (".parquet", ".arrow")
_RELEASE = "release"
_DEPTH = 3
"""Folders below the one that is named: the hub's own Parquet copies are at CONFIG/SPLIT."""
_DESCRIPTIONS = frozenset({"dataset_info.json", "dataset_infos.json", "config.json"})
"""What the hub's libraries write next to data: it holds no rows."""
_NAMED_PICTURES = 1000


def open_source(
    options: DataOptions,
    *,
    repo: str | Sequence[str] = (),
    files: str = "{split}.jsonl",
    columns: Columns = MappingProxyType({}),
) -> Source:
    """The rows that `options` select: of its path, or of `repo` on the hub.

    Args:
        options: the path, the split and the revision.
        repo: the task's own data set; of several copies, whichever the caches have, in this order,
            or else the last, which is fetched. None: `options` must name a path.
        files: the files of `repo` that hold a split's rows, a pattern with `{split}` for its name;
            without it, all of the data set.
        columns: what the data set calls fields of ours; and columns of its own that are read too,
            under their own names.

    Raises:
        DataError: nothing is there, nothing fits, or the split is not among those that are there.
    """
    options = replace(options, split=options.split or "test")
    if options.path is None:
        repos = (repo,) if isinstance(repo, str) else tuple(repo)
        if not repos:
            raise DataError(
                "This task has no data set of its own.", remedy="Name the data with --data PATH."
            )
        return _from_hub(options, repos, files, columns)
    path = user_path(options.path)
    # Path's own methods raise where a folder above may not be read, or a name is too long.
    own = _TABLES if Path(files).suffix in _TABLES else (Path(files).suffix,)
    source = None
    if os.path.isdir(path):  # noqa: PTH112
        source = _from_folder(path, options.split, columns)
    elif os.path.isfile(path):  # noqa: PTH113
        source = _from_file(path, options.split, columns)
    if source is not None:
        return replace(_renamed(source, columns), published=source.kind in (*own, _RELEASE))
    raise DataError(
        f"There is no file or folder {path}.",
        remedy="Name the data with --data PATH, or leave it out to use the hub's data set.",
    )


def default_split(options: DataOptions, own: str) -> str:
    """The split to read where none is asked for: the task's own or, of a path that has no such
    split, `test`."""
    if options.path is None or own in same_split("test"):
        return own
    path = user_path(options.path)
    with contextlib.suppress(DataError):
        there = _named_splits(path)
        if there.isdisjoint(same_split(own)) and "test" in there:
            return "test"
    return own


def _named_splits(path: Path) -> set[str]:
    """The splits that the names at a path, or what `save_to_disk` wrote there, speak of."""
    if not os.path.isdir(path):  # noqa: PTH112  # Path's raises where a name is too long
        return splits_in(path.stem)
    if (path / "dataset_dict.json").is_file():
        listed = load_json(path / "dataset_dict.json")
        names = listed.get("splits") if isinstance(listed, dict) else None
        return {str(name) for name in names} if isinstance(names, list) else set()
    return _splits_there(path)


def _renamed(source: Source, columns: Columns) -> Source:
    if not columns:
        return source
    return replace(source, rows=(row.renamed(columns) for row in source.rows))


def _from_hub(options: DataOptions, repos: Sequence[str], pattern: str, columns: Columns) -> Source:
    """The rows of the first of `repos` that a cache has; else those of the last."""
    cached = replace(options, download=False)
    for repo in repos[:-1]:
        with contextlib.suppress(DataError):
            return from_repository(cached, repo, pattern, columns)
    return from_repository(options, repos[-1], pattern, columns)


def from_repository(options: DataOptions, repo: str, pattern: str, columns: Columns) -> Source:
    """The rows of one repository on the hub, as `open_source` has them; raises DataError where the
    split is neither here nor downloadable."""
    configuration = _configuration(pattern)
    split, revision = options.split, options.revision
    names = same_split(split)
    there: set[str] = set()
    wanted = [pattern.format(split=name) for name in names]
    folder = hub.snapshot(repo, revision, wanted, download=options.download)
    if folder is not None:
        if "{split}" in pattern:
            files = _files_of_split(folder, split, wanted)
        else:  # the data set is one split
            files = sorted(folder.glob(pattern))
        if files and files[0].suffix == ".json":
            hub.snapshot(repo, folder.name, _image_patterns(files[0]), download=options.download)
            if not any(folder.glob("images*")):
                raise hub.missing(repo, split, revision, there=["its rows, without the images"])
        if files:
            rows = _READERS[files[0].suffix](files, columns)
            source = Source(rows, repo, revision=folder.name, published=True)
            return _renamed(source, columns)
        there = _splits_there(folder)
    if pattern.endswith(".parquet"):  # otherwise what `datasets` prepares has no pictures in it
        for name in names:
            if files := hub.prepared(repo, name, revision, configuration=configuration):
                commit, rows = files[0].parent.name, arrow_rows(files, columns)
                source = Source(rows, repo, revision=commit, published=True)
                return _renamed(source, columns)
    raise hub.missing(repo, split, revision, there=there, configuration=configuration)


def _configuration(pattern: str) -> str:
    """The configuration whose files a pattern names, which have its folder; "": the only one."""
    folder = pattern.rpartition("/")[0]
    return "" if folder == "data" or "*" in folder else folder


def _image_patterns(path: Path) -> list[str]:
    """The files that hold the pictures of a JSON file's rows, as patterns for a download.

    A small split's pictures are named one by one, so that not all of the data set is downloaded.
    """
    names = [image.label for row in json_rows(path) for image in row.images]
    if len(names) > _NAMED_PICTURES:
        return ["images*/*"]
    return [f"images*/{escape(name)}" for name in names]


def _from_folder(path: Path, split: str, columns: Columns) -> Source:
    if (path / "problems.json").is_file():
        return Source(released_rows(path, split), str(path), kind=_RELEASE)
    if (path / "dataset_dict.json").is_file() or (path / "state.json").is_file():
        return Source(arrow_rows(_saved(path, split), columns), str(path), kind=".arrow")
    if files := _files_of_split(path, split):
        suffix = files[0].suffix.lower()
        return Source(_READERS[suffix](files, columns), str(path), kind=suffix)
    if files := _the_only_files(path):
        return _from_files(files, split, columns, name=str(path))
    if there := _splits_there(path):
        raise wrong_split(str(path), split, there)
    raise DataError(
        f"{path} holds no data set in a form that is known.",
        known=f"Looked for {split}.jsonl, {split}.json, {split}.tsv and {split}.csv, for .parquet "
        f"and .arrow files with {split!r} in their names, for dataset_dict.json or state.json "
        "(save_to_disk), and for problems.json (ScienceQA's release).",
        remedy="Name the file itself with --data, or choose another --split.",
    )


def _from_file(path: Path, split: str, columns: Columns) -> Source:
    if path.suffix.lower() not in _READERS:
        raise DataError(
            f"{path} is not a data file of a known kind.",
            known=f"The kinds are {', '.join(_READERS)}.",
        )
    named = splits_in(path.stem, split)
    if named and not named & set(same_split(split.lower())):
        raise wrong_split(str(path), split, named)
    return _from_files([path], split, columns, name=str(path))


def _from_files(files: Sequence[Path], split: str, columns: Columns, *, name: str) -> Source:
    """The rows of files whose names name no split: they belong to the requested one."""
    suffix = files[0].suffix.lower()
    rows = _rows_of_split(_READERS[suffix](files, columns), split, label=name)
    return Source(rows, name, kind=suffix)


def _rows_of_split(rows: Iterable[Row], split: str, *, label: str) -> Iterator[Row]:
    """The rows whose own `split` field names it, and those that have no such field."""
    others: set[str] = set()
    any_left = False
    for row in rows:
        own = row.fields.get("split")
        if not own or own in same_split(split):
            any_left = True
            yield row
        else:
            others.add(str(own))
    if others and not any_left:
        raise wrong_split(label, split, others)


def _splits_of(path: Path, root: Path, asked: str = "") -> set[str]:
    """The splits that a file's name or, where it names none, the folders above it name."""
    named = splits_in(path.stem, asked)
    for folder in path.relative_to(root).parents:
        named = named or splits_in(folder.name, asked)
    return named


def _data_files(root: Path) -> list[Path]:
    """The files that may hold rows: tables down to `_DEPTH` folders below. Others are taken on top,
    or, where nothing else is found, from as far below."""
    tables: list[Path] = []
    on_top: list[Path] = []
    below: list[Path] = []
    for parent, folders, names in os.walk(root):
        depth = len(Path(parent).relative_to(root).parts)
        folders[:] = sorted(
            name for name in folders if depth < _DEPTH and not name.startswith((".", "images"))
        )
        for path in (Path(parent, name) for name in sorted(names) if name not in _DESCRIPTIONS):
            suffix = path.suffix.lower()
            if suffix in _READERS and path.is_file():  # reading a pipe would wait for ever
                (tables if suffix in _TABLES else below if depth else on_top).append(path)
    return [*on_top, *tables] or below


def _the_only_files(root: Path) -> list[Path]:
    """The one data file of `root`, or the parts of its one table, where no name names a split."""
    files = _data_files(root)
    kinds = {path.suffix.lower() for path in files}
    parts = len(files) == 1 or (len(kinds) == 1 and kinds <= set(_TABLES))
    if not parts or any(_splits_of(path, root) for path in files):
        return []
    return _one_set(files, root)


def _files_of_split(root: Path, split: str, patterns: Sequence[str] = ("*",)) -> list[Path]:
    """The files of `root` that hold a split, all of one kind; empty where there are none.

    Args:
        patterns: which paths below `root` are considered.
    """
    candidates = [
        path
        for path in _data_files(root)
        if any(fnmatchcase(path.relative_to(root).as_posix(), pattern) for pattern in patterns)
    ]
    for suffix in _READERS:
        for name in same_split(split):
            files = [
                path
                for path in candidates
                if path.suffix.lower() == suffix and name.lower() in _splits_of(path, root, name)
            ]
            files = [path for path in files if path.stem == name] or files
            if files:
                return _one_set(files, root)
    return []


def _one_set(files: list[Path], root: Path) -> list[Path]:
    folders = {path.parent for path in files}
    if len(folders) > 1 or (len(files) > 1 and files[0].suffix.lower() not in _TABLES):
        names = [path.relative_to(root).as_posix() for path in files]
        one = files[0].parent if len(folders) > 1 else files[0]
        raise DataError(
            f"{root} holds the split more than once.",
            known=f"Found {', '.join(names[:6])}.",
            remedy=f"Name one, such as `--data {shlex.quote(str(one))}`.",
        )
    folder = Folder(root)
    for path in files:
        folder.inside(path.relative_to(root).as_posix(), where=str(root), key=path.suffix)
    return files


def _splits_there(root: Path) -> set[str]:
    """The splits that are named in a folder, or, where none is, what its data files are called."""
    files = _data_files(root)
    return {name for path in files for name in _splits_of(path, root)} or {p.stem for p in files}


def _saved(path: Path, split: str) -> list[Path]:
    """The Arrow files of a split under a folder that `save_to_disk` wrote."""
    if not (path / "dataset_dict.json").is_file():
        state = load_json(path / "state.json")
        own = state.get("_split") if isinstance(state, dict) else None
        if own and own not in same_split(split):
            raise wrong_split(str(path), split, [str(own)])
        return saved_files(path)
    where = str(path / "dataset_dict.json")
    listed = load_json(path / "dataset_dict.json")
    names = listed.get("splits") if isinstance(listed, dict) else None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise DataError(f"{where}, field 'splits': must list the splits' names.")
    for name in same_split(split):
        if name in names:
            return saved_files(Folder(path).inside(name, where=where, key="splits"))
    raise wrong_split(str(path), split, names)
