"""The answers of a run, extracted again by another rule, without a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from harness.core.errors import HarnessError
from harness.core.files.paths import safe_name
from harness.core.progress import Make, Silent
from harness.core.types import Prediction, Task
from harness.metrics.registry import metric
from harness.run.extraction import extract_all
from harness.run.folder import RunFolder
from harness.run.records import RunRecord
from harness.run.scoring import Run, extract_again, metrics_of, tokenize_of, write_scored


def rescore(
    folder: RunFolder,
    task: Task,
    *,
    extractor: str,
    command: Sequence[str] = (),
    progress: Make = Silent,
) -> Run:
    """Extract the answers of a run again by another rule, without a model.

    `ours` brings the run itself up to date; any other extractor makes a run next to it, called
    MODEL+EXTRACTOR.

    Raises:
        HarnessError: no such run or extractor, or answers that are not options.
    """
    from harness.extract import EXTRACTORS

    record = folder.existing_record()
    _stop_if_unfit(record, task, extractor=extractor, path=folder.path)
    other_rule = None if extractor == "ours" else EXTRACTORS[extractor]

    def again(p: Prediction) -> Prediction:
        return extract_again(p, other_rule if other_rule and p.choices else task.extract)

    before = folder.existing_predictions()
    predictions = extract_all(before, again, progress=progress)
    target = folder
    if extractor != "ours":
        name = f"{record.model.name}+{extractor}"
        title = f"{record.model.title} (read by {extractor})"
        record = replace(
            record,
            model=replace(record.model, name=name, title=title),
            fingerprint={**record.fingerprint, "extractor": extractor},
            command=list(command),
        )
        target = RunFolder(_sibling(folder.path, safe_name(name)))
    record = replace(record, settings={**record.settings, "extractor": extractor})
    metrics = list(metrics_of(task, tokenize=tokenize_of(record)))
    if predictions == before:
        # The texts are the same: what needs an encoder is not computed again.
        kept = {k: v for k, v in record.metrics.items() if _needs_model(k.partition("/")[0])}
        metrics.append(lambda _: kept)
    beyond = [again(p) for p in folder.read_beyond()] if target is folder else []
    with target.locked():
        return write_scored(target, record, predictions, metrics, beyond=beyond)


def _stop_if_unfit(record: RunRecord, task: Task, *, extractor: str, path: Path) -> None:
    """Raises HarnessError where the answers of a run cannot be extracted by this rule."""
    from harness.extract import EXTRACTORS

    if extractor not in EXTRACTORS:
        raise HarnessError(
            f"No extractor called {extractor!r}.", known=f"There are {', '.join(EXTRACTORS)}."
        )
    if task.answers == "text" and extractor != "ours":
        raise HarnessError(
            f"{extractor} reads letters of options; {task.title} has written answers.",
            remedy="--extractor ours",
        )
    if other := record.fingerprint.get("extractor"):
        raise HarnessError(
            f"{path} is itself a run whose answers {other} extracted.",
            remedy=f"Use the run next to it, whose name does not end in +{other}.",
        )


def _needs_model(name: str) -> bool:
    found = metric(name)
    return found is not None and found.needs_model


def _sibling(run: Path, model: str) -> Path:
    """The folder of another model's run of the same split; as relative as `run` is, where that
    names the model."""
    own = run if len(run.parts) > 1 and ".." not in run.parts else run.resolve()
    return own.parent.parent / model / own.name
