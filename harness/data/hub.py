"""Data sets on the hub or, without a network, in its cache on this machine.

For the tasks, this module alone contacts the hub. It downloads files and runs none of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from glob import escape
from pathlib import Path

from harness.checkpoints.hub import Repository, explain
from harness.core.errors import DataError


def snapshot(
    repo: str, revision: str | None, patterns: Sequence[str], *, download: bool = True
) -> Path | None:
    """The folder with the files of `repo` that match `patterns`; missing ones are downloaded.

    Its name is the commit. None: the hub is unreachable or not contacted, and its cache does not
    have the revision.

    Raises:
        DataError: the hub has no such data set or revision, or restricts access to it.
    """
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        return Path(
            huggingface_hub.snapshot_download(
                repo,
                repo_type="dataset",
                revision=revision,
                allow_patterns=list(patterns),
                local_files_only=not download,
            )
        )
    except (HfHubHTTPError, HFValidationError) as error:
        what, known, remedy = explain(error, Repository(repo, revision, "dataset"))
        raise DataError(what, known=known, remedy=remedy) from error
    except OSError:  # offline, unreachable, or not in the cache
        return None


def prepared(repo: str, split: str, revision: str | None, *, configuration: str = "") -> list[Path]:
    """The Arrow files that `datasets.load_dataset` left in its own cache, or none; of one
    configuration, or of any."""
    from datasets import config
    from datasets.naming import camelcase_to_snakecase

    owner, _, name = repo.partition("/")
    folder = Path(config.HF_DATASETS_CACHE) / f"{owner}___{camelcase_to_snakecase(name)}"
    # CONFIG/VERSION/COMMIT; a build that is being written has a longer name.
    pattern = f"{escape(configuration) or '*'}/*/*"
    builds = [path for path in folder.glob(pattern) if path.is_dir() and "." not in path.name]
    for build in sorted(builds, key=lambda path: path.stat().st_mtime, reverse=True):
        files = sorted([*build.glob(f"*-{split}.arrow"), *build.glob(f"*-{split}-*-of-*.arrow")])
        if files and build.name.startswith(revision or ""):
            return files
    return []


def missing(
    repo: str,
    split: str,
    revision: str | None,
    *,
    there: Iterable[str] = (),
    configuration: str = "",
) -> DataError:
    """The error for a split, or a configuration of it, that is neither here nor downloadable;
    `there` are the splits that are."""
    from datasets import config
    from huggingface_hub import constants

    which = f" --revision {revision}" if revision else ""
    others = ", ".join(sorted(there))
    of = f"Configuration {configuration!r} of split" if configuration else "Split"
    return DataError(
        f"{of} {split!r} of the data set {repo}, revision {revision or 'main'}, is not on this "
        "machine and could not be fetched.",
        known=f"Looked in {constants.HF_HUB_CACHE} and {config.HF_DATASETS_CACHE}"
        + (f"; there: {others}." if others else "."),
        remedy=f"Fetch it where there is a network: `hf download --repo-type dataset {repo}{which}`"
        ", or name a copy of it with --data PATH.",
    )
