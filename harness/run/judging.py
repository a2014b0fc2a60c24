"""A judge on the answers of a run: ask what is not judged yet, keep each verdict, add the metric.

Verdicts are kept by what the judge was asked, for all runs under one folder: a second scoring, and
one after a kill, asks only what is missing. The run's own file has the verdicts of its figures.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from harness.core import processes
from harness.core.errors import HarnessError
from harness.core.files.jsonl import append_lines
from harness.core.files.paths import safe_name
from harness.core.judge_options import JudgeOptions
from harness.core.progress import Make, Silent
from harness.core.types import Prediction, Task
from harness.metrics.figures import figures
from harness.remote.judge import Judge, prompt_of
from harness.run.folder import RunFolder
from harness.run.judgements import (
    Judged,
    as_judged,
    is_judged,
    judge_metrics,
    keep,
    key_of,
    line,
    read_judgements,
)
from harness.run.records import MetricInfo
from harness.run.scoring import Run

log = logging.getLogger(__name__)

CACHE = "judgements"
"""The folder under RUNS with every verdict of each judge."""


def check_judge(options: JudgeOptions, task: Task) -> None:
    """Refuse a judge that cannot be asked, or has nothing to judge; before a run begins.

    Raises:
        HarnessError: no address, or a task whose answers are options.
    """
    if options.judge is None:
        return
    if task.answers == "choice":
        raise HarnessError(
            f"--judge is for written answers; those of {task.title} are options.",
            remedy="Leave it out.",
        )
    Judge(options)


def judged(run: Run, task: Task, options: JudgeOptions, *, progress: Make = Silent) -> Run:
    """The run with the verdicts of the judge that the options name as a metric of its own.

    Raises:
        HarnessError: the judge cannot be asked; what it has said is kept.
    """
    if options.judge is None or not processes.here().first:
        return run
    check_judge(options, task)
    judge, folder = Judge(options), RunFolder(run.folder)
    with folder.locked():
        predictions = folder.existing_predictions()
        asked = [p for p in predictions if is_judged(p) and p.raw.strip()]
        if not any(map(is_judged, predictions)):
            log.warning("--judge: no answer of this run has a right one to compare it with.")
            return run
        found = _ask(judge, asked, _cache(run.folder, judge), progress=progress)
        keep(run.folder, found, judge=judge.name)
        return _with_metrics(run, folder, predictions, judge)


def _cache(folder: Path, judge: Judge) -> Path:
    """RUNS/judgements/JUDGE.jsonl, of the run in RUNS/TASK/MODEL/SPLIT."""
    return folder.resolve().parents[2] / CACHE / f"{safe_name(judge.name)}.jsonl"


def _ask(
    judge: Judge, predictions: Sequence[Prediction], cache: Path, *, progress: Make
) -> list[Judged]:
    """The verdicts on all answers; each is on the disk before the next ones are asked for."""
    settings = judge.settings
    prompts = {p.sample_id: prompt_of(p) for p in predictions}
    known = {each.key: each for each in read_judgements(cache)}
    keys = {p.sample_id: key_of(settings, prompts[p.sample_id]) for p in predictions}
    todo = [p for p in predictions if keys[p.sample_id] not in known]
    failures: list[str] = []
    cache.parent.mkdir(parents=True, exist_ok=True)
    done = len(predictions) - len(todo)
    with progress(
        f"judged by {judge.name}", total=len(predictions), done=done, unit="answers"
    ) as bar:
        for start in range(0, len(todo), judge.at_once):
            batch = todo[start : start + judge.at_once]
            verdicts = judge.ask([prompts[p.sample_id] for p in batch])
            new = {
                keys[p.sample_id]: as_judged(p, settings, prompts[p.sample_id], verdict)
                for p, verdict in zip(batch, verdicts, strict=True)
                if not verdict.error
            }
            failures += [verdict.error for verdict in verdicts if verdict.error]
            append_lines(cache, map(line, new.values()))
            known |= new
            bar.advance(len(batch))
    if failures:
        log.warning(
            "--judge: %d answers were not judged; re-run the same command to ask again. %s",
            len(failures),
            failures[0],
        )
    return [
        replace(known[keys[p.sample_id]], sample_id=p.sample_id)
        for p in predictions
        if keys[p.sample_id] in known
    ]


def _with_metrics(
    run: Run, folder: RunFolder, predictions: Sequence[Prediction], judge: Judge
) -> Run:
    """The run with the figures of all judges in addition to those that it has."""
    metrics = judge_metrics(run.folder, predictions)
    names = [metric.name for metric in metrics]
    found = figures(predictions, metrics)
    ours = {k: v for k, v in found.values.items() if k.partition("/")[0] in names}
    others = {k: v for k, v in run.record.metrics.items() if k.partition("/")[0] not in names}
    record = replace(
        run.record,
        metrics={**others, **ours},
        metric_info={**run.record.metric_info, **{m.name: MetricInfo.of(m) for m in metrics}},
        settings={**run.record.settings, "judge": {**judge.settings, **_left_out(judge)}},
    )
    folder.rewrite(
        [
            replace(old, scores={**old.scores, **_only(new, names)})
            for old, new in zip(predictions, found.predictions, strict=True)
        ],
        beyond=folder.read_beyond(),
    )
    folder.write_record(record)
    return replace(run, record=record)


def _left_out(judge: Judge) -> dict[str, list[str]]:
    return {"left_out": list(judge.left_out)} if judge.left_out else {}


def _only(prediction: Prediction, names: Sequence[str]) -> dict[str, float]:
    return {name: score for name, score in prediction.scores.items() if name in names}
