"""Runs in the layout of lm-evaluation-harness: MODEL/results_DATE.json, and next to it a
samples_SUBTASK_DATE.jsonl with a line for each answer.

Topics are the subtasks of a group that bears the task's name; a task without topics stands alone.
What that layout has no field for (intervals, chance, unparsed answers, how a row came about, which
rule found an answer) stands under the key "harness", which its readers pass over.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property, partial
from hashlib import sha256
from typing import Any

from harness.core.files.paths import safe_name
from harness.core.json_values import finite
from harness.core.types import Prediction, Reference, gold_text, references
from harness.metrics.registry import CONTEXT
from harness.metrics.statistics import standard_error
from harness.run.records import RunRecord
from reports.export.run_files import (
    File,
    answered,
    json_file,
    jsonl_file,
    scored_by,
    started,
)
from reports.inputs import runs, sanitize
from reports.inputs.material import RunData

FILTER = "none"
NAMES = {"accuracy": "acc"}
"""Figures that go by another name there."""
UNDATED = datetime(1970, 1, 1, tzinfo=UTC)
"""For answers that were generated elsewhere, without a date."""


def write(evidence: Sequence[RunData], dataset: str | None) -> Iterator[File]:
    """The files of all runs that have answers; runs of one model share a folder, told apart by
    their date. `dataset` names the questions in place of what the record says."""
    taken: set[tuple[str, str]] = set()
    for run in (_Run(each, dataset) for each in evidence):
        if not run.answers:
            continue
        folder = safe_name(run.record.model.name)
        date = started(run.record) or UNDATED
        while (folder, _date_id(date)) in taken:
            date += timedelta(microseconds=1)
        taken.add((folder, _date_id(date)))
        yield from _files(run, folder, _date_id(date))


def _date_id(date: datetime) -> str:
    return date.replace(tzinfo=None).isoformat().replace(":", "-")


@dataclass(frozen=True)
class _Run:
    """A run with its subtasks."""

    evidence: RunData
    dataset: str | None

    @property
    def record(self) -> RunRecord:
        return self.evidence.record

    @cached_property
    def answers(self) -> list[Prediction]:
        return answered(self.evidence)

    @cached_property
    def group(self) -> str:
        return _word(str(self.record.task.name))

    @cached_property
    def subtasks(self) -> dict[str, str]:
        """Topic -> the name of its subtask, in the order of the run's first answers; where no
        answer has a topic, the task itself."""
        topics = dict.fromkeys(prediction.topic for prediction in self.answers)
        if set(topics) <= {""}:
            return {"": self.group}
        names: dict[str, str] = {}
        for topic in topics:
            name = wanted = f"{self.group}_{_word(topic) or 'no_topic'}"
            while name in names.values():
                name = f"{wanted}_{len(names)}"
            names[topic] = name
        return names

    @cached_property
    def is_grouped(self) -> bool:
        return set(self.subtasks.values()) != {self.group}

    @cached_property
    def has_several(self) -> bool:
        """Whether a question has several accepted answers: then all lines have lists of them."""
        return any(len(prediction.references) > 1 for prediction in self.answers)

    @cached_property
    def has_weights(self) -> bool:
        """Whether the data say more of an accepted answer than its text."""
        return any(
            each != Reference(each.text) for p in self.answers for each in references(p.target)
        )

    @cached_property
    def has_groups(self) -> bool:
        return any(prediction.group for prediction in self.answers)

    def of(self, topic: str) -> list[Prediction]:
        return [prediction for prediction in self.answers if prediction.topic == topic]


def _word(text: str) -> str:
    """A name of letters, digits and underscores, as tasks are called there."""
    return re.sub(r"\W", "_", text, flags=re.ASCII)[:100]


def _files(run: _Run, folder: str, date: str) -> Iterator[File]:
    yield json_file(f"{folder}/results_{date}.json", partial(_results, run))
    for topic, name in run.subtasks.items():
        yield jsonl_file(f"{folder}/samples_{name}_{date}.jsonl", partial(_samples, run, topic))


# The results


def _results(run: _Run) -> dict[str, Any]:
    record, settings = run.record, sanitize.mapping(run.record.settings)
    environment = sanitize.mapping(record.environment)
    results = {name: _figures(run, topic) for topic, name in run.subtasks.items()}
    if run.is_grouped:
        results = {run.group: _figures(run, None), **results}
    names = list(results)
    shots = sanitize.whole(settings.get("shots")) or 0
    date = started(record)
    model = safe_name(record.model.name)
    return {
        "results": results,
        "groups": {run.group: results[run.group]} if run.is_grouped else {},
        "group_subtasks": {run.group: list(run.subtasks.values())} if run.is_grouped else {},
        "configs": {name: _config(run, name) for name in run.subtasks.values()},
        "versions": dict.fromkeys(names, sanitize.text(environment.get("harness")) or None),
        "n-shot": dict.fromkeys(names, shots),
        "higher_is_better": {
            name: {key: record.about(of).higher_is_better for key, of in _metrics(figures)}
            for name, figures in results.items()
        },
        "n-samples": {
            name: {
                **({"original": record.counts.available} if name == run.group else {}),
                "effective": figures["sample_len"],
            }
            for name, figures in results.items()
        },
        "config": _model(record, settings),
        "git_hash": sanitize.text(environment.get("commit")) or None,
        "date": date.timestamp() if date else None,
        "pretty_env_info": "\n".join(f"{key}: {text}" for key, text in sanitize.flat(environment)),
        "transformers_version": sanitize.text(environment.get("transformers")) or None,
        "task_hashes": {
            name: _hash("".join(_hash(_dump(_doc(run, p))) for p in run.of(topic)))
            for topic, name in run.subtasks.items()
        },
        "model_source": "harness",
        "model_name": record.model.name,
        "model_name_sanitized": model,
        "system_instruction": None,
        "chat_template": None,
        "harness": {
            "origin": runs.origin(record),
            "task": asdict(record.task),
            "model": asdict(record.model),
            "counts": asdict(record.counts),
            "metrics": {metric: asdict(runs.figure(record, metric)) for metric in record.metrics},
            "fingerprint": record.fingerprint,
            "timing": record.timing,
        },
    }


def _figures(run: _Run, topic: str | None) -> dict[str, Any]:
    """The entry of a subtask; of the group, or of the task itself, where `topic` is None or
    there are no topics."""
    whole = topic is None or not run.is_grouped
    answers = run.answers if topic is None else run.of(topic)
    name = run.group if whole else run.subtasks[topic or ""]
    figures: dict[str, Any] = {"name": name, "alias": name, "sample_len": len(answers)}
    for metric in run.record.metrics:
        if metric in CONTEXT:
            continue
        root, slash, of = metric.partition("/")
        if (whole and not slash) or (not whole and slash and of == topic):
            value = runs.figure(run.record, metric).value
            if value is not None:
                figures[f"{NAMES.get(root, root)},{FILTER}"] = value
    for metric in scored_by(run.record):
        name = NAMES.get(metric, metric)
        scores = [p.scores[metric] for p in answers if metric in p.scores]
        if scores and not topic and not whole:  # the record has no figure of "no topic"
            figures.setdefault(f"{name},{FILTER}", sum(scores) / len(scores))
        is_share = run.record.about(metric).unit == "%"
        if is_share and f"{name},{FILTER}" in figures and len(scores) > 1:
            figures[f"{name}_stderr,{FILTER}"] = standard_error(scores)
    return figures


def _metrics(figures: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The metrics of an entry, by their names there and by ours."""
    ours = {name: metric for metric, name in NAMES.items()}
    for key in figures:
        name, comma, _ = key.rpartition(",")
        if comma and not name.endswith("_stderr"):
            yield name, ours.get(name, name)


def _config(run: _Run, name: str) -> dict[str, Any]:
    record, settings = run.record, sanitize.mapping(run.record.settings)
    return {
        "task": name,
        "tag": run.group,
        "dataset_path": run.dataset or record.task.source,
        "test_split": record.task.split,
        "output_type": "multiple_choice" if _is_scored(settings) else "generate_until",
        "num_fewshot": sanitize.whole(settings.get("shots")) or 0,
        "generation_kwargs": {} if _is_scored(settings) else _generation(settings),
        "metadata": {"dataset_revision": record.task.revision, "licence": record.task.licence},
    }


def _is_scored(settings: Mapping[str, object]) -> bool:
    return settings.get("mode") == "loglikelihood"


def _generation(settings: Mapping[str, object]) -> dict[str, Any]:
    """Decoding in lm-eval's words."""
    decoding = sanitize.mapping(settings.get("decoding"))
    temperature = sanitize.number(decoding.get("temperature"))
    found = {
        "max_gen_toks": sanitize.whole(decoding.get("max_new_tokens")),
        "temperature": temperature,
        "top_p": sanitize.number(decoding.get("top_p")),
        "do_sample": None if temperature is None else temperature > 0,
        "until": [str(stop)] if (stop := decoding.get("stop")) else None,
    }
    return {key: value for key, value in found.items() if value is not None}


def _model(record: RunRecord, settings: Mapping[str, object]) -> dict[str, Any]:
    seed = sanitize.whole(settings.get("seed"))
    described = sanitize.mapping(settings.get("model"))
    return {
        "model": "harness",
        "model_args": {
            "pretrained": record.model.repo or record.model.name,
            "revision": record.model.revision,
            "weights": record.model.weights,
            "dtype": sanitize.text(settings.get("dtype")) or None,
        },
        "model_num_parameters": record.model.parameters,
        "model_dtype": sanitize.text(described.get("dtype")) or None,
        "model_revision": record.model.revision,
        "batch_size": sanitize.text(settings.get("batch_size")) or None,
        "batch_sizes": [],
        "device": sanitize.text(described.get("device")) or None,
        "use_cache": None,
        "limit": sanitize.whole(settings.get("limit")),
        "gen_kwargs": None if _is_scored(settings) else _generation(settings),
        "random_seed": seed,
        "numpy_seed": seed,
        "torch_seed": seed,
        "fewshot_seed": seed,
    }


# The samples


def _samples(run: _Run, topic: str) -> Iterator[dict[str, Any]]:
    answers = run.of(topic)
    scored = _is_scored(sanitize.mapping(run.record.settings))
    places = {prediction.sample_id: place for place, prediction in enumerate(run.answers)}
    for prediction in answers:
        doc, target = _doc(run, prediction), _target(run, prediction)
        scores = {NAMES.get(name, name): score for name, score in prediction.scores.items()}
        by_option = scored and len(prediction.log_likelihoods) == len(prediction.choices)
        yield {
            "doc_id": places[prediction.sample_id],
            "doc": doc,
            "target": target,
            **(_scored(prediction) if by_option else _generated(run, prediction)),
            "filter": FILTER,
            "metrics": list(scores),
            "doc_hash": _hash(_dump(doc)),
            "prompt_hash": _hash(prediction.prompt),
            "target_hash": _hash(target if isinstance(target, str) else _dump(target)),
            **scores,
            "harness": {
                "sample_id": prediction.sample_id,
                "raw": prediction.raw,
                "answer": prediction.answer,
                "rule": prediction.rule,
                "seconds": prediction.seconds,
                "tokens": prediction.tokens,
                "tokens_in": prediction.tokens_in,
            },
        }


def _target(run: _Run, prediction: Prediction) -> str | list[str]:
    """The right answer in words, or all that are accepted."""
    if run.has_several:
        return list(prediction.references)
    return gold_text(prediction.target, prediction.choices)


def _doc(run: _Run, prediction: Prediction) -> dict[str, Any]:
    """The question as the data has it; pictures by the sha256 of their bytes. All of a run have the
    same fields, of the same types."""
    target = prediction.target
    return {
        "id": prediction.sample_id,
        "question": prediction.question,
        "choices": list(prediction.choices),
        "answer": target if isinstance(target, int) else _target(run, prediction),
        **({"references": list(map(asdict, references(target)))} if run.has_weights else {}),
        "topic": prediction.topic,
        **({"group": prediction.group} if run.has_groups else {}),
        "images": list(prediction.images),
    }


def _generated(run: _Run, prediction: Prediction) -> dict[str, Any]:
    """One request, its raw text, and the answer extracted from it; empty: unparsed."""
    how = _generation(sanitize.mapping(run.record.settings))
    return {
        "arguments": {"gen_args_0": {"arg_0": prediction.prompt, "arg_1": how}},
        "resps": [[prediction.raw]],
        "filtered_resps": [prediction.text],
    }


def _scored(prediction: Prediction) -> dict[str, Any]:
    """A request for each option; the responses are its log-likelihood per token, as text."""
    pairs = list(zip(prediction.choices, prediction.log_likelihoods, strict=True))
    return {
        "arguments": {
            f"gen_args_{place}": {"arg_0": prediction.prompt, "arg_1": choice}
            for place, (choice, _) in enumerate(pairs)
        },
        "resps": [[[str(score)]] for _, score in pairs],
        "filtered_resps": [[str(score)] for _, score in pairs],
    }


def _hash(text: str) -> str:
    return sha256(text.encode("utf-8", "backslashreplace")).hexdigest()


def _dump(document: Mapping[str, Any] | Sequence[str]) -> str:
    return json.dumps(finite(document), ensure_ascii=False, indent=2)
