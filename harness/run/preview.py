"""What a run would do, before anything is answered: its questions, its first prompt, and what is
missing. No weights are read and no server is contacted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from harness.core.errors import HarnessError
from harness.core.options import ModelOptions, RunOptions
from harness.core.types import Decoding, Model, Prompt, Sample, Task
from harness.data.selection import select
from harness.run.answering import prompt_settings
from harness.run.folder import RunFolder
from harness.run.prompting import Failure, Prompter, PromptSettings
from harness.run.scoring import takes_bertscore
from harness.run.settings import early_fingerprint, resolve
from harness.run.task_data import Data
from harness.sources.registry import find_source
from harness.sources.source import Source
from harness.tracking.registry import check_trackers


@dataclass(slots=True, kw_only=True)
class Preview:
    """One model on one task."""

    model: str
    task: str
    questions: int | None = None
    """How many are asked; None: the data are missing."""
    scope: str = ""
    """What they are of: "4,241 in the test split; without an image 2,224 left out"."""
    answered: int = 0
    """How many of them an earlier run has answered."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """As run.json has them, defaults resolved."""
    prompt: str | None = None
    """The text that the model's tokenizer, or the server, gets for the first question."""
    images: int = 0
    """Pictures of the first question."""
    missing: list[HarnessError] = field(default_factory=list)
    """What is in the way, with what helps."""


class _Unloaded:
    """Stands for a model where only its limits matter."""

    def __init__(self, max_images: int | None) -> None:
        self.max_images = max_images


def preview(model: ModelOptions, data: Data, options: RunOptions) -> Preview:
    """What `evaluate` would do with the same arguments."""
    found = Preview(model=model.model, task=data.task.name)
    source: Source | None = None
    try:
        check_trackers(options.tracking)
    except HarnessError as error:
        found.missing.append(error)
    try:
        source = find_source(model)
        found.model = source.checkpoint.name
    except HarnessError as error:
        found.missing.append(error)
    try:
        _count(found, data, options)
        if source is not None and found.questions:
            _ask(found, source, data, options)
        if takes_bertscore(data.task) and options.bertscore is not None:
            from harness.metrics.bertscore import find_encoder

            find_encoder(options.bertscore)
    except HarnessError as error:
        found.missing.append(error)
    return found


def _count(found: Preview, data: Data, options: RunOptions) -> None:
    samples = data.samples
    parts = [f"{samples.total:,} in the {data.options.split} split"]
    parts += [f"{reason}: {count:,} left out" for reason, count in samples.filtered.items()]
    found.scope = "; ".join(parts)
    found.questions = len(_selected(data, options))


def _selected(data: Data, options: RunOptions) -> list[Sample]:
    samples = data.samples.samples
    return [*select(samples, limit=options.limit, how=options.sample, seed=options.seed)]


def first_prompt(
    source: Source,
    data: Data,
    sample: Sample,
    *,
    settings: PromptSettings,
    decoding: Decoding,
    task: Task | None = None,
) -> Prompt | Failure:
    """The prompt of a question, or why there is none.

    Args:
        task: words the question; None: the data's own.
    """
    model = cast("Model", _Unloaded(source.max_images))
    prompter = Prompter(
        model, task or data.task, settings=settings, decoding=decoding, digests=data.digests
    )
    return prompter.prompt(sample)


def _ask(found: Preview, source: Source, data: Data, options: RunOptions) -> None:
    """Word the first question, and compare with the run that is there."""
    found.settings = settings = resolve(source, data, options)
    selected = _selected(data, options)
    prompt = first_prompt(
        source,
        data,
        selected[0],
        settings=prompt_settings(data, settings),
        decoding=Decoding(**settings["decoding"]),
    )
    if isinstance(prompt, Failure):
        found.missing.append(HarnessError(f"Question {selected[0].id}: {prompt.reason}."))
    else:
        found.images = len(prompt.images)
        found.prompt = source.prompt_text(prompt)
    folder = RunFolder.of(
        options.runs,
        task=data.task.name,
        model=source.checkpoint.name,
        split=data.options.split,
    )
    if options.fresh or (old := folder.read_record()) is None:
        return
    wanted = {sample.id for sample in selected}
    answered = [p for p in folder.read_all() if p.error is None and p.sample_id in wanted]
    found.answered = len(answered)
    known = early_fingerprint(source, data, settings)
    folder.stop_on_mismatch(old, known, command=options.command)
