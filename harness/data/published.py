"""A split of a published data set, or of a user's copy of it, as a task file asks for it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from harness.core.errors import DataError
from harness.core.types import DataOptions, Sample, SampleSet
from harness.data.answer_keys import has_key
from harness.data.configurations import open_configurations
from harness.data.rows import Row
from harness.data.schema import collect
from harness.data.sources import Columns, open_source
from harness.data.splits import same_split, wrong_split


def published_split(
    options: DataOptions,
    build: Callable[[Row], Sample],
    *,
    licence: str,
    repo: str | Sequence[str] = (),
    files: str = "",
    copies: Mapping[str, str] = MappingProxyType({}),
    configurations: Sequence[str] = (),
    columns: Columns = MappingProxyType({}),
    hidden: Collection[str] = (),
    only: str = "",
) -> SampleSet:
    """The samples of a split.

    Args:
        options: the path, the split and the revision.
        build: makes a sample of a row.
        licence: of the published data set; a user's own data have none.
        repo: as in `open_source`, like `files` and `columns`.
        copies: as in `open_configurations`, in place of `repo` and `files` for a data set whose
            copies lie differently, or that has these `configurations`.
        hidden: splits whose answers are not public; their samples have no target.
        only: the one split, of a data set whose files name none.

    Raises:
        DataError: it cannot be read, or only some of its rows have an answer.
    """
    if only and options.split and options.path is None and only not in same_split(options.split):
        raise wrong_split(str(repo), options.split, [only])
    if copies:
        source = open_configurations(options, copies=copies, names=configurations, columns=columns)
    else:
        source = open_source(options, repo=repo, files=files, columns=columns)
    is_hidden = any(name in hidden for name in same_split(options.split))
    made = collect(
        _without_keys(source.rows, all_of_them=options.path is None) if is_hidden else source.rows,
        build,
        options,
        source=source.name,
        revision=source.revision,
        licence=licence if source.published else "",
    )
    return _noted(made, options.split) if is_hidden else made


def _without_keys(rows: Iterable[Row], *, all_of_them: bool) -> Iterator[Row]:
    """The rows of a split whose answers are not public; a user's own copy may have them."""
    for row in rows:
        yield replace(row, keyless=all_of_them or not has_key(row))


def _noted(made: SampleSet, split: str) -> SampleSet:
    """The samples, with a note where nothing can be scored by them."""
    keyless = sum(sample.target is None for sample in made.samples)
    if 0 < keyless < len(made.samples):
        raise DataError(
            f"{keyless:,} of {len(made.samples):,} rows of {made.source} have no answer.",
            remedy="Give each row its answer, or none of them.",
        )
    if not keyless:
        return made
    note = (
        f"The answers of the {split} split are not public: nothing is scored here. `harness export "
        "--format submission` writes what was answered for the evaluation server."
    )
    return replace(made, notes=(*made.notes, note))
