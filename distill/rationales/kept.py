"""The kept rationales, as the examples that a student learns from."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from distill.examples import Example
from distill.layout import Workspace
from distill.objectives.objective import Objective
from distill.questions import Questions
from distill.rationales.logits import with_logits
from distill.rationales.store import Store
from harness.core.errors import DataError
from harness.core.mismatch import stop_on_mismatch
from harness.core.structured import Rationale
from harness.data.fingerprint import fingerprint

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
    folder = workspace.rationales
    record = Store(folder).read_record()
    if record is None:
        if objective is None or objective.needs:
            raise no_rationales(workspace)
        return [Example(sample, None) for sample in questions.selected()]
    stop_on_mismatch(
        record["fingerprint"],
        _known(questions, record["fingerprint"], Store(folder)),
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


def _known(questions: Questions, recorded: Mapping[str, Any], store: Store) -> Mapping[str, Any]:
    """What the rationales are compared by. Pictures that cannot be read any more count as they were
    when the rationales were written: training leaves their questions out."""
    known, data = questions.fingerprint(), questions.data
    lost = {sample for sample, digests in data.digests.items() if "" in digests}
    if not lost or known["data"] == recorded.get("data"):
        return known
    rows = [row for row in (*store.read_kept(), *store.read_rejected()) if row.get("id") in lost]
    then = {row["id"]: tuple(row["images"]) for row in rows if row.get("images")}
    found = fingerprint(data.samples.samples, {**data.digests, **then})
    return {**known, "data": f"sha256:{found}"}


def no_rationales(workspace: Workspace) -> DataError:
    """The error where the first stage has left nothing."""
    return DataError(
        f"{workspace.rationales} has no rationales.",
        remedy=f"harness distill rationales --name {workspace.name}",
    )
