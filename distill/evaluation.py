"""The last stage: students and their base on the test questions, and the results in their cards."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from distill.layout import CARD, Workspace
from distill.objectives.objective import Objective
from distill.options import EvaluationOptions
from distill.questions import Questions, title_of
from distill.training.card import fill_results
from distill.training.tokens import asked_as
from harness.core.files.paths import safe_name
from harness.core.options import GenerationOptions, ModelOptions, RunOptions
from harness.core.types import Style
from harness.run.evaluate import evaluate
from harness.run.folder import RunFolder
from harness.run.scoring import Run
from harness.run.task_data import Data
from harness.sources.weights import Weights

log = logging.getLogger(__name__)


def evaluate_student(
    workspace: Workspace,
    test: Data,
    evaluation: EvaluationOptions,
    *,
    folder: Path,
    objective: Objective,
    suffix: str = "",
) -> Run:
    """Evaluate the trained student in `folder` or, with a `suffix`, a control. The run of a student
    with other weights is moved aside.

    Args:
        objective: that it was trained with, which decides how it is asked.
    """
    name = workspace.name + suffix
    reasons = objective.style == "structured"
    asked = asked_as(folder, objective)
    source = Weights(
        ModelOptions(
            model=asked.model,
            weights=asked.weights,
            name=name,
            runs=workspace.runs,
            device=evaluation.device,
            dtype=evaluation.dtype,
        )
    )
    there = RunFolder.of(
        workspace.runs, task=test.task.name, model=name, split=test.options.split
    ).read_record()
    current = source.fingerprint["weights"]
    outdated = there is not None and there.fingerprint.get("weights") != current
    options = _run_options(
        workspace,
        evaluation,
        fresh=workspace.fresh or outdated,
        conclude=evaluation.conclude and reasons,  # else there is no reasoning to conclude from
        style=asked.style,
    )
    return evaluate(source, test, options)


def evaluate_base(
    workspace: Workspace, test: Data, evaluation: EvaluationOptions, *, base: ModelOptions
) -> Run:
    """Evaluate the student before training, on the same questions."""
    source = Weights(replace(base, device=evaluation.device, dtype=evaluation.dtype))
    # The base has no reasoning to conclude from.
    options = _run_options(workspace, evaluation, fresh=False, conclude=False)
    return evaluate(source, test, options)


def _run_options(
    workspace: Workspace,
    evaluation: EvaluationOptions,
    *,
    fresh: bool,
    conclude: bool,
    style: Style | None = None,
) -> RunOptions:
    return RunOptions(
        runs=workspace.runs,
        limit=evaluation.limit,
        batch_size=evaluation.batch_size,
        generation=GenerationOptions(
            max_new_tokens=evaluation.max_new_tokens, conclude=conclude, style=style
        ),
        tracking=workspace.tracking,
        fresh=fresh,
        bertscore=evaluation.bertscore,
        command=workspace.command,
        configuration=workspace.configuration,
    )


def count_overlap(questions: Questions, test: Data) -> int:
    """Test questions that are trained on: equal in question, options and images."""
    data = questions.data
    trained = {(s.question, s.choices, data.digests[s.id]) for s in questions.selected()}
    samples = test.samples.samples
    both = sum((s.question, s.choices, test.digests[s.id]) in trained for s in samples)
    if both:
        log.warning(
            "%d of %d test questions are among those that are trained on.", both, len(samples)
        )
    return both


@dataclass(frozen=True, slots=True)
class _Deciding:
    """The metric that runs are compared by."""

    name: str
    title: str
    percent: bool
    """Whether it is shown so."""


def _deciding(runs: Sequence[Run]) -> _Deciding | None:
    """The first metric of the task that a run has; None: there is none."""
    for run in runs:
        for name, value in run.record.metrics.items():
            if value.value is not None and name in run.record.metric_info:
                about = run.record.about(name)
                return _Deciding(name, about.title, about.unit == "%")
    return None


def _row(run: Run, metric: _Deciding, name: str) -> str:
    """The row of a run in the card of the student called `name`."""
    found = run.record.metrics[metric.name]
    own = " (this model)" if run.record.model.name == name else ""
    values = [each or 0.0 for each in (found.value, found.low, found.high)]
    if metric.percent:
        value, low, high = (f"{100 * v:.{n}f}" for v, n in zip(values, (2, 1, 1), strict=True))
    else:
        value, low, high = (f"{v:.3f}" for v in values)
    return f"| {safe_name(run.record.model.name)}{own} | {found.n} | {value} | {low} to {high} |"


def fill_card(
    folder: Path,
    test: Data,
    runs: Sequence[Run],
    *,
    name: str,
    preset: str,
    structure: Mapping[str, Any] | None = None,
) -> None:
    """Put the results of all students into the model card of the one called `name`.

    Args:
        folder: of the student.
        preset: what it was trained with.
        structure: how its own answers are built, as quality.json has it.
    """
    label = next((f", {run.record.label}" for run in runs if run.record.label), "")
    if test.own_title:
        label = ""  # what the models are is said above
    where = f"{title_of(test)}, {test.options.split}{label}"
    metric = _deciding(runs)
    rows = [
        f"{where}; settings: preset `{preset}`, as in the table above.\n",
        f"| Model | Questions | {metric.title if metric else 'Score'} | 95% interval |",
        "|---|---|---|---|",
        *(_row(run, metric, name) for run in runs if metric and metric.name in run.record.metrics),
    ]
    if structure is not None:
        tags, wrong = structure["all_tags"], structure["reasoning_to_error"]
        if tags["value"] is not None:
            rows.append(f"\nAnswers with all four stages: {100 * tags['value']:.1f}%.")
        if wrong["value"] is not None:
            value = f"{100 * wrong['value']:.1f}% of {wrong['n']}"
            rows.append(f"Wrong answers whose reasoning is right: {value}.")
    fill_results(folder / CARD, "\n".join(rows))
