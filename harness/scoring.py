"""From predictions to a record's figures; answers made elsewhere; answers read by another rule."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

from harness import environment, timing
from harness.catalog import find
from harness.errors import DataError, HarnessError, SampleError
from harness.records import (
    Counts,
    ModelInfo,
    RunFolder,
    RunRecord,
    TaskInfo,
    refuse_mismatch,
    safe_name,
)
from harness.runner import CONCLUDED, read_asked
from harness.types import REFUSAL, Metric, Prediction, Reading, Target, Task
from tasks.files import Row, found, jsonl_rows

Reader = Callable[[str, Sequence[str]], Reading]


@dataclass(frozen=True, slots=True)
class Run:
    """A run and where it is."""

    folder: Path
    record: RunRecord


def metrics_of(task: Task, *, bertscore: str | None) -> tuple[Metric, ...]:
    """The task's metrics, and BERTScore with that encoder where answers are text."""
    if bertscore is None or task.answers != "text":
        return task.metrics
    from harness.metrics import bertscore_metric

    return (*task.metrics, bertscore_metric(encoder=bertscore))


def scored(
    record: RunRecord, predictions: Sequence[Prediction], metrics: Sequence[Metric]
) -> RunRecord:
    """`record` with everything that is computed from the predictions: counts, metrics, timing and,
    unless it was interrupted, its status."""
    started = time.perf_counter()
    values = {name: value for metric in metrics for name, value in metric(predictions).items()}
    sessions = [dict(session) for session in record.sessions]
    if sessions:
        sessions[-1]["score_seconds"] = time.perf_counter() - started
    failed = sum(p.error is not None for p in predictions)
    whole = len(predictions) - failed == record.counts.available
    return replace(
        record,
        status=record.status
        if record.status == "interrupted"
        else ("complete" if whole else "partial"),
        counts=replace(
            record.counts,
            done=len(predictions),
            failed=failed,
            unread=sum(p.error is None and p.answer is None for p in predictions),
        ),
        metrics=values,
        sessions=sessions,
        timing=timing.summarise(predictions, sessions),
    )


def score_file(
    path: Path,
    task: Task,
    *,
    label: str,
    runs: Path,
    split: str = "test",
    fresh: bool = False,
    bertscore: str | None = None,
    command: Sequence[str] = (),
) -> Run:
    """A run made of answers that were made elsewhere.

    Args:
        path: JSONL with rows {id, raw, choices, target}, target a 0-based index; or, for text
            answers, {id, raw, target}. `topic`, `question` and `image` where they are known.
        label: the model's name; one of the catalogue brings its title and size along.

    Raises:
        DataError: a row does not fit; names its line and field.
        HarnessError: the run that is there was made of other answers.
    """
    predictions: list[Prediction] = []
    lines: dict[str, str] = {}
    answers, questions = sha256(), []
    for row in jsonl_rows(path):
        prediction = _prediction(row, task)
        if prediction.sample_id in lines:
            raise DataError(
                f"{row.where}, field 'id': {found(prediction.sample_id)} is there twice.",
                known=f"It stands first in {lines[prediction.sample_id]}.",
            )
        lines[prediction.sample_id] = row.where
        predictions.append(prediction)
        answers.update(repr(prediction).encode("utf-8", "backslashreplace"))
        asked = (prediction.sample_id, prediction.target, prediction.choices)
        questions.append(repr(asked).encode("utf-8", "backslashreplace"))
    if not predictions:
        raise DataError(f"{path} holds no rows.")
    spec = find(label)
    record = RunRecord(
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
            # Two files with the same questions have the same data, whatever their order.
            "data": f"sha256:{sha256(b''.join(sorted(questions))).hexdigest()}",
            "answers": f"sha256:{answers.hexdigest()}",
        },
        counts=Counts(total=len(predictions), available=len(predictions)),
        settings={"mode": "scored"},
        environment=environment.describe(None),
        command=list(command),
    )
    folder = RunFolder.of(runs, task=task.name, model=label, split=split)
    with folder.locked():
        if fresh:
            folder.move_aside()
        old = folder.read_record()
        if old is not None:
            refuse_mismatch(old.fingerprint, record.fingerprint, folder.path)
        return _write(folder, record, predictions, metrics_of(task, bertscore=bertscore))


def rescore(folder: RunFolder, task: Task, *, reader: str, command: Sequence[str] = ()) -> Run:
    """The answers of a run, read again by another rule, without a model.

    `ours` brings the run itself up to date; any other reader makes a run beside it, called
    MODEL+READER.

    Raises:
        HarnessError: no such run or reader, or answers that are not options.
    """
    from harness.reading import READERS

    record = folder.existing_record()
    if reader not in READERS:
        raise HarnessError(
            f"No reader called {reader!r}.", known=f"There are {', '.join(READERS)}."
        )
    if task.answers == "text" and reader != "ours":
        raise HarnessError(
            f"{reader} reads letters of options; {task.title} has written answers.",
            remedy="--reader ours",
        )
    if other := record.fingerprint.get("reader"):
        raise HarnessError(
            f"{folder.path} is itself a run that was read again, by {other}.",
            remedy=f"Read the run beside it, whose name does not end in +{other}.",
        )
    read = task.read if reader == "ours" else READERS[reader]
    before = folder.existing_predictions()
    predictions = [_read_again(p, read) for p in before]
    target = folder
    if reader != "ours":
        name = f"{record.model.name}+{reader}"
        title = f"{record.model.title} (read by {reader})"
        record = replace(
            record,
            model=replace(record.model, name=name, title=title),
            fingerprint={**record.fingerprint, "reader": reader},
            command=list(command),
        )
        own = folder.path.resolve()
        target = RunFolder(own.parent.parent / safe_name(name) / own.name)
    record = replace(record, settings={**record.settings, "reader": reader})
    metrics = list(task.metrics)
    if predictions == before:
        # The texts are the same: what needs an encoder is not computed again.
        kept = {k: v for k, v in record.metrics.items() if k.startswith("bertscore_")}
        metrics.append(lambda _: kept)
    with target.locked():
        return _write(target, record, predictions, metrics)


def _write(
    folder: RunFolder,
    record: RunRecord,
    predictions: Sequence[Prediction],
    metrics: Sequence[Metric],
) -> Run:
    record = scored(record, predictions, metrics)
    folder.rewrite(predictions)
    folder.write_record(record)
    return Run(folder.path, record)


def _read_again(prediction: Prediction, read: Reader) -> Prediction:
    unreadable = prediction.error is not None or prediction.finish == REFUSAL
    if unreadable or prediction.rule == CONCLUDED:
        return prediction
    reading = read_asked(read, prediction.raw, prediction.choices, prediction.order)
    return replace(
        prediction,
        answer=reading.answer,
        rule=reading.rule,
        correct=reading.answer == prediction.target if prediction.choices else None,
    )


def _prediction(row: Row, task: Task) -> Prediction:
    """One row of answers made elsewhere; raises DataError."""
    choices = _choices(row) if task.answers == "choice" else ()
    image = row.fields.get("image")
    unread = Prediction(
        sample_id=_text(row, "id", number_too=True),
        raw=_text(row, "raw"),
        answer=None,
        rule="",
        correct=None,
        target=_target(row, choices),
        question=_text(row, "question", default=""),
        choices=choices,
        topic=_text(row, "topic", default=""),
        # Told apart by name where there are only names: enough to know which questions share one.
        images=(_digest(row, str(image)),) if image else (),
    )
    return _read_again(unread, task.read)


def _digest(row: Row, name: str) -> str:
    try:
        if row.image is not None:
            return row.image.digest()
    except SampleError:
        pass
    return sha256(name.encode("utf-8", "backslashreplace")).hexdigest()


def _text(row: Row, name: str, *, default: str | None = None, number_too: bool = False) -> str:
    value = row.fields.get(name, default)
    if value is None and default is not None:
        return default
    if number_too and isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str) or (number_too and not value):
        raise _bad(row, name, "must be text")
    return value


def _choices(row: Row) -> tuple[str, ...]:
    value = row.fields.get("choices")
    if (
        not isinstance(value, list)
        or not 2 <= len(value) <= 26
        or not all(isinstance(choice, str) for choice in value)
    ):
        raise _bad(row, "choices", "must be a list of 2 to 26 texts")
    return tuple(value)


def _target(row: Row, choices: tuple[str, ...]) -> Target:
    value = row.fields.get("target")
    if not choices:
        return _text(row, "target")
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(choices):
        return value
    raise _bad(row, "target", f"must be 0 to {len(choices) - 1}, the place of the right choice")


def _bad(row: Row, name: str, rule: str) -> DataError:
    if name not in row.fields:
        return DataError(f"{row.where}, field {name!r}: missing; it {rule}.")
    return DataError(f"{row.where}, field {name!r}: {rule}, found {found(row.fields[name])}.")
