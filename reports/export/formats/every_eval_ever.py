"""Runs, and the paper's rows of the same tasks, in the schema of Every Eval Ever, version 0.2.2: a
JSON document for each, and for runs whose answers are right or wrong a JSONL file with a line for
each answer.

What was measured has the source type "evaluation_run", what the paper reports "documentation".
Nothing is said that is not known: an organisation, or a relationship to a model's makers, is not.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from hashlib import sha256
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from harness.core.files.paths import safe_name
from harness.core.types import Prediction, Value
from harness.metrics.registry import CONTEXT
from harness.metrics.registry import metric as registered
from harness.run.records import MetricInfo, RunRecord
from reports.export.formats.hugging_face import dataset_id
from reports.export.run_files import (
    File,
    answered,
    context,
    json_file,
    jsonl_file,
    scored_by,
    started,
)
from reports.inputs import runs, sanitize
from reports.inputs.material import RunData
from reports.inputs.paper import Paper, PaperColumn, PaperRow, PaperTable, load

VERSION = "0.2.2"
UNKNOWN = "unknown"


def write(evidence: Sequence[RunData], dataset: str | None) -> Iterator[File]:
    """The files of all runs, and of the paper's rows for the tasks of these runs. `dataset` is the
    hub's data set that the questions are, said by the user; None: as recorded."""
    for run in evidence:
        yield from _run_files(run, dataset)
    paper, tasks = load(), {run.record.task.name for run in evidence}
    dates = [date for run in evidence if (date := started(run.record))]
    retrieved = _epoch(max(dates).timestamp() if dates else None)
    for table in paper.tables:
        if table.task in tasks:
            for row in table.rows:
                name = f"{table.task}/{row.model}/{retrieved}"
                path = _path(table.task, UNKNOWN, row.model, key=f"paper {name}")
                yield json_file(
                    f"{path}.json", partial(_reported, paper, table, row, retrieved=retrieved)
                )


def _path(task: str, developer: str, model: str, *, key: str) -> str:
    """Where the schema's keepers want it, without an ending; `key` tells documents apart."""
    folders = (safe_name(part) for part in (task, developer, model))
    name = uuid5(NAMESPACE_URL, key.encode("utf-8", "backslashreplace").decode())
    return "/".join(("data", *folders, str(name)))


def _epoch(seconds: float | None) -> str:
    """Unix time as text; 0 where it is not known."""
    return str(int(seconds or 0))


def _strings(details: Mapping[str, object]) -> dict[str, str]:
    """Details as the schema wants them: text, and only what there is."""
    return {key: text for key, value in details.items() if (text := sanitize.text(value))}


# What was measured


def _run_files(run: RunData, dataset: str | None) -> Iterator[File]:
    record = run.record
    model = _model_id(record)
    developer, slash, name = model.partition("/")
    fingerprint = json.dumps(record.fingerprint, sort_keys=True, default=str)
    path = _path(
        record.task.name,
        developer if slash else UNKNOWN,
        name if slash else model,
        key=f"{_evaluation_id(record)} {record.model.name} {record.task.split} {fingerprint}",
    )
    answers = jsonl_file(f"{path}_samples.jsonl", partial(_instances, run))
    has_answers = next(_instances(run), None) is not None
    yield json_file(
        f"{path}.json", partial(_measured, record, dataset, answers if has_answers else None)
    )
    if has_answers:
        yield answers


def _model_id(run: RunRecord) -> str:
    return run.model.repo or run.model.name


def _evaluation_id(run: RunRecord) -> str:
    date = started(run)
    return f"{run.task.name}/{_model_id(run)}/{_epoch(date.timestamp() if date else None)}"


def _measured(run: RunRecord, dataset: str | None, answers: File | None) -> dict[str, Any]:
    date = started(run)
    epoch = _epoch(date.timestamp() if date else None)
    environment = sanitize.mapping(run.environment)
    document = {
        "schema_version": VERSION,
        "evaluation_id": _evaluation_id(run),
        # The run's own time, so that the same run gives the same bytes.
        "retrieved_timestamp": epoch,
        "source_metadata": {
            "source_name": "harness",
            "source_type": "evaluation_run",
            "source_organization_name": UNKNOWN,
            "evaluator_relationship": "other",
            "additional_details": _strings({"origin": runs.origin(run), "status": run.status}),
        },
        "eval_library": {
            "name": "harness",
            "version": sanitize.text(environment.get("harness")) or UNKNOWN,
            "additional_details": _strings({"commit": environment.get("commit")}),
        },
        "model_info": _model(run),
        "evaluation_results": [
            _result(run, dataset, metric, value=value)
            for metric in run.metrics
            if metric.partition("/")[0] not in CONTEXT
            and _has_bounds(run.about(metric))
            and (value := runs.figure(run, metric)).value is not None
        ],
    }
    if date:
        document["evaluation_timestamp"] = epoch
    if answers:
        digest, rows = sha256(), 0
        for piece in answers.pieces():
            digest.update(piece)
            rows += 1
        document["detailed_evaluation_results"] = {
            "format": "jsonl",
            "file_path": answers.path.rpartition("/")[2],
            "hash_algorithm": "sha256",
            "checksum": digest.hexdigest(),
            "total_rows": rows,
        }
    return document


def _model(run: RunRecord) -> dict[str, Any]:
    described = sanitize.mapping(sanitize.mapping(run.settings).get("model"))
    library = sanitize.text(sanitize.mapping(run.environment).get("transformers"))
    model: dict[str, Any] = {
        "name": runs.title(run),
        "id": _model_id(run),
        "additional_details": _strings(
            {
                "size": run.model.size,
                "parameters": run.model.parameters,
                "role": run.model.role,
                "revision": run.model.revision,
                "weights": run.model.weights,
                "licence": run.model.licence,
                "dtype": described.get("dtype"),
                "device": described.get("device"),
            }
        ),
    }
    if run.model.repo and "/" in run.model.repo:
        model["developer"] = run.model.repo.partition("/")[0]
    if version := sanitize.text(described.get("vllm")):
        model["inference_engine"] = {"name": "vllm", "version": version}
    elif described.get("class") and library:  # loaded here, not asked of a server
        model["inference_engine"] = {"name": "transformers", "version": library}
    return model


def _result(run: RunRecord, dataset: str | None, metric: str, *, value: Value) -> dict[str, Any]:
    root, _, topic = metric.partition("/")
    uncertainty: dict[str, Any] = {"num_samples": value.n}
    if value.low is not None and value.high is not None:
        uncertainty["confidence_interval"] = {
            "lower": value.low,
            "upper": value.high,
            "confidence_level": 0.95,
            "method": value.note or UNKNOWN,
        }
    return {
        "evaluation_result_id": metric,
        "evaluation_name": f"{run.task.name}/{topic}" if topic else run.task.name,
        "source_data": _source(run, dataset, value.n),
        "metric_config": {
            "evaluation_description": f"{metric}, {runs.asked(run)}",
            "metric_id": root,
            "metric_name": root,
            **_bounds(run.about(metric)),
        },
        "score_details": {
            "score": value.value,
            "uncertainty": uncertainty,
            "details": _strings({"note": value.note, **context(run, metric)}),
        },
        "generation_config": _generation(run),
    }


def _has_bounds(about: MetricInfo) -> bool:
    """Whether it is known between what a metric lies: the schema has no place for others."""
    ends = sanitize.number(about.lowest), sanitize.number(about.highest)
    return None not in ends


def _bounds(about: MetricInfo, scale: int = 1) -> dict[str, Any]:
    low, high = sanitize.number(about.lowest) or 0.0, sanitize.number(about.highest) or 0.0
    is_proportion = -1 <= low <= high <= 1
    return {
        "metric_unit": "percent" if scale == 100 else "proportion" if is_proportion else "points",
        "lower_is_better": not about.higher_is_better,
        "score_type": "continuous",
        "min_score": low * scale,
        "max_score": high * scale,
    }


def _source(run: RunRecord, dataset: str | None, n: int) -> dict[str, Any]:
    fingerprint = sanitize.mapping(run.fingerprint).get("data")
    details = _strings(
        {"source": run.task.source, "revision": run.task.revision, "fingerprint": fingerprint}
    )
    found = {"dataset_name": run.task.title or run.task.name, "additional_details": details}
    if repo := dataset or dataset_id(run):
        return {
            **found,
            "source_type": "hf_dataset",
            "hf_repo": repo,
            "hf_split": run.task.split,
            "samples_number": n,
        }
    return {**found, "source_type": "other"}


def _generation(run: RunRecord) -> dict[str, Any]:
    settings = sanitize.mapping(run.settings)
    decoding = sanitize.mapping(settings.get("decoding"))
    arguments: dict[str, Any] = {}
    if settings.get("mode") != "loglikelihood":
        arguments = {
            "temperature": sanitize.number(decoding.get("temperature")),
            "top_p": sanitize.number(decoding.get("top_p")),
        }
        if tokens := sanitize.whole(decoding.get("max_new_tokens")):
            arguments["max_tokens"] = tokens
    if command := sanitize.sequence(run.command):
        arguments["execution_command"] = shlex.join(map(str, command))
    keys = ("style", "instruction", "mode", "options", "shots", "shuffle", "batch_size", "seed")
    return {
        "generation_args": arguments,
        "additional_details": _strings({key: settings.get(key) for key in keys}),
    }


def _instances(run: RunData) -> Iterator[dict[str, Any]]:
    """A line for each answer and each metric that says whether it is right: the schema wants to
    know, and an answer that is right in part is neither."""
    record, answers = run.record, answered(run)
    common = {
        "schema_version": f"instance_level_eval_{VERSION}",
        "evaluation_id": _evaluation_id(record),
        "model_id": _model_id(record),
        "evaluation_name": record.task.name,
    }
    for metric in scored_by(record):
        about = record.metric_info[metric]
        scored = [p for p in answers if metric in p.scores]
        if about.unit == "%" and all(p.scores[metric] in (0, 1) for p in scored):
            for p in scored:
                instance = _instance(p, p.scores[metric], best=float(about.higher_is_better))
                yield {**common, "evaluation_result_id": metric, **instance}


def _instance(prediction: Prediction, score: float, *, best: float) -> dict[str, Any]:
    accepted = list(prediction.references)
    reference = accepted if len(accepted) > 1 else accepted[0]
    asked = {"raw": prediction.question, "reference": reference}
    instance: dict[str, Any] = {
        "interaction_type": "single_turn",
        "sample_id": prediction.sample_id,
        "sample_hash": sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest(),
        "input": {
            "raw": prediction.question,
            "formatted": prediction.prompt or None,
            "reference": accepted,
            "choices": list(prediction.choices) or None,
        },
        "output": {"raw": [prediction.raw]},
        "answer_attribution": [
            {
                "turn_idx": 0,
                "source": "output.raw",
                "extracted_value": prediction.text,
                "extraction_method": prediction.rule,
                "is_terminal": True,
            }
        ],
        "evaluation": {"score": score, "is_correct": score == best},
        "metadata": _strings(
            {
                "topic": prediction.topic,
                "images": " ".join(prediction.images),
                "answer": prediction.answer,
                "target": prediction.target if prediction.choices else None,
                "group": prediction.group,
            }
        ),
    }
    if prediction.tokens_in is not None and prediction.tokens is not None:
        instance["token_usage"] = {
            "input_tokens": prediction.tokens_in,
            "output_tokens": prediction.tokens,
            "total_tokens": prediction.tokens_in + prediction.tokens,
        }
    if prediction.seconds is not None:
        instance["performance"] = {"latency_ms": prediction.seconds * 1000}
    return instance


# What the paper reports


def _reported(paper: Paper, table: PaperTable, row: PaperRow, *, retrieved: str) -> dict[str, Any]:
    figures = table.figures(row)  # without the time, which is no score
    return {
        "schema_version": VERSION,
        "evaluation_id": f"{table.task}/{row.model}/{retrieved}",
        "retrieved_timestamp": retrieved,
        "source_metadata": {
            "source_name": f"{paper.title}, Table {table.number}",
            "source_type": "documentation",
            "source_organization_name": paper.authors,
            "evaluator_relationship": "first_party" if _is_theirs(row) else "third_party",
            "additional_details": {"origin": "reported in the paper"},
        },
        "eval_library": {"name": UNKNOWN, "version": UNKNOWN},
        "model_info": {
            "name": row.model,
            "id": row.model,
            "additional_details": _strings(
                {"size": row.size, "inference time": row.cells.get("inference_minutes")}
            ),
        },
        "evaluation_results": [
            _printed(table, row, column) for column in table.columns if column.metric in figures
        ],
    }


def _is_theirs(row: PaperRow) -> bool:
    """The one model of the tables that the paper's authors made."""
    return row.name == "moondream-kd"


def _printed(table: PaperTable, row: PaperRow, column: PaperColumn) -> dict[str, Any]:
    """A cell as printed, with what is to be said against it."""
    printed, metric = row.cells[column.metric], column.metric
    root, _, topic = metric.partition("/")
    ours = registered(root)
    found = [finding for finding in table.findings(row) if metric in finding.metrics]
    return {
        "evaluation_result_id": metric,
        "evaluation_name": f"{table.task}/{topic}" if topic else table.task,
        "source_data": {
            "dataset_name": table.title,
            "source_type": "other",
            "additional_details": {"questions": table.data},
        },
        "metric_config": {
            "evaluation_description": f"{column.key}: {column.meaning}",
            "metric_id": root,
            "metric_name": root,
            **_bounds(MetricInfo.of(ours) if ours else MetricInfo(title=root), table.scale),
        },
        "score_details": {
            "score": float(printed),
            "details": _strings(
                {"printed": printed, "remarks": " ".join(each.reason for each in found)}
            ),
        },
    }
