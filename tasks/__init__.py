"""The tasks: one file each. This module finds them by name, and users' own by path.

Extraction it imports no task; a task imports what is heavy when it loads its data.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import re
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import wraps
from importlib.abc import SourceLoader
from pathlib import Path
from types import CodeType, MappingProxyType, ModuleType
from typing import Any

from harness.core.errors import HarnessError, SampleError
from harness.core.files.paths import user_path
from harness.core.suggestions import closest
from harness.core.types import (
    Contributions,
    Extraction,
    Metric,
    Prompt,
    RunMetric,
    SampleSet,
    Submission,
    Task,
    TaskFile,
    Value,
)
from harness.metrics.former import FormerMetric
from harness.metrics.registry import CONTEXT
from harness.metrics.registry import metric as registered
from tasks.former_names import present
from tasks.task_file import asking_part

TASKS = MappingProxyType(
    {
        "scienceqa": "Science questions with options, most with a picture (Lu et al., 2022)",
        "vqaonline": "Questions people asked online, with long answers (Chen et al., 2023)",
        "aokvqa": "Questions about the world, with options (Schwenk et al., 2022)",
        "aokvqa-direct": "The same without options, ten human answers each",
        "ai2d": "School diagrams with masked labels (Kembhavi et al., 2016)",
        "ai2d-no-mask": "The same with their labels",
        "blink": "What people see at a glance, several pictures (Fu et al., 2024)",
        "chartqa": "Questions about charts (Masry et al., 2022)",
        "cvbench": "Counting, relations, depth and distance (Tong et al., 2024)",
        "docvqa": "Questions about scanned documents (Mathew et al., 2021)",
        "gqa": "Compositional questions about photographs (Hudson and Manning, 2019)",
        "infovqa": "Questions about infographics (Mathew et al., 2022)",
        "mmbench": "Abilities one by one, each question in every order (Liu et al., 2024)",
        "mathvista": "Mathematics about figures and charts, extracted by rule (Lu et al., 2024)",
        "mmmu": "College questions of 30 subjects, pictures among the words (Yue et al., 2024)",
        "mmstar": "Questions that need the picture (Chen et al., 2024)",
        "ocrbench": "Reading text in pictures (Liu et al., 2024)",
        "pope": "Is there such an object? (Li et al., 2023)",
        "realworldqa": "Everyday photographs (xAI, 2024)",
        "textvqa": "Questions about words in pictures (Singh et al., 2019)",
        "vizwiz": "Questions of blind people about their photographs (Gurari et al., 2018)",
        "vqav2": "Questions about photographs, ten human answers each (Goyal et al., 2017)",
        "scienceqa-mini": "Drawn science questions in ScienceQA's schema; nothing to download",
        "vqaonline-mini": "Drawn questions with answers of several sentences; nothing to download",
    }
)
"""Name, which is also the module's (with _ for -), -> what it is."""
SECTIONS = MappingProxyType(
    {
        "Science": ("scienceqa", "ai2d", "ai2d-no-mask", "mathvista"),
        "Documents": ("textvqa", "docvqa", "infovqa", "chartqa", "ocrbench"),
        "Photographs": ("vqav2", "gqa", "vizwiz", "aokvqa", "aokvqa-direct", "pope", "realworldqa"),
        "Abilities": ("mmstar", "mmbench", "mmmu", "blink", "cvbench"),
        "Long answers": ("vqaonline",),
        "Synthetic": ("scienceqa-mini", "vqaonline-mini"),
    }
)
"""What the lists show together -> its tasks."""


def load_task(name_or_path: str) -> Task:
    """The task of that name, or the `TASK` of a Python file such as `./mine.py`.

    A file is the user's own and is executed, under a name that hides no other module.

    Raises:
        HarnessError: there is no such task or file, or the file does not define a task.
    """
    if name_or_path in TASKS:
        return _task_in(
            importlib.import_module(f"tasks.{name_or_path.replace('-', '_')}"), name_or_path
        )
    if name_or_path.endswith(".py"):
        path = user_path(name_or_path)
        return _guarded(_task_in(_execute(path), name_or_path), path)
    if name_or_path.endswith(".toml") or name_or_path in _groups():
        raise HarnessError(
            f"{name_or_path} is a group of tasks, and here one task is needed.",
            remedy="harness eval takes groups.",
        )
    close = closest(name_or_path, TASKS)
    raise HarnessError(
        f"There is no task {name_or_path!r}.",
        known=f"The tasks are {', '.join(TASKS)}.",
        remedy=f"Did you mean {close}?" if close else "A task of your own is a path: ./mine.py",
    )


def _groups() -> set[str]:
    """The names of the groups: see `tasks.groups`."""
    return {path.stem for path in (Path(__file__).parent / "groups").glob("*.toml")}


def _task_in(module: ModuleType, label: str) -> Task:
    task = getattr(module, "TASK", None)
    if isinstance(task, Task):
        return _checked(task, label)
    problem = "defines no TASK" if task is None else f"has a {type(task).__name__} as its TASK"
    raise HarnessError(
        f"{label} {problem}.",
        remedy="Define TASK = harness.Task(...) in it; docs/new-task.md makes one.",
    )


def _checked(task: Task, label: str) -> Task:
    """`task`, if its fields are what they say: Python itself does not look."""
    fits = {
        "name": isinstance(task.name, str),
        "title": isinstance(task.title, str),
        "load": callable(task.load),
        "prompt": callable(task.prompt),
        "extract": callable(task.extract),
        "metrics": isinstance(task.metrics, tuple) and all(map(_is_metric, task.metrics)),
        "answers": task.answers in {"choice", "text", "mixed"},
        "about": callable(task.about),
        "max_new_tokens": isinstance(task.max_new_tokens, int) and task.max_new_tokens > 0,
        "synthetic": isinstance(task.synthetic, bool),
        "licence": isinstance(task.licence, str),
        "split": isinstance(task.split, str) and bool(task.split),
        "questions": task.questions is None or isinstance(task.questions, int),
        "submission": task.submission is None or isinstance(task.submission, Submission),
    }
    for name, is_right in fits.items():
        if not is_right:
            raise HarnessError(
                f"{label}: TASK has {ascii(getattr(task, name))[:60]} as its {name}.",
                remedy="help(harness.Task) says what each field holds; docs/new-task.md makes one.",
            )
    described = {str(each.name): each for each in task.metrics if isinstance(each, Metric)}
    names = [str(each.name) for each in task.metrics if isinstance(each, Metric)]
    for name, each in described.items():
        is_taken = name in CONTEXT and each != registered(name)
        if not _NAME.fullmatch(name) or is_taken or names.count(name) > 1:
            raise HarnessError(
                f"{label}: a metric of TASK cannot be called {ascii(name)[:60]}.",
                known="Each has a name of its own, of letters, digits and _; chance and unparsed "
                "are taken.",
            )
    return task


_NAME = re.compile(r"\w+", re.ASCII)


def _guarded(task: Task, path: Path) -> Task:
    """A user's task whose mistakes, when it is used, are reported with their line."""
    return replace(
        task,
        load=_guard(task.load, SampleSet, path),
        prompt=_guard(task.prompt, Prompt, path),
        extract=_guard(task.extract, Extraction, path),
        about=_guard(task.about, object, path),
        metrics=tuple(_guarded_metric(metric, path) for metric in task.metrics),
        file=_hashed(path),
    )


def _is_metric(metric: object) -> bool:
    return isinstance(metric, Metric) or callable(metric)


def _guarded_metric(metric: Metric | RunMetric, path: Path) -> Metric | RunMetric:
    """A metric of ours as it is; a user's own with its functions guarded."""
    if isinstance(metric, FormerMetric) or metric == registered(getattr(metric, "name", "")):
        return metric
    if not isinstance(metric, Metric):
        return _guard(metric, Mapping, path)
    single, whole, group = metric.per_sample, metric.aggregate, metric.per_group
    undefined = (ZeroDivisionError,)  # where there is nothing to divide by there is no figure
    return replace(
        metric,
        per_sample=single and _guard(single, object, path),
        aggregate=whole and _guard(whole, object, path, let=undefined),
        per_group=group and _guard(group, object, path),
        batch=metric.batch and _guard(metric.batch, Contributions, path),
    )


def _hashed(path: Path) -> TaskFile:
    source = path.read_bytes()
    asking = asking_part(source).encode("utf-8", "backslashreplace")
    return TaskFile(*(f"sha256:{hashlib.sha256(part).hexdigest()}" for part in (asking, source)))


def _guard(
    function: Callable[..., Any],
    wanted: type,
    path: Path,
    *,
    let: tuple[type[Exception], ...] = (),
) -> Callable[..., Any]:
    """The function, with its errors as ours, but for those to `let` through."""

    @wraps(function)
    def call(*arguments: Any, **named: Any) -> Any:
        try:
            made = function(*arguments, **named)
        except Exception as error:  # whatever the user's code raises
            if isinstance(error, (HarnessError, SampleError, *let)):
                raise
            raise _told(error, path) from error
        values = made.values() if wanted is Mapping and isinstance(made, Mapping) else ()
        if not isinstance(made, wanted) or not all(isinstance(v, Value) for v in values):
            name = getattr(function, "__name__", str(function))
            article = "an" if wanted.__name__[0] in "AEIOU" else "a"
            raise HarnessError(
                f"{path}: {name} returned {ascii(made)[:60]}, not {article} {wanted.__name__}"
                f"{' of names to Values' if wanted is Mapping else ''}.",
                remedy=_KEPT,
            )
        return made

    return call


_KEPT = "What was answered is kept: mend the file and give the same command again."


class _Source(SourceLoader):
    """A Python file that is read again each time, and leaves no bytecode."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def get_filename(self, fullname: str) -> str:  # noqa: ARG002  # one file, whatever its name
        return str(self._path)

    def get_data(self, path: str) -> bytes:
        return Path(path).read_bytes()

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        code: CodeType = compile(present(self.get_data(path), path), path, "exec")
        return code


def _execute(path: Path) -> ModuleType:
    if not path.is_file():
        raise HarnessError(f"There is no task file {path}.", remedy="Name one: --task ./mine.py")
    loader = _Source(path)
    digest = hashlib.sha256(os.fsencode(path.resolve())).hexdigest()
    module = ModuleType(f"_task_{digest[:16]}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # dataclasses look their module up there
    try:
        loader.exec_module(module)
    except (Exception, SystemExit) as error:  # whatever the user's code raises
        del sys.modules[module.__name__]
        raise _told(error, path) from error
    return module


def _told(error: BaseException, path: Path) -> HarnessError:
    what = f"{type(error).__name__}: {error}".rstrip(": ")
    return HarnessError(f"{path}, line {_line(error, path)}: {what}.")


def _line(error: BaseException, path: Path) -> int:
    """The line of the file in which the error arose."""
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return error.lineno or 1
    frames = traceback.extract_tb(error.__traceback__)
    numbers = [frame.lineno for frame in frames if frame.filename == str(path)]
    return (numbers[-1] if numbers else None) or 1
