"""A task that is given as an object, in place of a name or a file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from hashlib import sha256
from types import CodeType
from typing import Any

from harness.core.types import Metric, RunMetric, Task, TaskFile
from tasks import TASKS, load_task


def with_code_hash(task: Task) -> Task:
    """The task with a hash of its functions in the place of a file's: with other functions its
    answers are extracted again, or are another run's."""
    if task.file is not None or (task.name in TASKS and task == load_task(task.name)):
        return task
    asking = _hash(task.load, task.prompt)
    scoring = [each for metric in task.metrics for each in _functions(metric)]
    return replace(
        task, file=TaskFile(asking, _hash(task.load, task.prompt, task.extract, *scoring))
    )


def _functions(metric: Metric | RunMetric) -> list[Callable[..., Any]]:
    """The functions that make up a metric."""
    if not isinstance(metric, Metric):
        return [metric]
    parts = (metric.per_sample, metric.aggregate, metric.per_group, metric.batch)
    return [part for part in parts if part is not None]


def _hash(*functions: Callable[..., Any]) -> str:
    digest = sha256("\0".join(map(_words, functions)).encode("utf-8", "backslashreplace"))
    return f"sha256:{digest.hexdigest()}"


def _words(function: Any) -> str:
    """What a function does, as far as its code, defaults and bound arguments say."""
    if isinstance(function, partial):
        return f"{_words(function.func)}({function.args!r}, {function.keywords!r})"
    function = getattr(function, "__func__", function)
    code = getattr(function, "__code__", None)
    if code is None:
        return f"{getattr(function, '__module__', '')}.{type(function).__qualname__}"
    closed = [_value(cell.cell_contents) for cell in function.__closure__ or ()]
    return f"{_code(code)} {function.__defaults__!r} {closed}"


def _value(value: Any) -> str:
    """A variable from outside the function; of one that is large or has no words its type."""
    if isinstance(value, str | int | float | bytes | None):
        return repr(value)
    return _words(value) if callable(value) else type(value).__qualname__


def _code(code: CodeType) -> str:
    constants = [
        _code(each) if isinstance(each, CodeType) else repr(each) for each in code.co_consts
    ]
    return f"{code.co_code.hex()} {code.co_names} {constants}"
