"""What a run is made with: its options, the settings they resolve to, and their fingerprint."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from hashlib import sha256
from itertools import islice
from typing import Any

from harness.core import structured
from harness.core.errors import HarnessError, SampleError, no_likelihood
from harness.core.options import (
    GenerationOptions,
    RunOptions,
)
from harness.core.prompts import added_instruction
from harness.core.types import Decoding, Prompt, Sample, Style, Task
from harness.data.fingerprint import ImageScan, blank, extraction, wording
from harness.run.scoring import takes_bertscore
from harness.run.shuffling import movable
from harness.run.task_data import Data
from harness.sources.source import Source

SAME_ANSWERS = frozenset({"harness", "transformers", "as served"})
"""Engines whose greedy answers are the same, and a server, whose address is in the fingerprint: a
run of any other engine is not resumed with these."""


log = logging.getLogger(__name__)


def resolve(source: Source, data: Data, options: RunOptions) -> dict[str, Any]:
    """Every setting of this run, defaults resolved, as run.json has them.

    Raises:
        HarnessError: options that do not fit the task, the model, or each other.
    """
    _check(source, data.task, options.generation)
    _check_options(data, options.generation)
    _check_pictures(source, data)
    wanted = options.generation
    loaded = source.settings
    style = _style(source, wanted)
    added = _instruction(source, data, style)
    published = source.family.paper_wording and not (added or loaded["chat_template"])
    return {
        "style": style,
        "instruction": added,
        "wording": "the paper's code"
        if published
        else "ours: the paper published Moondream's only",
        "mode": wanted.mode,
        "options": wanted.options,
        "shots": wanted.shots,
        "shuffle": wanted.shuffle,
        "in_place": 0 if wanted.shuffle is None else _in_place(data.samples.samples),
        "truncate": wanted.truncate,
        "conclude": wanted.conclude,
        "votes": wanted.votes,
        "decoding": asdict(_decoding(source, data.task, options, style=style)),
        "dtype": loaded["dtype"],
        "attention": loaded["attention"],
        "processor_args": loaded["processor_args"],
        "chat_template": loaded["chat_template"],
        "engine": _engine(loaded["engine"], wanted),
        "batch_size": _batch_size(source, options),
        "sample": options.sample,
        "limit": options.limit,
        "seed": options.seed,
        "text_only": data.options.text_only,
        "transparency": _transparency(data.image_scan),
    }


def _check(source: Source, task: Task, wanted: GenerationOptions) -> None:
    """Refuse options that do not fit the task, the model, or each other."""
    scoring = wanted.mode == "loglikelihood"
    if (scoring or wanted.conclude) and not source.capabilities.log_likelihoods:
        option = "--mode loglikelihood" if scoring else "--conclude"
        here = source.capabilities.in_process
        instead = "--engine harness" if here else "load the weights here"
        raise no_likelihood(option, source.place, instead=instead)
    if wanted.truncate and not source.capabilities.counts_tokens:
        raise HarnessError(
            f"--truncate counts the tokens of a prompt beforehand, which {source.place} does not."
        )
    if scoring and task.answers == "text":
        raise HarnessError(
            f"--mode loglikelihood chooses among options; {task.title} has written answers.",
            remedy="--mode generate",
        )
    if wanted.shuffle is not None and task.answers == "text":
        raise HarnessError(f"--shuffle-choices: {task.title} has no options.")
    if wanted.conclude and (scoring or task.answers == "text"):
        raise HarnessError(
            "--conclude chooses among options after a reasoning that the model writes: it needs "
            "a multiple-choice task and --mode generate."
        )
    _check_votes(task, wanted)
    if scoring and wanted.style not in {None, "plain", "direct"}:
        raise HarnessError(
            "--mode loglikelihood scores the options right after the question: there is no room "
            f"for the style {wanted.style}.",
            remedy="--style direct, or --style plain",
        )


def _check_votes(task: Task, wanted: GenerationOptions) -> None:
    """Refuse votes on answers that cannot be counted."""
    if wanted.votes == 1:
        return
    if wanted.mode == "loglikelihood" or not wanted.temperature:
        raise HarnessError(
            "--votes counts answers that are sampled: without a --temperature they are all the "
            "same.",
            remedy="--temperature 0.7",
        )
    if wanted.conclude:
        raise HarnessError("--votes and --conclude both say what an answer is.", remedy="Use one.")
    if takes_bertscore(task):
        raise HarnessError(
            f"--votes counts equal answers; those of {task.title} are prose, and no two are equal."
        )


def _check_options(data: Data, wanted: GenerationOptions) -> None:
    """Refuse to score options where some questions have none."""
    if wanted.mode != "loglikelihood" or data.task.answers != "mixed":
        return
    samples = data.samples.samples
    written = sum(not sample.choices for sample in samples)
    if written:
        raise HarnessError(
            f"--mode loglikelihood chooses among options; {written:,} of {len(samples):,} "
            f"questions of {data.task.title} have written answers.",
            remedy="--mode generate",
        )


def _instruction(source: Source, data: Data, style: Style) -> str:
    """What is added below the questions; of a task with options and written answers, both."""
    found: dict[str, None] = {}
    for with_options in (True, False):
        kind = (s for s in data.samples.samples if bool(s.choices) is with_options)
        with contextlib.suppress(SampleError):
            found.update({_prompt(source, data, style, sample=s)[1]: None for s in islice(kind, 1)})
    return " / ".join(filter(None, found))


def _check_pictures(source: Source, data: Data) -> None:
    """Refuse questions without pictures for a model that needs one with each."""
    family, samples = source.family, data.samples.samples
    without = sum(not sample.images for sample in samples)
    if not (family.needs_image and without):
        return
    words = f"{family.title} needs a picture with every question"
    if without == len(samples):
        raise HarnessError(
            f"{words}; none of {without:,} has one.",
            remedy="Leave out --text-only." if data.options.text_only else "",
        )
    log.warning("%s: %d of %d have none, and fail.", words, without, len(samples))


def _style(source: Source, wanted: GenerationOptions) -> Style:
    """The style that was asked for; else the one that the mode or the model implies."""
    if wanted.style is not None:
        return wanted.style
    if wanted.mode == "loglikelihood":
        return "direct" if wanted.options == "letter" else "plain"
    return source.checkpoint.style


def _decoding(source: Source, task: Task, options: RunOptions, *, style: Style) -> Decoding:
    spec, wanted = source.checkpoint.spec, options.generation
    return Decoding(
        max_new_tokens=wanted.max_new_tokens
        or (spec.max_new_tokens if spec else task.max_new_tokens),
        temperature=wanted.temperature,
        top_p=wanted.top_p,
        seed=options.seed,
        stop=structured.END if style == "structured" else "",
    )


def _engine(loaded: str, wanted: GenerationOptions) -> str:
    """What runs the model, where the engine knows its architecture; sampling is transformers'."""
    return "transformers" if wanted.temperature > 0 and loaded == "harness" else loaded


def _batch_size(source: Source, options: RunOptions) -> int:
    """Samples that are handed over at once. Where answers are sampled they depend on the batch:
    then its size does not go by what is free."""
    if not source.capabilities.batches:
        return 1
    if options.batch_size is not None:
        return options.batch_size
    if source.capabilities.concurrency is not None:
        return source.capabilities.concurrency
    return 4 if options.generation.temperature > 0 else 16


def _transparency(scan: ImageScan) -> dict[str, int]:
    """How many pictures it changes, and how."""
    counts = {"blended": scan.blended, "dropped": scan.dropped, "flat": len(scan.flat)}
    return {name: count for name, count in counts.items() if count}


def early_fingerprint(source: Source, data: Data, settings: Mapping[str, Any]) -> dict[str, Any]:
    """What must be equal for answers to belong to one run, as far as it is known before the model
    is loaded; `Source.full_fingerprint` is the rest.

    Batch size, device, attention kernel and limit are not in it: they change no greedy answer in
    float32. Nor are the engines of `SAME_ANSWERS`: where answers are sampled it is `generate`.
    """
    words = partial(_words, source, data, settings)
    decoding = dict(settings["decoding"])
    if not decoding["temperature"]:
        del decoding["seed"], decoding["top_p"]
    else:
        decoding["batch_size"] = settings["batch_size"]  # what is sampled depends on the batch
    return {
        "task": data.task.name,
        "split": data.options.split,
        "style": settings["style"],
        "prompt": _prompt_hash(source, data, settings),
        "wording": f"sha256:{wording(data.samples.samples, words)}",
        "task_file": data.task.file.asking if data.task.file else None,
        "extraction": f"sha256:{extraction(data.task)}",
        "mode": _mode(settings),
        "shuffle": _shuffle(settings),
        "decoding": decoding if settings["mode"] == "generate" else None,
        "dtype": settings["dtype"],
        "processor_args": settings["processor_args"],
        "data": data.fingerprint,
        "text_only": settings["text_only"],
        "truncate": settings["truncate"] or None,  # runs without that field shortened nothing
        "transparency": data.image_scan.transparency,
        **source.early_fingerprint,
        "sample": "first"
        if settings["sample"] == "first"
        else f"{settings['sample']}, seed {settings['seed']}",
    }


def _in_place(samples: Sequence[Sample]) -> int:
    """Questions of which options stay where they are: those that refer to others."""
    return sum(movable(sample.choices) < len(sample.choices) for sample in samples)


def _shuffle(settings: Mapping[str, Any]) -> object:
    """The seed; where options stay where they are that once were moved, that too."""
    stay = f"{settings['shuffle']}; options that refer to others stay where they are"
    return stay if settings["in_place"] else settings["shuffle"]


def _mode(settings: Mapping[str, Any]) -> str:
    """How an answer comes about, in words."""
    engine = settings["engine"]
    by = "" if engine in SAME_ANSWERS else f" by {engine}"
    if settings["mode"] == "loglikelihood":
        return f"loglikelihood of each {settings['options']}{by}"
    if settings["votes"] > 1:
        return f"generate{by}, majority of {settings['votes']}"
    return f"generate{by}, conclude by loglikelihood" if settings["conclude"] else f"generate{by}"


def _prompt_hash(source: Source, data: Data, settings: Mapping[str, Any]) -> str:
    """A hash of the wording of one sample, which runs of every version have."""
    digest = sha256()
    for sample in sorted(data.samples.samples, key=lambda s: s.id)[:1]:  # whatever their order
        prompt, added = _prompt(source, data, settings["style"], sample=sample)
        digest.update(f"{prompt.text}\0{prompt.question}\0{added}".encode())
    examples = data.examples(settings["shots"])
    for example in examples.usual:
        digest.update(example.encode())
    if any(examples(sample) != examples.usual for sample in data.samples.samples):
        digest.update(b"no question is shown with its own answer")  # earlier versions did that
    return f"sha256:{digest.hexdigest()}"


def _words(source: Source, data: Data, settings: Mapping[str, Any], /, sample: Sample) -> str:
    """All words that a question is asked with: the task's, and what is added."""
    prompt, added = _prompt(source, data, settings["style"], sample=sample)
    examples = data.examples(settings["shots"])(sample)
    return repr((prompt.text, prompt.question, prompt.choices, len(prompt.images), added, examples))


def _prompt(source: Source, data: Data, style: Style, *, sample: Sample) -> tuple[Prompt, str]:
    """The task's prompt without its pictures' contents, and the instruction of the style."""
    prompt = data.task.prompt(blank(sample), style)
    return prompt, added_instruction(prompt, source.checkpoint.plain_styles)
