"""A benchmark harness for small vision-language models, and structured reasoning distillation.

`evaluate`, `load_run` and `compare` are its Python interface: see `harness.api`. What a task file
needs is here too: `from harness import Task, Metric, Prompt`; see `harness.api.task_parts`.
"""

import sys
from typing import TYPE_CHECKING, Any

from harness.core.shadowing import refuse_shadow
from harness.core.version import __version__ as __version__

# The package `kernels` downloads compiled code, and transformers reaches for it wherever it is
# installed. None is Python's way to say that there is no such module; it must be said first.
sys.modules.setdefault("kernels", None)  # type: ignore[arg-type]

refuse_shadow()

if TYPE_CHECKING:
    from harness.api import Run, Runs, compare, evaluate, load_run
    from harness.api.task_parts import (
        Contributions,
        DataOptions,
        Extraction,
        ImageRef,
        Metric,
        Prediction,
        Prompt,
        Reference,
        Row,
        Sample,
        SampleSet,
        Style,
        Submission,
        Task,
        Value,
        choice_question,
        collect,
        extract_choice,
        extract_mixed,
        extract_open,
        metric,
        open_question,
        open_source,
        placed,
        short_answer,
    )

_RUNS = ("Run", "Runs", "compare", "evaluate", "load_run")
__all__ = [
    "Contributions",
    "DataOptions",
    "Extraction",
    "ImageRef",
    "Metric",
    "Prediction",
    "Prompt",
    "Reference",
    "Row",
    "Run",
    "Runs",
    "Sample",
    "SampleSet",
    "Style",
    "Submission",
    "Task",
    "Value",
    "__version__",
    "choice_question",
    "collect",
    "compare",
    "evaluate",
    "extract_choice",
    "extract_mixed",
    "extract_open",
    "load_run",
    "metric",
    "open_question",
    "open_source",
    "placed",
    "short_answer",
]


def __getattr__(name: str) -> Any:
    """The Python interface, imported when it is first used: `import harness` stays quick."""
    if name in __all__:
        from harness import api
        from harness.api import task_parts

        return getattr(api if name in _RUNS else task_parts, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
