"""The second stage: the student, and the controls that it is compared with."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from distill.config import DistillConfig
from distill.examples import Example, gold
from distill.layout import FEATURES, SIGHT, STUDENT, Workspace, folder_of
from distill.objectives import objective_of
from distill.quality.sight import Sight, measure_sight
from distill.questions import Questions, title_of, unseen
from distill.rationales.attempts import written_by
from distill.rationales.collect import Teaching
from distill.rationales.kept import read_rationales
from distill.rationales.logits import read_logits_record
from distill.rationales.store import Store
from distill.rationales.teacher_scores import TeacherScores
from distill.training.card import Sources
from distill.training.estimate import Estimate, estimate
from distill.training.requirements import check_base
from distill.training.tracked import AXIS
from distill.training.train import train
from distill.training.validation import with_validation
from harness.checkpoints.catalog import find
from harness.checkpoints.checkpoint import Checkpoint
from harness.checkpoints.folder import weights_fingerprint
from harness.core import progress
from harness.core.devices import resolve_device
from harness.core.errors import DataError
from harness.core.files.json_files import load_json, write_json
from harness.core.json_values import json_object
from harness.core.options import ModelOptions
from harness.core.structured import Rationale
from harness.core.types import Sample
from harness.run.records import SYNTHETIC
from harness.tracking.tracker import TrackedRun
from harness.tracking.trackers import Trackers
from harness.weights.resolve import resolve_weights

_WORDS = {"summary": 40, "caption": 60, "reasoning": 100}
"""Of a stage that no teacher has written yet, for an estimate: about what LLaVA-CoT writes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """What is trained, and how."""

    base: ModelOptions
    """The student before training."""
    config: DistillConfig
    preset: str
    """The name of the preset that the config is made from."""
    device: str = "auto"
    test_split: str = "test"
    """What the student is tested on, and nothing is chosen by."""
    controls: Mapping[str, DistillConfig] = field(default_factory=dict)
    """Students trained for comparison: suffix of the student's name, such as
    `distill.layout.CONTROL`, -> config."""

    def config_of(self, suffix: str) -> DistillConfig:
        """The config of a control; "": of the student itself."""
        return self.controls[suffix] if suffix else self.config

    def resolved_device(self) -> str:
        return resolve_device(self.device)


def find_base(training: Training) -> Checkpoint:
    """The student before training; raises HarnessError where it is not here, or no Moondream."""
    asked = training.base
    base = resolve_weights(
        asked.model, weights=asked.weights, revision=asked.revision, size=asked.size
    )
    check_base(base.folder)
    return base


def train_student(
    workspace: Workspace,
    questions: Questions,
    training: Training,
    *,
    examples: Sequence[Example],
    suffix: str = "",
    teaching: Teaching | None = None,
) -> Path:
    """Train the student or, with a `suffix`, one of the controls on `examples`, or resume it;
    returns the student's folder.

    Args:
        questions: that the examples are of.
        teaching: the teacher, for an objective that needs it in memory.
    """
    base = find_base(training)
    name, task = workspace.name + suffix, questions.data.task
    out = folder_of(workspace.runs, name)
    tracked = TrackedRun(
        options=workspace.tracking,
        task=task.name,
        name=f"{name}-training",
        axis=AXIS,
        home=out,
        runs=workspace.runs,
    )
    config = training.config_of(suffix)
    learned, validation = with_validation(
        examples, questions, config, test_split=training.test_split
    )
    scores = None
    if objective_of(config).sampling and teaching is not None:
        scores = TeacherScores(teaching, questions, base.folder)
    return train(
        learned,
        base=base.folder,
        out=out,
        config=config,
        device=training.resolved_device(),
        task=task,
        sources=_sources(workspace, questions, training, base=base),
        features=workspace.folder / FEATURES,
        validation=validation,
        fresh=workspace.fresh,
        progress=progress.make,
        trackers=Trackers(tracked),
        scores=scores,
    )


def check_sight(
    workspace: Workspace,
    questions: Questions,
    training: Training,
    *,
    suffix: str = "",
) -> Sight | None:
    """Whether a student that was trained on answers looks at its pictures, on questions of the test
    split or, where the data has no others, on those that it was trained on. None: it was not
    trained on answers alone, or there are no pictures. What was measured for the same weights is
    kept.

    Args:
        suffix: of a control; "": the student itself.
    """
    config = training.config_of(suffix)
    if objective_of(config).style != "direct" or objective_of(config).needs:
        return None
    home = folder_of(workspace.runs, workspace.name + suffix)
    folder, path = home / STUDENT, home / SIGHT
    test_split = training.test_split
    known = {"student": weights_fingerprint(folder), "split": test_split}
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):  # measured again
        there = json_object(load_json(path))
        if there["fingerprint"] == known:
            return Sight(**there["sight"]) if there["sight"] else None
    data, trained = questions.data, questions.selected()
    tested: Sequence[Sample] = ()
    with contextlib.suppress(DataError):
        tested = data.task.load(replace(data.options, split=test_split)).samples
    others = unseen(tested, trained)
    found = measure_sight(
        others or trained,
        student=folder,
        config=config,
        task=data.task,
        unseen=bool(others),
        device=training.resolved_device(),
    )
    write_json(path, {"fingerprint": known, "sight": asdict(found) if found else None})
    return found


def estimate_training(
    workspace: Workspace, questions: Questions, training: Training, *, suffix: str = ""
) -> Estimate:
    """What training the student, or a control, will take. Questions that have no rationale yet are
    estimated with one of some 200 words."""
    known = read_rationales(workspace.rationales)
    texts = {name: "word " * words for name, words in _WORDS.items()}
    config = training.config_of(suffix)
    examples = [
        Example(s, known.get(s.id) or Rationale(**texts, conclusion=gold(s)))
        for s in questions.selected()
    ]
    learned, _ = with_validation(examples, questions, config, test_split=training.test_split)
    return estimate(
        learned,
        base=find_base(training).folder,
        config=config,
        task=questions.data.task,
        device=training.resolved_device(),
    )


def _sources(
    workspace: Workspace, questions: Questions, training: Training, *, base: Checkpoint
) -> Sources:
    """What the model card says of base, teacher, data and their licences."""
    record = Store(workspace.rationales).read_record() or {}
    teacher = record.get("teacher", {})
    logits = (read_logits_record(workspace) or {}).get("teacher", {})
    data = questions.data
    samples = data.samples
    spec = base.spec if base.named else find(training.base.model)
    title = base.title if base.named or spec is None else spec.title
    revision = f" @ {samples.revision}" if samples.revision else ""
    # A card is passed on: where the files lie on this machine is nobody's business.
    published = [] if data.options.path else [f"{samples.source}{revision}"]
    return Sources(
        base=f"{title}, {SYNTHETIC}" if base.mini else title,
        base_repo="" if base.mini or base.random else base.repo or "",
        base_licence=base.licence or (spec.licence if spec else ""),
        teacher=written_by(record),
        teacher_licence=teacher.get("licence", ""),
        logits=logits.get("title") or logits.get("name", ""),
        logits_licence=logits.get("licence", ""),
        data=", ".join([title_of(data), *published, data.options.split]),
        data_repo="" if data.options.path or "/" not in samples.source else samples.source,
        data_licence=samples.licence,
    )
