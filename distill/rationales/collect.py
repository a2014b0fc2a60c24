"""The first stage: rationales from a teacher or from a file, or those that are there already."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from distill.layout import Workspace
from distill.options import TEACHER_SCORES, RationaleOptions
from distill.questions import Questions
from distill.rationales.attempts import Work
from distill.rationales.fingerprint import Fingerprint, names_of
from distill.rationales.gains import Scorer
from distill.rationales.generate import generate
from distill.rationales.importing import import_rationales, read_rows
from distill.rationales.store import Store
from distill.rationales.teacher import teacher_of
from harness.core.errors import HarnessError
from harness.core.options import ModelOptions
from harness.core.types import Model
from harness.sources.registry import find_source
from harness.sources.source import Source

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Teaching:
    """Where rationales come from."""

    teacher: ModelOptions
    others: Sequence[ModelOptions] = ()
    """Further teachers."""
    imported: Path | None = None
    """A file of rationales in place of the teacher."""
    options: RationaleOptions

    @property
    def teachers(self) -> Sequence[ModelOptions]:
        return (self.teacher, *self.others)


def collect_rationales(
    workspace: Workspace, questions: Questions, teaching: Teaching
) -> dict[str, Any]:
    """Write the files of `distill.rationales.store`; returns the record.

    Where they are complete and a teacher's weights are no longer there, they are left as they are.

    Raises:
        HarnessError: what is there was made with other settings, or the teacher is not here.
        Interrupted: asked to stop; the same call resumes.
    """
    options = teaching.options
    if teaching.imported is not None:
        return import_rationales(teaching.imported, workspace, questions, options=options)
    options.check(questions.data.task)
    questions.selected()  # refuses a limit that cannot be
    try:
        sources = [find_source(each) for each in teaching.teachers]
        scorer = _scorer(teaching, sources[0])
    except HarnessError as error:
        record = Store(workspace.folder).read_record()
        work = Work(workspace, questions, options, teachers=names_of(record))
        if record is None or workspace.fresh or not _is_complete(work, record, teaching):
            raise
        log.warning("%s Its rationales are complete, and are used as they are.", error.what)
        about = record.get("teachers") or [record["teacher"]]
        work.begin(Fingerprint(record["fingerprint"], {}), about=about)
        return work.finish()
    teachers = [teacher_of(each, max_new_tokens=options.max_new_tokens) for each in sources]
    if len(teachers) > 1:
        loaders = [_Loader(model) for model in teaching.teachers]
        teachers = [
            replace(teacher, load=loader.load, rendering=loader.rendering)
            for teacher, loader in zip(teachers, loaders, strict=True)
        ]
    at_once = options.batch_size or sources[0].capabilities.concurrency
    return generate(
        teachers,
        workspace,
        questions,
        options=replace(options, batch_size=at_once),
        scorer=scorer,
    )


class _Loader:
    """Loads a teacher that nobody holds but who asks it: several may not fit into memory
    together."""

    def __init__(self, options: ModelOptions) -> None:
        self._rendering: Mapping[str, str | None] = {}
        self._options = options

    def rendering(self) -> Mapping[str, str | None]:
        """How it words prompts; empty until it is loaded."""
        return self._rendering

    def load(self) -> Model:
        source = find_source(self._options)
        model = source.load()
        self._rendering = dict(source.rendering)
        return model


def _scorer(teaching: Teaching, first: Source) -> Scorer | None:
    """The model that scores the attempts, where the method needs one; raises HarnessError."""
    options, teacher = teaching.options, teaching.teacher
    if not options.scores_by_model:
        return None
    if options.gain_by == TEACHER_SCORES:
        return Scorer(first)
    named = ModelOptions(
        model=options.gain_by, size=teacher.size, device=teacher.device, dtype=teacher.dtype
    )
    return Scorer(find_source(named))


def _is_complete(work: Work, record: Mapping[str, Any], teaching: Teaching) -> bool:
    """Whether the rationales on disk are by these teachers, and as many as are wanted. Opens
    `work` where they may be."""
    for key, value in work.questions.fingerprint().items():
        if record["fingerprint"].get(key) != value:
            return False
    named = [{each.model, Path(each.model).name} for each in teaching.teachers]
    names = names_of(record)
    if len(names) != len(named):
        return False
    if any(name not in known for name, known in zip(names, named, strict=True)):
        return False
    work.open()
    return work.is_over


@dataclass(frozen=True, slots=True)
class TeacherEstimate:
    """How far the first stage is."""

    rationales: int
    """Kept ones on disk, or rows of the file that replaces the teacher."""
    remaining: int
    """Questions without an attempt."""
    seconds: float | None
    """For those, at the speed so far and one attempt each; None: there is no attempt yet."""


def estimate_teacher(
    workspace: Workspace, questions: Questions, teaching: Teaching
) -> TeacherEstimate:
    """What the first stage still has to do; a file needs no teacher."""
    if teaching.imported is not None:
        return TeacherEstimate(sum(1 for _ in read_rows(teaching.imported)), 0, 0.0)
    store = Store(workspace.folder)
    attempts = store.read_attempts()
    done = {attempt.id for attempt in attempts}
    remaining = sum(sample.id not in done for sample in questions.selected())
    times = [attempt.seconds for attempt in attempts if attempt.seconds is not None]
    seconds = remaining * fmean(times) if times else None
    return TeacherEstimate(len(store.read_kept()), remaining, seconds)
