"""Fetching a repository from the hub; where that fails, why, and what helps.

The hub answers a private repository and a misspelt name alike, and the client's errors speak of
HTTP. Here each kind of failure gets one sentence and the command that fixes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from harness.checkpoints.catalog import CATALOG
from harness.core.errors import Exit, HarnessError

if TYPE_CHECKING:
    from huggingface_hub.errors import HfHubHTTPError


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository and the branch, tag or commit that is asked for; None: its main branch."""

    name: str
    revision: str | None
    kind: Literal["model", "dataset"] = "model"

    def __str__(self) -> str:
        return self.name + (f" at revision {self.revision}" if self.revision else "")

    @property
    def page(self) -> str:
        """Where people read about it."""
        from huggingface_hub import constants

        return f"{constants.ENDPOINT}/{'datasets/' if self.kind == 'dataset' else ''}{self.name}"

    @property
    def holding(self) -> str:
        """What it holds, as a subject of a sentence about several things."""
        return f"The {'weights' if self.kind == 'model' else 'files'} of {self}"

    @property
    def command(self) -> str:
        """What fetches it."""
        option = f" --revision {self.revision}" if self.revision else ""
        kind = "--repo-type dataset " if self.kind == "dataset" else ""
        return f"hf download {kind}{self.name}{option}"


def snapshot(repo: Repository, patterns: Sequence[str], *, otherwise: str = "") -> Path:
    """The folder of a repository in the hub's cache; its name is the commit. What is missing is
    fetched, unless HF_HUB_OFFLINE is set.

    Args:
        patterns: the files that are fetched.
        otherwise: what can be run where the repository cannot be had.

    Raises:
        HarnessError: it is not here and cannot be fetched (exit 3).
    """
    import httpx2
    from huggingface_hub import snapshot_download

    try:
        return Path(
            snapshot_download(repo.name, revision=repo.revision, allow_patterns=list(patterns))
        )
    except (httpx2.HTTPError, OSError, ValueError) as error:
        what, known, remedy = explain(error, repo)
        remedy = "\n".join(filter(None, [remedy, otherwise]))
        raise HarnessError(what, known=known, remedy=remedy, code=Exit.MISSING) from error


def files(repo: Repository) -> list[str]:
    """The names of all files of a repository; none where the hub cannot be asked."""
    import httpx2
    from huggingface_hub import HfApi

    try:
        found = HfApi().model_info(repo.name, revision=repo.revision).siblings
    except (httpx2.HTTPError, OSError):
        return []
    return [file.rfilename for file in found or []]


def explain(error: Exception, repo: Repository) -> tuple[str, str, str]:
    """What an error of the hub's client means: what is wrong, what is known, and the remedy."""
    from huggingface_hub import constants
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        IncompleteSnapshotError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    cache = f"the hub cache {constants.HF_HUB_CACHE}"
    cause = error.__cause__
    match cause if isinstance(cause, HfHubHTTPError) else error:
        case GatedRepoError():
            return _gated(repo)
        case RepositoryNotFoundError():
            return _not_found(repo)
        case RevisionNotFoundError():
            known = f"Its branches and tags are listed on {repo.page}/tree/main."
            option = "--model-revision" if repo.kind == "model" else "--revision"
            return f"{repo.name} has no revision {repo.revision}.", known, f"{option} NAME"
        case HfHubHTTPError() as answer:
            return _refused(answer, repo)
        case IncompleteSnapshotError():
            known = f"An interrupted download left it in {cache}."
            return f"Only a part of {repo} is here.", known, repo.command
        case HFValidationError():
            return f"{repo.name} cannot be the name of a repository: {error}", "", ""
        case OSError(errno=int(), strerror=str() as reason):
            known = f"They are kept in {cache}; HF_HOME moves it."
            return f"{repo.holding} cannot be stored: {reason}.", known, repo.command
    if constants.HF_HUB_OFFLINE or isinstance(cause, OfflineModeIsEnabled):
        known = f"Looked in {cache}; HF_HUB_OFFLINE is set, so nothing is fetched."
        return f"{repo.holding} are not here.", known, repo.command
    reason = " ".join(str(cause or error).split())
    known = f"Looked in {cache}; the hub cannot be reached: {reason}"
    return f"{repo.holding} are not here.", known, repo.command


def _gated(repo: Repository) -> tuple[str, str, str]:
    known = f"{_login()} must have accepted its licence, and its owners may have to agree."
    remedy = f"Accept the licence on {repo.page}, then: hf auth login\n{repo.command}"
    return f"{repo.name} is gated: its files are not given to everybody.", known, remedy


def _not_found(repo: Repository) -> tuple[str, str, str]:
    """A name that is misspelt, or a private repository: the hub does not tell which."""
    rows = [row.repo for row in CATALOG if row.repo]
    near = get_close_matches(repo.name, rows, n=1)
    name = f"Did you mean {near[0]}?" if near else f"Check the name on {repo.page}."
    return (
        f"The hub has no repository {repo.name}, or it is private.",
        f"The hub answers both alike. If it is private, {_login().lower()} must have access to it.",
        f"{name} If it is private: hf auth login",
    )


def _refused(error: HfHubHTTPError, repo: Repository) -> tuple[str, str, str]:
    """An answer of the hub that is about the caller or the hub, not about the repository."""
    status = error.response.status_code
    known = f"HTTP {status}" + (f": {error.server_message}" if error.server_message else "")
    if status == 401:
        remedy = "hf auth login, or unset HF_TOKEN."
        return "The hub does not accept this machine's access token.", known, remedy
    return f"The hub does not give {repo} at the moment.", known, f"Later: {repo.command}"


def _login() -> str:
    """Who asks the hub, in words."""
    from huggingface_hub import get_token

    return "The account of your access token" if get_token() else "An account, with a login here,"
