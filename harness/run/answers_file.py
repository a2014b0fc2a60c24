"""Answers that were made elsewhere: a JSONL file of them as a run."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from hashlib import sha256
from pathlib import Path

from harness.checkpoints.catalog import find
from harness.core import environment
from harness.core.errors import DataError, Exit, HarnessError, SampleError
from harness.core.images import ImageRef
from harness.core.mismatch import EXTRACTION, differences, with_fresh
from harness.core.options import TOKENIZE, Tokenize
from harness.core.progress import Make, Silent
from harness.core.types import LENGTH, STOP, Metric, Prediction, RunMetric, Task
from harness.data.answer_keys import PAGE, bad
from harness.data.answers import KeyForm
from harness.data.fingerprint import extraction
from harness.data.json_rows import jsonl_rows
from harness.data.pictures import found
from harness.data.rows import Row
from harness.metrics.figures import described_by
from harness.metrics.questions import NAMED_ONLY
from harness.run.changed_answers import changes
from harness.run.extraction import extract_all
from harness.run.folder import RunFolder
from harness.run.judgements import PREFIX
from harness.run.records import Counts, MetricInfo, ModelInfo, RunRecord, TaskInfo
from harness.run.scoring import Run, extract_again, metrics_of, write_scored

MODEL = "{model}"
"""What stands for the model's name in a pattern of file names."""


def score_file(
    path: Path,
    task: Task,
    *,
    label: str,
    runs: Path,
    split: str = "test",
    fresh: bool = False,
    skip_invalid: bool = False,
    tokenize: Tokenize = TOKENIZE,
    bertscore: str | None = None,
    command: Sequence[str] = (),
    progress: Make = Silent,
) -> Run:
    """A run made of answers that were made elsewhere; the one that is there, where it was made of
    the same answers in the same way.

    Args:
        path: JSONL with rows {id, raw, choices, target}, target the place of the right option, its
            letter or its text; or, for text answers, {id, raw, target} or {id, raw, answers} with
            several accepted texts. A task with both kinds takes both. Where rows have no options
            and the answer is a letter, the options are letters. `topic` or `category`, `group`,
            `question` and `image` where they are known, and `finish_reason` or `finished`.
        label: the model's name; one of the catalogue brings its title and size along.
        fresh: move the run that is there aside.
        skip_invalid: leave out, and count, rows that do not fit.
        tokenize: how BLEU splits a text.
        progress: shows how many answers are extracted.

    Raises:
        DataError: a row does not fit; names its line and field.
        HarnessError: the run that is there was made of other answers: says what has changed.
    """
    metrics = metrics_of(task, tokenize=tokenize, bertscore=bertscore)
    predictions, skipped = _read_answers(path, task, skip_invalid=skip_invalid)
    if not predictions:
        raise DataError(f"{path} holds no rows.", known="\n".join(skipped[:3]), remedy=PAGE)
    record = _record(path, task, predictions, skipped, label=label, split=split, command=command)
    metric_settings = {"tokenize": tokenize, "bertscore": bertscore}
    record = replace(record, settings={**record.settings, **metric_settings})
    folder = RunFolder.of(runs, task=task.name, model=label, split=split)
    with folder.locked():
        old = None if fresh else folder.read_record()
        if old is not None:
            stored = folder.read_predictions()
            _stop_if_changed(folder, old, record, stored=stored, now=predictions, path=path)
            if stored and _is_done(old, record, metrics):
                return Run(folder.path, old, skipped, unchanged=True)
        extract = partial(extract_again, read=task.extract)
        predictions = extract_all(predictions, extract, progress=progress)
        made = write_scored(folder, record, predictions, metrics, fresh=fresh)
    return replace(made, skipped=skipped)


def _stop_if_changed(
    folder: RunFolder,
    old: RunRecord,
    record: RunRecord,
    *,
    stored: Sequence[Prediction],
    now: Sequence[Prediction],
    path: Path,
) -> None:
    """Raises HarnessError where the run that is there was made of other answers."""
    # By the answers themselves: earlier versions hashed what was extracted with them.
    then = {"answers": _answers_hash(stored)} if stored else {}
    before = {**old.fingerprint, **then}
    before.pop(EXTRACTION, None)
    said = changes(stored, now) if stored and differences(before, record.fingerprint) else ""
    if not said:
        folder.stop_on_mismatch(
            replace(old, fingerprint=before), record.fingerprint, command=record.command
        )
        return
    raise HarnessError(
        f"The run in {folder.path} was made of other answers than those of {path}.",
        known=f"{said[:1].upper()}{said[1:]}.",
        remedy=f"To score them, which moves the old run aside: {with_fresh(record.command)}\n"
        "To keep both: --model with another name.",
    )


def _is_done(old: RunRecord, new: RunRecord, metrics: Sequence[Metric | RunMetric]) -> bool:
    """Whether a run of the same answers has all figures that it would get now."""
    described = described_by(metrics)
    return (
        old.status == "complete"
        and old.fingerprint.get(EXTRACTION) == new.fingerprint[EXTRACTION]
        and all(old.settings.get(key) == new.settings.get(key) for key in _OPTIONS)
        # Nobody knows what a user's function gives.
        and all(isinstance(metric, Metric) for metric in metrics)
        and {metric.name: MetricInfo.of(metric) for metric in described}
        == {name: info for name, info in old.metric_info.items() if not name.startswith(PREFIX)}
        and not any(m.needs_model and old.metrics[m.name].value is None for m in described)
    )


_OPTIONS = ("tokenize", "bertscore", "skipped")
"""Settings that change figures or counts, and no answer."""


def answer_files(folder: Path, pattern: str = MODEL) -> tuple[list[tuple[Path, str]], list[Path]]:
    """The JSONL files of a folder with what each model is called; and those that do not fit.

    Args:
        folder: of files, packed or not.
        pattern: of a file's name without its ending: `{model}` stands for the name, * for anything.

    Raises:
        HarnessError: no such file, a pattern without {model}, or two files of one model.
    """
    files = sorted(path for path in folder.iterdir() if path.is_file() and _stem(path))
    named = [(path, model_of(path, pattern)) for path in files]
    found = [(path, label) for path, label in named if label]
    if not found:
        raise HarnessError(
            f"{folder} holds no file of answers{f' that --name {pattern} fits' if files else ''}.",
            known=f"There are {', '.join(path.name for path in files[:5])}." if files else "",
            remedy="It takes files that end in .jsonl, .jsonl.gz or .jsonl.xz.",
            code=Exit.MISSING,
        )
    labels = [label for _, label in found]
    if double := next((label for label in labels if labels.count(label) > 1), ""):
        twice = " and ".join(path.name for path, label in found if label == double)
        raise HarnessError(
            f"{twice} are both called {double}.", remedy="--name gives each file another name."
        )
    return found, [path for path, label in named if not label]


def model_of(path: Path, pattern: str = MODEL) -> str:
    """What the model of a file is called, by its name; "" where the pattern does not fit.

    Raises:
        HarnessError: the pattern has no {model}, or several.
    """
    if pattern.count(MODEL) != 1:
        raise HarnessError(
            f"--name {pattern}: must have {MODEL} once, which stands for the model's name.",
            remedy="Such as --name 'outputs_{model}_5shots'.",
        )
    before, after = (".*".join(map(re.escape, part.split("*"))) for part in pattern.split(MODEL))
    fits = re.fullmatch(f"{before}(.+?){after}", _stem(path) or path.stem)
    return fits[1] if fits else ""


def _stem(path: Path) -> str:
    """The name of a JSONL file without its ending; "" for another file."""
    stem, ending, packed = path.name.partition(".jsonl")
    return stem if ending and packed in ("", ".gz", ".xz") else ""


def _record(
    path: Path,
    task: Task,
    predictions: Sequence[Prediction],
    skipped: Sequence[str],
    *,
    label: str,
    split: str,
    command: Sequence[str],
) -> RunRecord:
    """The record of the file's answers, before they are scored."""
    spec = find(label)
    return RunRecord(
        task=TaskInfo(
            name=task.name,
            title=task.title,
            split=split,
            source="answers made elsewhere",
            synthetic=task.synthetic,
        ),
        model=ModelInfo(
            name=label,
            title=spec.title if spec else label,
            size=spec.size if spec else "",
            role=spec.role if spec else "baseline",
            weights=f"answers made elsewhere ({path.name})",
            licence=spec.licence if spec else "",
        ),
        fingerprint={
            "task": task.name,
            "split": split,
            "mode": "scored",
            "data": _questions_hash(predictions),
            "answers": _answers_hash(predictions),
            EXTRACTION: f"sha256:{extraction(task)}",
        },
        counts=Counts(
            total=len(predictions) + len(skipped),
            filtered={"no question": len(skipped)} if skipped else {},
            available=len(predictions),
        ),
        settings={
            "mode": "scored",
            **({"skipped": skipped} if skipped else {}),
        },
        environment=environment.describe(None),
        command=list(command),
    )


def _read_answers(
    path: Path, task: Task, *, skip_invalid: bool
) -> tuple[list[Prediction], list[str]]:
    """The answers of a file, not extracted yet; and why rows were skipped. Raises DataError."""
    predictions: list[Prediction] = []
    skipped: list[str] = []
    where: dict[str, str] = {}
    splits: list[str] = []

    def skip(error: DataError) -> None:
        if not skip_invalid:
            mend = f"{error.remedy or 'Mend the row.'} --skip-invalid leaves such rows out."
            raise DataError(error.what, known=error.known, remedy=mend) from error
        skipped.append(error.what)

    read: list[Row | DataError] = []  # errors in their places
    for row in jsonl_rows(path, skip=read.append):
        read += [row]
    form = KeyForm.of((each for each in read if isinstance(each, Row)), task.answers)
    for each in read:
        if isinstance(each, DataError):
            skip(each)
            continue
        try:
            prediction = _prediction(each, task, form)
            _refuse_double(prediction.sample_id, each.where, where)
        except DataError as error:
            skip(error)
            continue
        where[prediction.sample_id] = each.where
        predictions.append(prediction)
        splits.append(_text(each, "split", default=""))
    return _by_split(predictions, splits), skipped


def _by_split(predictions: list[Prediction], splits: Sequence[str]) -> list[Prediction]:
    """Where a file has answers of several splits and no topics, the splits are the topics."""
    if len(set(splits)) < 2 or any(p.topic for p in predictions):
        return predictions
    return [replace(p, topic=split) for p, split in zip(predictions, splits, strict=True)]


def _refuse_double(sample_id: str, here: str, where: Mapping[str, str]) -> None:
    if sample_id in where:
        raise DataError(
            f"{here}, field 'id': {found(sample_id)} is there twice.",
            known=f"It stands first in {where[sample_id]}.",
        )


def _questions_hash(predictions: Sequence[Prediction]) -> str:
    """Two files with the same questions have the same data, whatever their order."""
    asked = [(p.sample_id, p.target, p.choices) for p in predictions]
    return f"sha256:{sha256(b''.join(sorted(map(_repr, asked)))).hexdigest()}"


def _answers_hash(predictions: Sequence[Prediction]) -> str:
    """Of what the file says, whatever its order, and not of what was extracted from it."""
    digest = sha256()
    for p in sorted(predictions, key=lambda p: p.sample_id):
        images = tuple(image.removeprefix(NAMED_ONLY) for image in p.images)
        digest.update(_repr((p.sample_id, p.raw, p.target, p.choices, p.question, p.topic, images)))
        for more in (p.group, dict(p.metadata), p.finish):
            if more:
                digest.update(_repr(more))
    return f"sha256:{digest.hexdigest()}"


def _repr(value: object) -> bytes:
    return repr(value).encode("utf-8", "backslashreplace")


def _prediction(row: Row, task: Task, form: KeyForm) -> Prediction:
    """One row of answers made elsewhere; raises DataError."""
    key = form.key(row)
    return Prediction(
        sample_id=_text(row, "id", number_too=True),
        raw=_text(row, "raw"),
        answer=None,
        rule="",
        target=key.target,
        question=_text(row, "question", default=""),
        choices=key.choices,
        topic=_text(row, "topic", default="") or _text(row, "category", default=""),
        group=_text(row, "group", default="", number_too=True),
        metadata={**task.about(row.fields), **key.metadata},
        images=tuple(_digest(image) for image in row.images),
        finish=_finish(row),
    )


def _finish(row: Row) -> str:
    """Why the answer ended: `finish_reason`, as servers call it, or else `finished`."""
    if reason := _text(row, "finish_reason", default="").strip():
        return reason[:40]
    finished = row.fields.get("finished")
    if finished is not None and not isinstance(finished, bool):
        raise bad(row, "finished", "must be true or false")
    return "" if finished is None else STOP if finished else LENGTH


def _digest(image: ImageRef) -> str:
    """Of a picture that is not there its name's: enough to know which questions share one."""
    try:
        return image.digest()
    except SampleError:
        name = sha256(image.label.encode("utf-8", "backslashreplace")).hexdigest()
        return f"{NAMED_ONLY}{name}"


def _text(row: Row, name: str, *, default: str | None = None, number_too: bool = False) -> str:
    value = row.fields.get(name, default)
    if value is None and default is not None:
        return default
    if number_too and isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str) or (default is None and number_too and not value):
        raise bad(row, name, "must be text")
    return value
