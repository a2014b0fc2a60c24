"""Several tasks with one model: it is loaded once, and a task that fails stops no other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.core.errors import HarnessError
from harness.core.judge_options import JudgeOptions
from harness.core.options import RunOptions
from harness.core.types import DataOptions, Task
from harness.run.evaluate import evaluate
from harness.run.scoring import Run
from harness.run.task_data import Data
from harness.sources.source import Source
from tasks.groups import Entry


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A task with its data and the options that it is asked with."""

    name: str
    """As it was asked for: a name, or a path."""
    data: Data
    options: RunOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A run that could not be made."""

    model: str
    task: str
    """"": none of the tasks."""
    error: HarnessError

    def to_json(self) -> dict[str, Any]:
        return {**self.error.to_json(), "model": self.model, "task": self.task or None}


def item(
    entry: Entry, task: Task, how: RunOptions, *, questions: DataOptions, path: Path | None = None
) -> Item:
    """A task as its group asks it; what the command says wins.

    Args:
        how: of the command, for all tasks.
        questions: likewise.
        path: the data that the command names for this task.
    """
    path = path or questions.path
    own = {
        "task": [entry.task],
        **({"data": [str(entry.data)]} if entry.data and path is None else {}),
        **({"split": entry.split} if entry.split and not questions.split else {}),
        **({"limit": entry.limit} if entry.limit and how.limit is None else {}),
        **({"style": entry.style} if entry.style and how.generation.style is None else {}),
    }
    generation = replace(how.generation, style=how.generation.style or entry.style)
    return Item(
        name=entry.task,
        data=Data(
            task,
            replace(questions, path=path or entry.data, split=questions.split or entry.split),
        ),
        options=replace(
            how,
            limit=how.limit or entry.limit,
            generation=generation,
            configuration={**how.configuration, **own},
        ),
    )


def judged_where_written(items: Sequence[Item]) -> list[Item]:
    """The items, those whose answers are options without a judge, where others are written."""
    if all(each.data.task.answers == "choice" for each in items):
        return list(items)  # a judge is refused
    return [
        replace(each, options=replace(each.options, judging=JudgeOptions()))
        if each.data.task.answers == "choice"
        else each
        for each in items
    ]


def evaluate_each(source: Source, items: Iterable[Item], *, model: str) -> Iterator[Run | Failure]:
    """Run the model on one task after the other; after an error the next one starts.

    Args:
        model: as it was asked for, for the records.
    """
    for each in items:
        configuration: Mapping[str, Any] = {**each.options.configuration, "model": [model]}
        try:
            yield evaluate(source, each.data, replace(each.options, configuration=configuration))
        except HarnessError as error:
            yield Failure(model=model, task=each.name, error=error)
