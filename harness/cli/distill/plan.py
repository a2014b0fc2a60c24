"""From the options of a command to the parts that the stages take."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from distill.config import DistillConfig, preset
from distill.layout import CONTROL, Workspace
from distill.objectives.answer import Answer
from distill.options import RationaleOptions
from harness.cli.configuration import configuration_of
from harness.cli.distill.options import (
    BaseOptions,
    ConfigOptions,
    HardwareOptions,
    QuestionOptions,
    TeacherOptions,
    TestOptions,
)
from harness.core import processes
from harness.core.errors import HarnessError
from harness.core.options import ModelOptions
from harness.core.types import DataOptions

if TYPE_CHECKING:
    from distill.questions import Questions
    from distill.rationales.collect import Teaching
    from distill.training.students import Training
    from harness.run.task_data import Data


def refuse_several(command: str, remedy: str) -> None:
    """Refuse to be one of several processes."""
    if (number := processes.here().processes) > 1:
        raise HarnessError(
            f"{command} is one process, and {number} were started: several can train and evaluate.",
            remedy=remedy,
        )


def with_command(
    ctx: typer.Context, workspace: Workspace, *, derived: Sequence[str] = ("name",)
) -> Workspace:
    """The workspace with the command line and its options, for the records.

    Args:
        derived: options that follow from others where they are not given: then they are no part of
            the configuration, which makes the same of them when it is read.
    """
    configuration = {
        name: value
        for name, value in configuration_of(ctx).items()
        if name not in derived or is_given(ctx, name)
    }
    command = ["harness", *sys.argv[1:]]
    return replace(workspace, command=command, configuration=configuration)


def named_after(ctx: typer.Context, workspace: Workspace, base: BaseOptions) -> Workspace:
    """The workspace under the name of a base that is not the paper's, where none is given."""
    if is_given(ctx, "name") or base.base == BaseOptions().base:
        return workspace
    return replace(workspace, name=f"{Path(base.base).name}-kd")


def student_of(ctx: typer.Context, workspace: Workspace, base: BaseOptions) -> Workspace:
    """The workspace of a training alone: that of another base has a name of its own, and learns
    the rationales of the default name where it has none itself."""
    from distill.rationales.store import Store

    named = named_after(ctx, workspace, base)
    if named.name == workspace.name or Store(named.folder).record_path.exists():
        return named
    return replace(
        named, rationales_of=workspace.name if Store(workspace.folder).record_path.exists() else ""
    )


def config_of(options: ConfigOptions, changes: Mapping[str, Any]) -> DistillConfig:
    """The preset with the fields that options change; raises HarnessError, also where one is set
    twice."""
    given = dict(changes)
    if "samples" in given:
        given["samples"] = given["samples"] or None  # 0: all
    for flag, fields in (("stage-weight", options.stage_weights), ("set", options.fields)):
        for name, value in (fields or {}).items():
            if name in given:
                raise HarnessError(
                    f"--{flag} {name}={value}: it is {given[name]} already, by another option or "
                    "by the command itself."
                )
            given[name] = value
    return preset(options.preset, **given)


def controls_of(test: TestOptions, config: DistillConfig) -> dict[str, DistillConfig]:
    """The control that is asked for; raises HarnessError."""
    if not test.control:
        if test.control_set:
            raise HarnessError("--control-set without --control: there is no control to set.")
        return {}
    if config.objective == Answer.name:
        raise HarnessError(
            f"--control: with --objective {Answer.name} the student itself learns the answers "
            "alone."
        )
    return {CONTROL: config.with_objective(Answer.name, **(test.control_set or {}))}


def questions_of(options: QuestionOptions, config: DistillConfig) -> Questions:
    """The questions that the options choose."""
    from distill.questions import Questions

    return Questions(
        data=_data(options.task, options.data),
        limit=config.samples,
        sample=config.sample,
        seed=config.seed,
    )


def recorded_questions(
    ctx: typer.Context, workspace: Workspace, options: QuestionOptions, config: DistillConfig
) -> Questions:
    """The questions that the rationales were made for, but for options that are given."""
    from distill.rationales.store import Store

    record = Store(workspace.rationales).read_record()
    chosen = questions_of(options, config)
    if record is None:
        return chosen
    data, settings = record.get("data", {}), record.get("settings", {})
    paths = {"path": "path", "split": "split", "revision": "asked_revision"}
    flags = {"path": "data", "split": "split", "revision": "revision"}
    changes = {
        field: data[key]
        for field, key in paths.items()
        if key in data and not is_given(ctx, flags[field])
    }
    if changes.get("path"):
        changes["path"] = Path(changes["path"])
    task = options.task if is_given(ctx, "task") else data.get("task", options.task)
    return replace(
        chosen,
        data=_data(task, replace(options.data, **changes)),
        limit=chosen.limit if is_given(ctx, "limit") else settings.get("limit", chosen.limit),
        sample=chosen.sample if is_given(ctx, "sample") else settings.get("sample", "first"),
        seed=settings.get("seed", chosen.seed),  # --seed is then that of the training alone
    )


def is_given(ctx: typer.Context, name: str) -> bool:
    """Whether the user wrote the option, on the command line or in a configuration."""
    source = ctx.get_parameter_source(name) if name in ctx.params else None
    return source is not None and source.name in {"COMMANDLINE", "DEFAULT_MAP"}


def _data(task: str, options: DataOptions) -> Data:
    from harness.run.task_data import Data
    from tasks import load_task

    return Data(load_task(task), options)


def teaching_of(
    teacher: TeacherOptions,
    options: RationaleOptions,
    hardware: HardwareOptions,
    *,
    config: DistillConfig,
) -> Teaching:
    """Where the rationales come from, and how the teacher is asked."""
    from distill.rationales.collect import Teaching

    first, *others = (
        ModelOptions(
            model=name,
            weights=teacher.weights,
            chat_template=teacher.chat_template,
            size=hardware.size,
            device=hardware.device,
            dtype=hardware.dtype,
            server=teacher.server,
        )
        for name in teacher.teachers
    )
    return Teaching(
        teacher=first,
        others=others,
        imported=teacher.imported,
        options=replace(options, inputs=config.teacher_input, seed=config.seed),
    )


def training_of(
    base: BaseOptions,
    config: DistillConfig,
    hardware: HardwareOptions,
    *,
    preset: str = "paper",
    test_split: str = "test",
    controls: Mapping[str, DistillConfig] | None = None,
) -> Training:
    """What is trained, and how."""
    from distill.training.students import Training

    return Training(
        base=ModelOptions(model=base.base, weights=base.weights, size=hardware.size),
        config=config,
        preset=preset,
        device=hardware.device,
        test_split=test_split,
        controls=controls or {},
    )
