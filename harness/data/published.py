"""A split of a published data set, or of a user's copy of it, as a task file asks for it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from types import MappingProxyType

from harness.core.errors import DataError
from harness.core.types import DataOptions, Sample, SampleSet
from harness.data.rows import Row
from harness.data.schema import collect
from harness.data.sources import Columns, open_source
from harness.data.splits import same_split, wrong_split


def published_split(
    options: DataOptions,
    build: Callable[[Row], Sample],
    *,
    repo: str | Sequence[str],
    files: str,
    licence: str,
    columns: Columns = MappingProxyType({}),
    hidden: Collection[str] = (),
    only: str = "",
) -> SampleSet:
    """The samples of a split.

    Args:
        options: the path, the split and the revision.
        build: makes a sample of a row.
        repo: as in `open_source`, like `files` and `columns`.
        licence: of the published data set; a user's own data have none.
        hidden: splits whose answers are not public.
        only: the one split, of a data set whose files name none.

    Raises:
        DataError: it cannot be read, or it has no public answers.
    """
    if options.path is None and any(name in hidden for name in same_split(options.split)):
        raise DataError(
            f"The answers of the {options.split} split are not public: nothing can be scored here.",
            remedy="Leave --split out, which takes the split with public answers.",
        )
    if only and options.split and options.path is None and only not in same_split(options.split):
        raise wrong_split(str(repo), options.split, [only])
    source = open_source(options, repo=repo, files=files, columns=columns)
    return collect(
        source.rows,
        build,
        options,
        source=source.name,
        revision=source.revision,
        licence=licence if source.published else "",
    )
