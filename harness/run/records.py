"""The record of a run: what run.json and a line of predictions.jsonl hold, whatever version wrote
them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import cache
from types import MappingProxyType
from typing import Any, Literal, Self, TypeVar, cast

from harness.core.errors import DataError
from harness.core.json_types import check_fields, check_mapping, is_one
from harness.core.types import IntervalMethod, Metric, Prediction, Reference, Unit, Value, Vote
from harness.metrics.registry import CONTEXT, metric
from harness.run.former_fields import prediction_with_present_names, with_present_names
from harness.run.record_fields import (
    Environment,
    Fingerprint,
    Session,
    Settings,
    Timing,
    Versioned,
)

T = TypeVar("T")

FORMAT = 2
"""1: predictions with `correct`, log-likelihoods as `scores`, one reference; no `metric_info`."""
SYNTHETIC = "mini (synthetic)"
"""Label of each score of a miniature, and of synthetic questions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskInfo:
    """The task as it was when the run was made."""

    name: str
    title: str
    split: str
    source: str = ""
    revision: str | None = None
    licence: str = ""
    unit: str = "questions"
    synthetic: bool = False
    """Its questions are made by a program."""
    own_title: str = ""
    """What the user's own questions are called, which the task only words and scores; "": they are
    those of its data set."""

    @property
    def words(self) -> str:
        """What was asked, as a heading has it."""
        return f"{self.own_title} ({self.title})" if self.own_title else self.title


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInfo:
    """The model as it was when the run was made: a record outlives the catalogue."""

    name: str
    title: str
    size: str = ""
    """As people write it: "2B"."""
    parameters: int | None = None
    """Counted on the loaded model."""
    role: str = "baseline"
    """teacher, student, distilled or baseline."""
    repo: str | None = None
    revision: str | None = None
    weights: str = ""
    """Where the weights were loaded from, in words."""
    licence: str = ""
    family: str = ""
    """How harness.models loads and runs it; "openai": a server."""
    mini: bool = False
    """It is one of the package's own miniatures, not the published model."""


Scope = Literal["sample", "corpus", "group", "run"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricInfo:
    """A metric as it was when the run was made: a record outlives the code of a metric."""

    title: str
    unit: Unit = ""
    """"%": a fraction, shown as a percentage."""
    higher_is_better: bool = True
    lowest: float | None = None
    highest: float | None = None
    """The bounds of its figures; None: not known."""
    scope: Scope = "run"
    """What has a score: each sample, with its own in predictions.jsonl; the corpus; each group of
    samples; or only the run, by a function that describes nothing."""
    interval: IntervalMethod = "none"
    meaning: str = ""

    @classmethod
    def of(cls, metric: Metric) -> Self:
        """The description of a metric."""
        alone = "corpus" if metric.aggregate else "group" if metric.per_group else "sample"
        low, high = metric.bounds or ((0.0, 1.0) if metric.unit == "%" else (None, None))
        return cls(
            title=metric.title,
            unit=metric.unit,
            higher_is_better=metric.higher_is_better,
            lowest=low,
            highest=high,
            scope=cast(Scope, alone),
            interval=metric.interval,
            meaning=metric.meaning,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """How many samples there are, by outcome."""

    total: int
    """Rows of the split, before filtering."""
    filtered: Mapping[str, int] = field(default_factory=dict)
    available: int = 0
    """Samples of the split after filtering."""
    done: int = 0
    """Samples with a line in predictions.jsonl. Minus those that failed, it is the n of metrics."""
    failed: int = 0
    unparsed: int = 0
    """Answers in which nothing could be read."""
    beyond_context: int = 0
    """Prompts that are longer than the model's context; they are among those that failed."""
    truncated: int = 0
    """Prompts that were shortened to fit the context."""
    empty: int = 0
    """Answers of white space alone."""
    cut: int | None = None
    """Answers that the token limit cut; None if no answer records why it ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """Everything that is needed to print a run's row a year later."""

    task: TaskInfo
    model: ModelInfo
    fingerprint: Mapping[str, Any]
    """What must be equal for a run to be resumed: see harness.run.settings."""
    counts: Counts
    status: str = "running"
    """running, interrupted, partial (a limit, or failed samples), complete."""
    metrics: Mapping[str, Value] = field(default_factory=dict)
    """By name; by topic as <name>/<topic>."""
    metric_info: Mapping[str, MetricInfo] = field(default_factory=dict)
    """A description of each name; the first one decides."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Prompt style and template, decoding, dtype, attention kernel, batch size ... as used last."""
    timing: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
    command: Sequence[str] = ()
    configuration: Mapping[str, Any] = field(default_factory=dict)
    """Every option of the command by its name, defaults included, as `--config` reads them."""
    sessions: Sequence[Mapping[str, Any]] = ()
    """One entry for each process that worked on this run."""
    format: int = FORMAT

    @property
    def label(self) -> str:
        """The label of each of its scores; "" for a real model on real questions."""
        return SYNTHETIC if self.task.synthetic or self.model.mini else ""

    @property
    def decisive(self) -> str | None:
        """The name of the metric by which runs are ranked; None where nothing is scored."""
        return next((name for name in self.metric_info if name not in CONTEXT), None)

    def about(self, metric: str) -> MetricInfo:
        """What is known of a metric, or of the one behind a figure by topic."""
        name = metric.partition("/")[0]
        return self.metric_info.get(name) or MetricInfo(title=name)

    @property
    def is_silent(self) -> bool:
        """Whether there are answers, and every one of them is empty."""
        return 0 < self.counts.done - self.counts.failed == self.counts.empty

    def to_json(self) -> dict[str, Any]:
        """The record as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any], *, label: str) -> Self:
        """The record in `data`; `label` is the file that errors name."""
        try:
            data = with_present_names(data)
            check_mapping(data, Versioned, "run.json")
            if data["format"] > FORMAT:
                raise DataError(
                    f"{label} was written by a newer harness (format {str(data['format'])[:20]}).",
                    remedy="Update harness, or use --fresh.",
                )
            parts = {**data, "format": FORMAT}
            parts["task"] = _build(TaskInfo, data["task"])
            parts["model"] = _build(ModelInfo, data["model"])
            parts["counts"] = _build(Counts, data["counts"])
            parts["metrics"] = {k: _build(Value, v) for k, v in data["metrics"].items()}
            described = {k: _build(MetricInfo, v) for k, v in data.get("metric_info", {}).items()}
            parts["metric_info"] = described or former_info(parts["metrics"])
            return _build(cls, parts)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(
                f"{label} is not a run record: {_why(error)}.",
                remedy="Move its folder away, or run the same command with --fresh.",
            ) from error


def _why(error: Exception) -> str:
    return f"field {error} is missing" if isinstance(error, KeyError) else str(error)


def _build(cls: type[T], data: Mapping[str, Any]) -> T:
    """`cls` from the fields of `data` that it knows, under today's names."""
    known = _names(cls)  # type: ignore[arg-type]  # a class is hashable
    if known.issuperset(data):
        return cls(**data)
    renamed = {new: data[old] for old, new in _RENAMED.get(cls, {}).items() if old in data}
    return cls(**renamed | {key: value for key, value in data.items() if key in known})


_RENAMED: Mapping[type, Mapping[str, str]] = MappingProxyType({ModelInfo: {"adapter": "family"}})
"""Class -> the names of its fields in older records, and today's."""


@cache
def _names(cls: type) -> frozenset[str]:
    return frozenset(f.name for f in fields(cls))


_FORMER_DECISIVE = ("accuracy", "rougeL", "rouge1")
"""The first of these that a run of format 1 has decides."""


def former_info(metrics: Mapping[str, Value]) -> dict[str, MetricInfo]:
    """The descriptions of a record that has none: of the metrics that we know by name, those that
    decide first, and of a user's own."""
    names = [name for name in metrics if "/" not in name]
    first = next((name for name in _FORMER_DECISIVE if name in names), None)
    names.sort(key=lambda name: (name != first, name in CONTEXT))
    known = {name: metric(name) for name in names}
    return {
        name: MetricInfo.of(found) if found else MetricInfo(title=name)
        for name, found in known.items()
    }


def check_record(record: RunRecord) -> None:
    """Raises TypeError where a field holds something that it cannot."""
    check_fields(record)
    described = (*record.metrics.values(), *record.metric_info.values())
    for part in (record.task, record.model, record.counts, *described):
        check_fields(part)
    check_mapping(record.timing, Timing, "timing")
    check_mapping(record.settings, Settings, "settings")
    check_mapping(record.fingerprint, Fingerprint, "fingerprint")
    check_mapping(record.environment, Environment, "environment")
    for session in record.sessions:
        check_mapping(session, Session, "sessions")


def prediction_to_json(prediction: Prediction) -> dict[str, Any]:
    """One line of predictions.jsonl."""
    fields = asdict(prediction)
    if isinstance(prediction.target, tuple):
        fields["target"] = [
            reference.text if reference == Reference(reference.text) else asdict(reference)
            for reference in prediction.target
        ]
    return fields


def prediction_from_json(data: Mapping[str, Any]) -> Prediction:
    """One line of predictions.jsonl; raises TypeError where fields are missing or do not fit."""
    prediction = checked_prediction(data)
    check_fields(prediction)
    number = len(prediction.choices)
    for value in (prediction.target, prediction.answer):
        if isinstance(value, int) and not 0 <= value < number:
            raise ValueError(f"{value} is none of its {number} choices")
    if prediction.order and sorted(prediction.order) != list(range(number)):
        raise ValueError(f"{prediction.order} is no order of its {number} choices")
    if prediction.span is not None and not _is_span(prediction.span, len(prediction.raw)):
        raise ValueError(f"{prediction.span} is no part of its raw text")
    return prediction


def checked_prediction(data: Mapping[str, Any]) -> Prediction:
    """A line that `prediction_from_json` has checked before; of another one the fields may hold
    anything."""
    fields = prediction_with_present_names(data)
    if isinstance(fields.get("target"), list):
        fields["target"] = tuple(_reference(each) for each in fields["target"])
        if not fields["target"]:
            raise TypeError("field 'target' has no reference")
    if fields.get("votes"):
        fields["votes"] = tuple(_vote(each, fields.get("choices")) for each in fields["votes"])
    for name in _LISTS:
        if isinstance(fields.get(name), list):
            fields[name] = tuple(fields[name])
    if len(fields) == len(_SETTERS) and _names(Prediction).issuperset(fields):
        return _with_every_field(fields)
    return _build(Prediction, fields)


def _with_every_field(values: Mapping[str, Any]) -> Prediction:
    """What `Prediction` makes of all its fields, in a third of the time: as a frozen class it sets
    each by name."""
    made = object.__new__(Prediction)
    for name, set_field in _SETTERS.items():
        set_field(made, values[name])
    return made


_SETTERS: Mapping[str, Callable[[Prediction, Any], None]] = MappingProxyType(
    {field.name: getattr(Prediction, field.name).__set__ for field in fields(Prediction)}
)


def _reference(data: Any) -> Reference:
    """A reference from JSON: its text, or an object with the text and what is said of it."""
    made = Reference(data) if isinstance(data, str) else _build(Reference, data)
    check_fields(made)
    return made


def _vote(data: Any, choices: Any) -> Vote:
    """One of several answers to a question, from JSON."""
    made = _build(Vote, data)
    check_fields(made)
    if isinstance(made.answer, int) and not 0 <= made.answer < len(choices or ()):
        raise ValueError(f"{made.answer} is none of its {len(choices or ())} choices")
    return made


def _is_span(span: Sequence[object], length: int) -> bool:
    if len(span) != 2 or not all(is_one(end, (int,)) for end in span):
        return False
    start, end = span
    return isinstance(start, int) and isinstance(end, int) and 0 <= start <= end <= length


_LISTS = ("choices", "order", "log_likelihoods", "images", "span", "votes")
