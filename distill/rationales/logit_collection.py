"""The stage between rationales and training, for objectives that need it: the teacher reads each
question as it was asked it, followed by the target, and its logits there are kept."""

from __future__ import annotations

import inspect
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.examples import Example
from distill.layout import Workspace
from distill.objectives.objective import Objective, TopLogits
from distill.questions import Questions
from distill.rationales.collect import Teaching
from distill.rationales.kept import load_examples
from distill.rationales.logits import (
    files_of,
    folder_of_logits,
    keep_highest,
    read_logits_record,
    with_logits,
    write_logits,
    write_logits_record,
)
from distill.rationales.prompt import PROMPT_VERSION, teacher_task
from distill.rationales.store import Store
from distill.rationales.teacher import teacher_of
from distill.rationales.vocabularies import SharedTokens, share_tokens
from distill.training.tokens import RowMaker, checkpoint_of
from harness.core import progress
from harness.core.errors import ContextError, DataError, Exit, HarnessError, SampleError
from harness.core.needs import is_remote
from harness.core.types import Prompt
from harness.sources.weights import Weights

if TYPE_CHECKING:
    from torch import Tensor

    from harness.models.generative import GenerativeModel

log = logging.getLogger(__name__)


def collect_logits(
    workspace: Workspace,
    questions: Questions,
    teaching: Teaching,
    *,
    base: Path,
    objective: Objective,
) -> dict[str, Any]:
    """Compute what is missing for the kept rationales; returns the record.

    Where all are there and the teacher's weights no longer are, they are left as they are.

    Args:
        base: the student before training, whose tokens the targets are made of.

    Raises:
        HarnessError: there are no rationales, the teacher is not here, or its vocabulary is not the
            student's.
        Interrupted: asked to stop; the same call resumes.
    """
    examples = load_examples(workspace, questions)
    refuse_server(teaching)
    try:
        teacher = find_teacher(teaching)
    except HarnessError as error:
        record = _complete(workspace, questions, examples, objective)
        if record is None:
            raise
        log.warning("%s Its logits are complete, and are used as they are.", error.what)
        return record
    shared = share_tokens(teacher, base)
    known = _fingerprint(workspace, teacher, teaching, objective, vocabulary=shared.hash)
    work = _Work(
        folder=folder_of_logits(workspace, known),
        questions=questions,
        objective=objective,
        teaching=teaching,
        shared=shared,
        hinted={row["id"] for row in Store(workspace.folder).read_kept() if row.get("hinted")},
    )
    files = files_of(examples, work.folder, objective=objective, task=questions.data.task)
    started = time.perf_counter()
    failed = _compute(work, teacher, base, dict(zip(files, examples, strict=True)))
    seconds = time.perf_counter() - started
    there = [path for path in files if path.exists()]
    if not there:
        raise HarnessError(
            f"{teacher.checkpoint.name} gave no logits.",
            known=next(iter(failed.values()), ""),
            code=Exit.FAILED_SAMPLES,
        )
    counts = {"examples": len(examples), "there": len(there), "failed": failed}
    size = sum(path.stat().st_size for path in there)
    return _record(
        workspace,
        known,
        {"teacher": teacher_of(teacher).about, "counts": counts, "bytes": size},
        seconds=seconds,
    )


def _record(
    workspace: Workspace, known: Mapping[str, Any], about: Mapping[str, Any], *, seconds: float
) -> dict[str, Any]:
    """Write logits.json, with the time of this session added to that of earlier ones."""
    before = read_logits_record(workspace)
    if before is not None and before["fingerprint"] == known:
        seconds += before["seconds"]
    made = {"fingerprint": known, **about, "seconds": round(seconds, 3)}
    made["command"] = list(workspace.command)
    write_logits_record(workspace, made)
    return made


def _fingerprint(
    workspace: Workspace,
    teacher: Weights,
    teaching: Teaching,
    objective: Objective,
    *,
    vocabulary: str,
) -> dict[str, Any]:
    """What the logits of a target depend on. Those of an earlier version, which do not depend on a
    temperature, are used as they are."""
    made = {
        "teacher": teacher.weights_hash,
        "dtype": teacher.dtype,
        "teacher_input": sorted(teaching.options.inputs),
        "prompt_version": PROMPT_VERSION,
        "vocabulary": vocabulary,
        "top_k": objective.top_logits,
        **teacher.early_fingerprint,
    }
    before = read_logits_record(workspace)
    if before is not None and before["fingerprint"] == made:
        return made
    return {**made, "temperature": objective.logits_temperature}


def find_teacher(teaching: Teaching) -> Weights:
    """The teacher, if its weights are here; raises HarnessError."""
    return Weights(replace(teaching.teacher, engine="transformers"))


def refuse_server(teaching: Teaching) -> None:
    """Refuse several teachers, or one whose weights a server has; raises HarnessError."""
    if teaching.others:
        raise HarnessError(
            "The teacher's logits are those of one teacher, and several are named: "
            f"{', '.join(each.model for each in teaching.teachers)}.",
            remedy="--objective structured; or let each write with harness distill rationales, and "
            "name the one with harness distill logits --teacher NAME.",
        )
    if is_remote(teaching.teacher.model):
        raise HarnessError(
            f"The teacher's logits are computed from its weights; {teaching.teacher.model} is on a "
            "server.",
            remedy="--teacher with a model or a folder, or --objective structured",
        )


def check_teacher(teaching: Teaching, base: Path) -> None:
    """Refuse a teacher whose logits cannot be learned; raises HarnessError."""
    refuse_server(teaching)
    try:
        teacher = find_teacher(teaching)
    except HarnessError:
        return  # it may not be needed any more: see `collect_logits`
    share_tokens(teacher, base)


def _complete(
    workspace: Workspace, questions: Questions, examples: Sequence[Example], objective: Objective
) -> dict[str, Any] | None:
    """The record, where the logits of all examples are there."""
    try:
        task = questions.data.task
        found = with_logits(examples, workspace, objective=objective, task=task)
    except DataError:
        return None
    return read_logits_record(workspace) if all(each.logits for each in found) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """What is computed, and for which prompts."""

    folder: Path
    questions: Questions
    objective: Objective
    teaching: Teaching
    shared: SharedTokens
    hinted: set[str]
    """Ids of the questions whose kept rationale was written after a hint."""

    def prompt(self, example: Example) -> Prompt:
        """The prompt by which the teacher was asked for the rationale."""
        task, sample = self.questions.data.task, example.sample
        inputs = self.teaching.options.inputs
        asked = teacher_task(task, inputs, hinted=sample.id in self.hinted)
        return asked.prompt(sample, "structured")

    def kept(self, logits: Tensor) -> TopLogits:
        """What is kept of the logits of an example."""
        return keep_highest(
            logits,
            self.objective.top_logits,
            temperature=self.objective.logits_temperature,
            shared=self.shared,
        )


def _compute(
    work: _Work, teacher: Weights, base: Path, examples: Mapping[Path, Example]
) -> dict[str, str]:
    """Write the files that are not there; returns sample id -> why it has none.

    Args:
        examples: by file.
    """
    failed: dict[str, str] = {}
    missing = {path: example for path, example in examples.items() if not path.exists()}
    if not missing:
        return failed
    targets = _targets(work, base)
    model: Any = teacher.load()
    label = f"logits of {teacher.checkpoint.name}"
    with progress.make(label, total=len(examples), done=len(examples) - len(missing)) as bar:
        for path, example in missing.items():
            try:
                tokens = work.shared.by_teacher(targets(example))
                logits = target_logits(model, work.prompt(example), tokens)
            except SampleError as error:
                failed[example.sample.id] = str(error)
            else:
                write_logits(path, work.kept(logits))
            bar.advance()
    return failed


def _targets(work: _Work, base: Path) -> Callable[[Example], list[int]]:
    """A function from an example to the tokens of its target, as the student learns them."""
    from harness.models.loading import processor_of

    checkpoint = checkpoint_of(base, work.objective)
    processor = processor_of(checkpoint, {})
    rows = RowMaker(processor, checkpoint, work.objective, work.questions.data.task)

    def tokens(example: Example) -> list[int]:
        (target,) = work.objective.targets(example)
        return rows.target_tokens(target)[0]

    return tokens


def target_logits(model: GenerativeModel, prompt: Prompt, tokens: Sequence[int]) -> Tensor:
    """The logits by which `model` predicts each of `tokens`, by its own ids, after the prompt and
    those before it, (T, V).

    Raises:
        SampleError: the prompt cannot be made, or is too long with them.
    """
    import torch

    (prepared,) = model.prepare([prompt])
    whole = prepared.with_tokens(tokens)
    if model.context is not None and whole.length > model.context:
        raise ContextError(whole.length, model.context)
    network: Any = model.network
    inputs: dict[str, Any] = {
        name: value.to(network.device, network.dtype if value.is_floating_point() else None)
        for name, value in whole.inputs.items()
    }
    if "logits_to_keep" in inspect.signature(network.forward).parameters:
        inputs["logits_to_keep"] = len(tokens) + 1
    with torch.inference_mode():
        logits: Tensor = network(**inputs, use_cache=False).logits[0, -len(tokens) - 1 : -1]
    return logits
