"""The options that the commands of `harness distill` share; those of a run are in
`harness.core.options`, those of rationales and training where they are used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from distill.config import DistillConfig
from distill.layout import Workspace
from distill.needs import ONE_TEACHER, TEACHES
from harness.cli.options import TASK
from harness.cli.signature import Expand
from harness.core.declarations import (
    EVALUATION,
    OUTPUT,
    SAMPLES,
    TEACHER,
    TRAINING,
    Option,
    option_of,
)
from harness.core.needs import LOCAL
from harness.core.options import (
    ModelOptions,
    ServerOptions,
    key_values,
)
from harness.core.types import DataOptions

_MODEL = option_of(ModelOptions, "model")
_WEIGHTS = "Folder or ORG/REPO with the weights of the {}. Default: the model's own."


def _stage_weights(given: Sequence[str]) -> dict[str, Any]:
    pairs = key_values(given, option="--stage-weight", example="NAME=VALUE, such as conclusion=4")
    return {f"{stage}_weight": weight for stage, weight in pairs.items()}


def _fields(option: str, example: str) -> Any:
    """A parser of FIELD=VALUE; JSON has no tuples."""

    def parse(given: Sequence[str]) -> dict[str, Any]:
        pairs = key_values(given, option=option, example=f"NAME=VALUE, such as {example}")
        return {key: tuple(v) if isinstance(v, list) else v for key, v in pairs.items()}

    return parse


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionOptions:
    """The data that is distilled."""

    task: Annotated[str, replace(TASK, panel=SAMPLES)] = "scienceqa"
    data: DataOptions


_LEARNED = {"split": "train"}
_LEARNED_SPLIT = {"split": "Split of the data to learn from."}
AllQuestions: TypeAlias = Annotated[
    QuestionOptions,
    Expand(without=("text_only", "download"), defaults=_LEARNED, helps=_LEARNED_SPLIT),
]
PlainQuestions: TypeAlias = Annotated[
    QuestionOptions,
    Expand(
        without=("text_only", "download"),
        defaults=_LEARNED,
        helps={
            **_LEARNED_SPLIT,
            "task": f"{TASK.help} With --data the one that fits the form of its answers, where "
            "none is named.",
        },
    ),
]
RecordedQuestions: TypeAlias = Annotated[
    QuestionOptions, Expand(only=("task", "path"), defaults={"split": "train"})
]
"""For commands that take the others from the record of the rationales."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TeacherOptions:
    """Where rationales come from."""

    teachers: Annotated[
        Sequence[str],
        Option(
            "A model of `harness list models`, ORG/REPO, or a folder. Several write for the same "
            "questions: see --teacher-share.",
            panel=TEACHER,
            flag="teacher",
            default=("llava-cot",),
            given=list[str],
            metavar="NAME",
            commas=True,
            needs=(TEACHES,),
        ),
    ] = ("llava-cot",)
    weights: Annotated[
        str | None,
        Option(
            _WEIGHTS.format("teacher"),
            panel=TEACHER,
            flag="teacher-weights",
            needs=(LOCAL, ONE_TEACHER, TEACHES),
        ),
    ] = None
    chat_template: Annotated[
        Path | None,
        replace(
            option_of(ModelOptions, "chat_template"),
            panel=TEACHER,
            needs=(LOCAL, ONE_TEACHER, TEACHES),
        ),
    ] = None
    imported: Annotated[
        Path | None,
        Option(
            "CSV or JSONL with a `rationale` for each `id` or `question`, in place of a teacher; "
            "also another distillation's rationales.jsonl.",
            panel=TEACHER,
            flag="import",
        ),
    ] = None
    server: ServerOptions = field(default_factory=ServerOptions)


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseOptions:
    """The student before training."""

    base: Annotated[
        str,
        Option(
            "The student before training: a model of `harness list models`, or a folder.",
            panel=TRAINING,
        ),
    ] = "moondream"
    weights: Annotated[
        str | None, Option(_WEIGHTS.format("base"), panel=TRAINING, flag="base-weights")
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigOptions:
    """A preset, and changes that have no option of their own."""

    preset: Annotated[
        Literal["paper", "code", "miniature"],
        Option(
            "Settings to start from: Table 3 of the paper, what its published code does instead, "
            "or those for the minis.",
            panel=TRAINING,
        ),
    ] = "paper"
    stage_weights: Annotated[
        Mapping[str, Any] | None,
        Option(
            "STAGE=WEIGHT of its tokens in the loss, such as conclusion=4.",
            panel=TRAINING,
            flag="stage-weight",
            given=list[str],
            parse=_stage_weights,
        ),
    ] = None
    fields: Annotated[
        Mapping[str, Any] | None,
        Option(
            "FIELD=VALUE, any other field of DistillConfig, such as clip=1.0.",
            panel=TRAINING,
            given=list[str],
            parse=_fields("--set", "clip=1.0"),
            flag="set",
        ),
    ] = None


PlainConfig: TypeAlias = Annotated[ConfigOptions, Expand(without=("stage_weights",))]
"""Answers have no stages."""
ConfigChanges: TypeAlias = Annotated[
    dict[str, Any], Expand(changes=DistillConfig, without=("parallel",))
]
"""Of what one process can be set to; several only train."""
TeacherChanges: TypeAlias = Annotated[
    dict[str, Any], Expand(changes=DistillConfig, panels=(SAMPLES, TEACHER))
]
LocalTeacher: TypeAlias = Annotated[
    TeacherOptions, Expand(only=("teachers", "weights", "chat_template"))
]
"""A teacher whose weights are read here."""
LogitChanges: TypeAlias = Annotated[
    dict[str, Any],
    Expand(
        changes=DistillConfig,
        only=("teacher_input", "objective", "objective_settings", "without"),
    ),
]
TrainingChanges: TypeAlias = Annotated[
    dict[str, Any], Expand(changes=DistillConfig, panels=(SAMPLES, TRAINING))
]
PlainTrainingChanges: TypeAlias = Annotated[
    dict[str, Any],
    Expand(
        changes=DistillConfig,
        panels=(SAMPLES, TRAINING),
        without=("objective", "objective_settings", "without", "repeat_options"),
    ),
]
"""Of what training on answers alone can be set to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TestOptions:
    """What is evaluated and measured after training."""

    split: Annotated[
        str, Option("Split of the data to test on.", panel=EVALUATION, flag="test-split")
    ] = "test"
    control: Annotated[
        bool,
        Option("Train and evaluate a student on the answers alone as well.", panel=EVALUATION),
    ] = False
    control_set: Annotated[
        Mapping[str, Any] | None,
        Option(
            "FIELD=VALUE of the control, where it differs from the student's, such as "
            "learning_rate=1e-5.",
            panel=EVALUATION,
            given=list[str],
            parse=_fields("--control-set", "learning_rate=1e-5"),
        ),
    ] = None


TestSplit: TypeAlias = Annotated[TestOptions, Expand(only=("split",))]
ImageDependence: TypeAlias = Annotated[
    bool,
    Option(
        "Measure how much rationales depend on their image, by two forward passes each.",
        panel=EVALUATION,
        default=False,
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class HardwareOptions:
    """What teacher and student run on, and how large they are."""

    size: Annotated[
        Literal["mini", "full"],
        Option(
            "Size of teacher and student: mini takes the small ones that come with the package.",
            panel=OUTPUT,
        ),
    ] = "full"
    device: Annotated[str, replace(option_of(ModelOptions, "device"), panel=OUTPUT, needs=())] = (
        "auto"
    )
    dtype: Annotated[str, replace(option_of(ModelOptions, "dtype"), panel=OUTPUT, needs=())] = (
        "auto"
    )
    """Of the teacher and of evaluation; training has its own in the config."""


TrainingHardware: TypeAlias = Annotated[HardwareOptions, Expand(without=("dtype",))]

_NAME = {"name": "moondream-kd"}
_NAMED_AFTER = {
    "name": "Name of the student, and of its folder; with another --base by default that one's "
    "name and -kd."
}
TrackedWorkspace: TypeAlias = Annotated[Workspace, Expand(defaults=_NAME, helps=_NAMED_AFTER)]
PlainWorkspace: TypeAlias = Annotated[
    Workspace,
    Expand(
        defaults={"name": ""},
        helps={
            "name": "Name of the student, and of its folder. Default: the names of base and "
            "questions, such as moondream-scienceqa."
        },
    ),
]
WorkspaceOptions: TypeAlias = Annotated[
    Workspace, Expand(defaults=_NAME, without=("tracking", "push_to_hub"))
]
ExistingWorkspace: TypeAlias = Annotated[
    Workspace, Expand(defaults=_NAME, without=("tracking", "fresh", "push_to_hub"))
]
