"""A trained student on the hub: its folder with the card, the scores in the card's metadata, where
the hub reads them, and the upload.

The client finds its access token by itself; here it is in no record and in no message.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.layout import ADAPTER, CARD, EVALUATIONS
from harness.core.errors import Exit, HarnessError
from harness.core.files.atomic import write_atomically

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

TASK_TYPE = "visual-question-answering"
_KEPT_HERE = (EVALUATIONS,)
"""Not sent: it holds questions of the data."""


def check_repository(name: str) -> None:
    """Refuse, before anything is trained, what nothing can be sent to; raises HarnessError."""
    from huggingface_hub import constants, get_token
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]  # typed in part

    try:
        validate_repo_id(name)
    except HFValidationError as error:
        raise HarnessError(
            f"--push-to-hub {name}: {error}", remedy="--push-to-hub ORG/NAME"
        ) from error
    if name.count("/") != 1:
        raise HarnessError(
            f"--push-to-hub {name} does not say whose repository it is.",
            remedy=f"--push-to-hub ORG/{name}",
        )
    if not constants.HF_HUB_OFFLINE and not get_token():
        raise HarnessError(
            "--push-to-hub needs an access token of the hub that may write.",
            remedy="hf auth login, or set HF_HUB_OFFLINE=1 to have the folder made ready alone.",
            code=Exit.MISSING,
        )


def validation_results(record: Mapping[str, Any], *, data: str) -> list[EvalResult]:
    """The scores of the student on its validation questions, from distill.json.

    Args:
        data: what the questions are called.
    """
    from huggingface_hub import EvalResult

    validation = record.get("validation") or {}
    best = validation.get("best") or {}
    if best.get("score") is None:
        return []
    note = f"{validation['questions']} questions {validation['source']}; it chose the student"
    return [
        EvalResult(
            task_type=TASK_TYPE,
            dataset_type=data,
            dataset_name=f"{data}, validation",
            dataset_split=validation["split"] or "validation",
            metric_type=best["metric"],
            metric_name=f"{best['title']} (validation)",
            metric_value=best["score"],
            metric_args={"n": validation["questions"], "note": note},
        )
    ]


def set_results(student: Path, name: str, results: Sequence[EvalResult]) -> None:
    """Put scores into the metadata of a student's card (its model-index), in place of those that
    are there."""
    from huggingface_hub import ModelCard

    path = student / CARD
    card = ModelCard(path.read_text(encoding="utf-8"), ignore_metadata_errors=True)
    data: Any = card.data
    data.model_name = name
    data.eval_results = list(results) or None
    write_atomically(path, str(card).encode())


def upload_commands(student: Path, repository: str) -> list[str]:
    """The commands that send a student's folder, and its adapter, to the hub."""
    left_out = [word for name in _KEPT_HERE for word in ("--exclude", name)]
    commands = [["hf", "upload", repository, str(student), ".", *left_out]]
    adapter = student.parent / ADAPTER
    if adapter.is_dir():
        commands.append(["hf", "upload", repository, str(adapter), ADAPTER])
    return [shlex.join(command) for command in commands]


def upload(student: Path, repository: str) -> str | None:
    """Send a student's folder, and its adapter, to a repository of the hub, which is made, private,
    where it is not there. Returns its address; None: offline, so that nothing was sent.

    Raises:
        HarnessError: the hub cannot be reached or refuses it (exit 3); the folder is ready.
    """
    import httpx2
    from huggingface_hub import HfApi, constants
    from huggingface_hub.errors import HfHubHTTPError

    if constants.HF_HUB_OFFLINE:
        return None
    hub, adapter = HfApi(), student.parent / ADAPTER
    message = "Add the student that harness has trained"
    try:
        hub.create_repo(repository, private=True, exist_ok=True)
        hub.upload_folder(
            repo_id=repository,
            folder_path=student,
            commit_message=message,
            ignore_patterns=list(_KEPT_HERE),
        )
        if adapter.is_dir():
            hub.upload_folder(
                repo_id=repository,
                folder_path=adapter,
                path_in_repo=ADAPTER,
                commit_message="Add its LoRA adapter",
            )
    except (httpx2.HTTPError, OSError, ValueError) as error:
        status = error.response.status_code if isinstance(error, HfHubHTTPError) else None
        login = ["hf auth login, with a token that may write"] if status in {401, 403} else []
        known = f"HTTP {status}." if status else f"{type(error).__name__}."
        raise HarnessError(
            f"The student could not be sent to {repository}; its folder {student} is ready.",
            known=f"The hub's answer: {known}",
            remedy="\n".join([*login, *upload_commands(student, repository)]),
            code=Exit.MISSING,
        ) from error
    return f"{constants.ENDPOINT}/{repository}"
