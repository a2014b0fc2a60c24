"""`--push-to-hub`: a trained student with its card and its scores, on the hub or ready for it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.layout import Workspace
from harness.core.errors import HarnessError
from harness.core.files.paths import safe_name
from harness.core.terminal import say

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

    from distill.questions import Questions


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """Where a student went."""

    repository: str
    url: str | None
    """None: nothing was sent, as HF_HUB_OFFLINE is set or the hub did not take it."""
    commands: list[str]
    """What sends it."""
    error: HarnessError | None = None
    """Why the hub did not take it; the folder is ready."""

    def show(self) -> None:
        """Print it; an error is printed where the command ends."""
        if self.error is not None:
            return
        if self.url is not None:
            say(f"On the Hub: {self.url}")
            return
        say("HF_HUB_OFFLINE is set: nothing was sent. The folder is ready for:")
        for command in self.commands:
            say(command)

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "repository": self.repository,
            "url": self.url,
            "commands": self.commands,
            "error": self.error.to_json() if self.error else None,
        }


def publish(
    workspace: Workspace, questions: Questions, student: Path, record: dict[str, Any]
) -> Published | None:
    """Put the student's scores into its card and send its folder; None where that is not wanted.

    Args:
        questions: that it was trained on.
        record: distill.json.
    """
    if workspace.push_to_hub is None:
        return None
    from distill.publishing import set_results, upload, upload_commands, validation_results
    from distill.questions import title_of

    set_results(
        student,
        workspace.name,
        [
            *validation_results(record, data=title_of(questions.data)),
            *_tested(workspace.runs, student),
        ],
    )
    repository, url, refused = workspace.push_to_hub, None, None
    try:
        url = upload(student, repository)
    except HarnessError as error:
        refused = error
    return Published(
        repository=repository,
        url=url,
        commands=upload_commands(student, repository),
        error=refused,
    )


def _tested(runs: Path, student: Path) -> Iterator[EvalResult]:
    """The scores of every run of these very weights."""
    from harness.checkpoints.folder import weights_fingerprint
    from harness.run.folder import read_runs
    from reports.export.formats.hugging_face import dataset_id, eval_results

    weights = weights_fingerprint(student)
    for _, run in read_runs(runs)[0]:
        if run.fingerprint.get("weights") == weights:
            yield from eval_results(
                run, dataset_id(run) or safe_name(run.task.own_title or run.task.title)
            )
