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
from harness.core.types import Prediction
from harness.metrics.overlap import rouge
from harness.metrics.statistics import standard_error
from harness.run.records import RunRecord
from reports.export.run_files import (
    CONTEXT,
    File,
    answered,
    gold,
    json_file,
    jsonl_file,
    option,
    started,
)
from reports.inputs import runs, sanitize
from reports.inputs.material import RunData
from reports.statistics.sanity import ACCURACY

FILTER = "none"
NAMES = {ACCURACY: "acc"}
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
        return answered(self.evidence.predictions())

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
            name: dict.fromkeys(_metrics(figures), True) for name, figures in results.items()
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
            name: _hash("".join(_hash(_dump(_doc(p))) for p in run.of(topic)))
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
    right = [float(bool(prediction.correct)) for prediction in answers if prediction.choices]
    accuracy = f"acc,{FILTER}"
    if right and accuracy not in figures and not topic and not whole:
        figures[accuracy] = sum(right) / len(right)  # the record has no figure of "no topic"
    if accuracy in figures and len(right) > 1:
        figures[f"acc_stderr,{FILTER}"] = standard_error(right)
    return figures


def _metrics(figures: Mapping[str, Any]) -> Iterator[str]:
    for key in figures:
        name, comma, _ = key.partition(",")
        if comma and not name.endswith("_stderr"):
            yield name


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
    overlaps = _overlaps(run, answers)
    places = {prediction.sample_id: place for place, prediction in enumerate(run.answers)}
    for row, prediction in enumerate(answers):
        doc, target = _doc(prediction), gold(prediction)
        scores: dict[str, float] = {name: values[row] for name, values in overlaps.items()}
        if prediction.choices:
            scores["acc"] = float(bool(prediction.correct))
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
            "target_hash": _hash(target),
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


def _overlaps(run: _Run, answers: Sequence[Prediction]) -> Mapping[str, Sequence[float]]:
    """ROUGE of each answer, where the run has ROUGE: its means are the run's figures."""
    if "rouge1" not in run.record.metrics:
        return {}
    texts = [str(prediction.answer or "") for prediction in answers]
    found = rouge(texts, [str(prediction.target) for prediction in answers])
    return {name: values.tolist() for name, values in found.items()}


def _doc(prediction: Prediction) -> dict[str, Any]:
    """The question as the data has it; pictures by the sha256 of their bytes."""
    return {
        "id": prediction.sample_id,
        "question": prediction.question,
        "choices": list(prediction.choices),
        "answer": prediction.target,
        "topic": prediction.topic,
        "images": list(prediction.images),
    }


def _generated(run: _Run, prediction: Prediction) -> dict[str, Any]:
    """One request, its raw text, and the answer extracted from it; empty: unparsed."""
    how = _generation(sanitize.mapping(run.record.settings))
    return {
        "arguments": {"gen_args_0": {"arg_0": prediction.prompt, "arg_1": how}},
        "resps": [[prediction.raw]],
        "filtered_resps": [option(prediction, prediction.answer)],
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


def _dump(document: Mapping[str, Any]) -> str:
    return json.dumps(finite(document), ensure_ascii=False, indent=2)
