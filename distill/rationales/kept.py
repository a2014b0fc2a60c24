"""The kept rationales, as the examples that a student learns from."""

from __future__ import annotations

import logging
from pathlib import Path

from distill.examples import Example
from distill.layout import Workspace
from distill.objectives.objective import Objective
from distill.questions import Questions
from distill.rationales.logits import with_logits
from distill.rationales.store import Store
from harness.core.errors import DataError
from harness.core.mismatch import stop_on_mismatch
from harness.core.structured import Rationale

log = logging.getLogger(__name__)


def read_rationales(folder: Path) -> dict[str, Rationale]:
    """Sample id -> its kept rationale, which concludes with the gold answer.

    Raises:
        DataError: a line of rationales.jsonl is not one.
    """
    return {
        row["id"]: Rationale(row["summary"], row["caption"], row["reasoning"], row["conclusion"])
        for row in Store(folder).read_kept()
    }


def load_examples(
    workspace: Workspace, questions: Questions, *, objective: Objective | None = None
) -> list[Example]:
    """The examples of the selected questions: those with a kept rationale or, where there are no
    rationales and none are needed, all of them; with the teacher's logits where those are needed.

    Args:
        objective: that learns them; None: the rationales are wanted.

    Raises:
        DataError: there are no rationales, or they are of other data.
    """
    folder = workspace.folder
    record = Store(folder).read_record()
    if record is None:
        if objective is None or objective.needs:
            raise no_rationales(workspace)
        return [Example(sample, None) for sample in questions.selected()]
    stop_on_mismatch(
        record["fingerprint"],
        questions.fingerprint(),
        what=f"the rationales in {folder}",
        made_by=record.get("command", ()),
        command=workspace.command,
        error=DataError,
    )
    if record["status"] != "complete":
        log.warning("%s: the rationales are %s.", folder, record["status"])
    kept = read_rationales(folder)
    examples = [Example(s, kept[s.id]) for s in questions.selected() if s.id in kept]
    if not examples:
        raise DataError(
            f"None of the rationales in {folder} was kept.",
            known=f"The reasons: {record['counts'].get('reasons')}",
            remedy="Choose a wider --filter: none keeps any text.",
        )
    if objective is not None and objective.top_logits:
        return with_logits(examples, workspace, objective=objective, task=questions.data.task)
    return examples


def no_rationales(workspace: Workspace) -> DataError:
    """The error where the first stage has left nothing."""
    return DataError(
        f"{workspace.folder} has no rationales.",
        remedy=f"harness distill rationales --name {workspace.name}",
    )
