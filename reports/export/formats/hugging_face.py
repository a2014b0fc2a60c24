"""Runs as the hub reads them: for each model a folder that can be uploaded into its repository,
with `.eval_results/TASK.yaml` and a README.md whose metadata hold the model-index.

Both formats name the data set by its id on the hub. Neither has a field for an interval: `notes`
say it in words, and the model-index has it among a metric's arguments.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from harness.core.files.paths import safe_name
from harness.core.types import Value
from harness.metrics.registry import CONTEXT
from harness.run.records import RunRecord
from reports.export.formats.markdown import escaped
from reports.export.run_files import File, context, started, text_file
from reports.inputs import runs, sanitize
from reports.inputs.material import RunData

if TYPE_CHECKING:
    from huggingface_hub import EvalResult, EvalResultEntry

TASK_TYPE = "visual-question-answering"


def unfit(evidence: RunData, dataset: str | None) -> str:
    """Why the run cannot be written; empty: it can.

    Args:
        evidence: the run.
        dataset: the hub's data set that the questions are, said by the user; None: as recorded.
    """
    run = evidence.record
    if next(_scores(run), None) is None:
        return "it has no figures"
    if dataset is not None or dataset_id(run):
        return ""
    source = sanitize.text(run.task.source) or "a source that the record does not name"
    return (
        f"its questions are from {source}, and the Hub's formats need a data set of the Hub; "
        "name it with --dataset ORG/NAME"
    )


def dataset_id(run: RunRecord) -> str | None:
    """The hub's data set that a run was made from; None where its source may as well be a folder:
    only what comes from the hub has a revision."""
    task = run.task
    return task.source if task.revision and sanitize.hub_url(task.source) else None


def write(evidence: Sequence[RunData], dataset: str | None) -> Iterator[File]:
    """The folder of each model, with all its runs; `dataset` as for `unfit`."""
    from huggingface_hub import eval_result_entries_to_yaml
    from huggingface_hub.utils import yaml_dump  # type: ignore[attr-defined]  # typed in part

    models: dict[str, list[RunRecord]] = {}
    for run in evidence:
        models.setdefault(safe_name(run.record.model.name), []).append(run.record)
    for folder, records in models.items():
        tasks: dict[str, list[RunRecord]] = {}
        for record in records:
            tasks.setdefault(safe_name(record.task.name), []).append(record)
        for task, of_task in tasks.items():
            entries = [entry for record in of_task for entry in _entries(record, dataset)]
            text = yaml_dump(eval_result_entries_to_yaml(entries))
            yield text_file(f"{folder}/.eval_results/{task}.yaml", text)
        yield text_file(f"{folder}/README.md", _card(records, dataset))


def _scores(run: RunRecord) -> Iterator[tuple[str, Value]]:
    """The figures that were computed, in the record's order."""
    for metric in run.metrics:
        found = runs.figure(run, metric)
        if found.value is not None:
            yield metric, found


# .eval_results


def _entries(run: RunRecord, dataset: str | None) -> Iterator[EvalResultEntry]:
    """An entry for each figure over all questions; those by topic are in the model-index."""
    from huggingface_hub import EvalResultEntry

    date, where = started(run), dataset or dataset_id(run) or ""
    for metric, value in _scores(run):
        if metric in CONTEXT or "/" in metric:
            continue
        yield EvalResultEntry(
            dataset_id=where,
            task_id=_task_id(run, metric),
            value=value.value,
            dataset_revision=_commit(run),
            date=f"{date:%Y-%m-%dT%H:%M:%SZ}" if date else None,
            notes=_notes(run, metric, value),
        )


def _task_id(run: RunRecord, metric: str) -> str:
    """The task; with the split where it is not the usual one, and with the metric where the run has
    others."""
    parts = [run.task.name]
    parts += [run.task.split] if run.task.split != "test" else []
    parts += [metric] if len(set(run.metric_info) - CONTEXT) > 1 else []
    return "_".join(map(safe_name, parts))


def _commit(run: RunRecord) -> str | None:
    """The data set's revision where it is a commit, as the hub wants it."""
    revision = sanitize.text(run.task.revision)
    return revision if re.fullmatch("[0-9a-f]{40}", revision) else None


def _notes(run: RunRecord, metric: str, value: Value) -> str:
    """What the format has no fields for, in words."""
    settings = sanitize.mapping(run.settings)
    parts = [
        sanitize.text(metric),
        f"n {value.n:,}",
        f"95% interval {value.low:.6g} to {value.high:.6g}"
        if value.low is not None and value.high is not None
        else "",
        "" if _is_better_high(run, metric) else "lower is better",
        *(
            f"{name} {found:.6g}"
            for name, found in context(run, metric).items()
            if found is not None
        ),
        runs.origin(run),
        f"{sanitize.text(run.task.split)} split, {runs.questions(run)}",
        f"data {sanitize.text(run.task.source, limit=80)}",
        f"prompt style {style}" if (style := sanitize.text(settings.get("style"))) else "",
        f"{shots} shots" if (shots := sanitize.whole(settings.get("shots"))) is not None else "",
        f"mode {mode}" if (mode := sanitize.text(settings.get("mode"))) else "",
        f"weights {sanitize.text(run.model.weights, limit=80)}" if run.model.weights else "",
        f"harness {version}"
        if (version := sanitize.text(sanitize.mapping(run.environment).get("harness")))
        else "",
    ]
    return "; ".join(part for part in parts if part)


# The model card


def _card(records: Sequence[RunRecord], dataset: str | None) -> str:
    """A model card that holds the figures and nothing else: a README.md to begin with, or to take
    the model-index from."""
    from huggingface_hub import ModelCard, ModelCardData

    title = runs.title(records[0])
    data = ModelCardData(
        model_name=title,
        eval_results=[result for run in records for result in eval_results(run, dataset)],
    )
    lines = ["---", data.to_yaml(), "---", "", f"# {escaped(title)}", ""]
    return str(ModelCard("\n".join([*lines, *(line for run in records for line in _body(run))])))


def eval_results(run: RunRecord, dataset: str | None = None) -> Iterator[EvalResult]:
    """Every figure, those by topic too, as a model-index has them.

    Args:
        dataset: the Hub's data set that the questions are; None: as recorded.
    """
    from huggingface_hub import EvalResult

    where, name = dataset or dataset_id(run) or "", sanitize.text(run.task.words or run.task.name)
    for metric, value in _scores(run):
        yield EvalResult(
            task_type=TASK_TYPE,
            dataset_type=where,
            dataset_name=name,
            dataset_split=sanitize.text(run.task.split),
            dataset_revision=sanitize.text(run.task.revision) or None,
            metric_type=sanitize.text(metric.partition("/")[0]),
            metric_name=sanitize.text(metric),
            metric_value=value.value,
            metric_args=_args(run, metric, value),
        )


def _args(run: RunRecord, metric: str, value: Value) -> dict[str, Any]:
    found = {
        "n": value.n,
        "low": value.low,
        "high": value.high,
        "note": value.note or None,
        "higher_is_better": None if _is_better_high(run, metric) else False,
    }
    return {key: each for key, each in found.items() if each is not None}


def _is_better_high(run: RunRecord, metric: str) -> bool:
    """Whether more is better, or at least not said to be worse."""
    return metric in CONTEXT or run.about(metric).higher_is_better


def _body(run: RunRecord) -> Iterator[str]:
    yield f"## {escaped(run.task.title or run.task.name)}, {escaped(run.task.split)} split"
    yield ""
    yield f"{escaped(runs.origin(run))} · {escaped(runs.asked(run))}"
    yield ""
    yield "| Figure | Value | 95% interval | n |"
    yield "| --- | ---: | ---: | ---: |"
    for metric, value in _scores(run):
        ends = (
            f"{value.low:.4f} to {value.high:.4f}"
            if value.low is not None and value.high is not None
            else ""
        )
        yield f"| {escaped(metric)} | {value.value or 0.0:.4f} | {ends} | {value.n:,} |"
    yield ""
