"""Runs on the same questions, with their answers by question."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from distill.quality.answers import reasoning_to_error
from harness.core.types import Prediction, Target
from harness.extract import EXTRACTORS
from harness.run.records import RunRecord
from reports.inputs import runs, sanitize
from reports.inputs.material import RunData, SampleChoice
from reports.page.samples.verdicts import (
    ABSENT,
    FAILED,
    OTHERS,
    RECORDED,
    RIGHT,
    UNPARSED,
    WRONG,
    answer_row,
    compact_json,
    extract_by,
    verdict_of,
)


@dataclass(slots=True)
class Sample:
    """A question, as the first run that was asked it has it."""

    question: str
    choices: tuple[str, ...]
    target: Target
    topic: str
    images: list[tuple[str, ...]]
    """Digests of its pictures, as each run has them: answers made elsewhere may have others."""
    pictures: list[str] = field(default_factory=list)
    """Digests for which there is a picture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupRun:
    """A run's answers, by sample id."""

    record: RunRecord
    verdicts: Mapping[str, dict[str, str]]
    """Extractor -> sample id -> character."""
    rows: Mapping[str, str]
    """Sample id -> the answer as JSON."""
    misled: frozenset[str]
    """Ids of wrong answers whose reasoning was right."""


@dataclass(frozen=True, slots=True)
class Group:
    """Runs on the same questions."""

    samples: dict[str, Sample]
    runs: list[GroupRun]
    data: set[str]
    """Fingerprints of their data."""

    def takes(self, record: RunRecord, predictions: Sequence[Prediction]) -> bool:
        """Whether these are answers to questions of this group: of one task and split, of the same
        data or with some question in common, and none that is another question here."""
        task = self.runs[0].record.task
        if (task.name, task.split) != (record.task.name, record.task.split):
            return False
        common = [(known, p) for p in predictions if (known := self.samples.get(p.sample_id))]
        if not common and _data(record) not in self.data:
            return False
        return all(k.choices == p.choices and k.target == p.target for k, p in common)


def collect(groups: list[Group], evidence: RunData) -> None:
    """Put the answers of a run to those on the same questions, or into a group of their own."""
    predictions = evidence.predictions()
    if not predictions:
        return
    record = evidence.record
    group = next((group for group in groups if group.takes(record, predictions)), None)
    if group is None:
        group = Group({}, [], set())
        groups.append(group)
    group.runs.append(_run(evidence, predictions))
    group.data.add(_data(record))
    for p in predictions:
        known = group.samples.get(p.sample_id)
        if known is None:
            known = Sample(p.question, p.choices, p.target, p.topic, [])
            group.samples[p.sample_id] = known
        # Answers made elsewhere need not bring all of it.
        known.question = known.question or p.question
        known.topic = known.topic or p.topic
        if p.images and p.images not in known.images:
            known.images.append(p.images)


def _run(evidence: RunData, predictions: Sequence[Prediction]) -> GroupRun:
    by_others = runs.is_extracted(evidence.record) and any(p.choices for p in predictions)
    extractors = {name: EXTRACTORS[name] for name in OTHERS} if by_others else {}
    verdicts: dict[str, dict[str, str]] = {name: {} for name in (RECORDED, *extractors)}
    rows = {}
    for p in predictions:
        verdicts[RECORDED][p.sample_id] = verdict_of(p, p.answer)
        others = []
        for name, extractor in extractors.items():
            reading = extract_by(extractor, p)
            verdicts[name][p.sample_id] = verdict_of(p, reading.answer)
            others.append([reading.answer, sanitize.text(reading.rule)])
        rows[p.sample_id] = compact_json(answer_row(p, others))
    return GroupRun(
        record=evidence.record,
        verdicts=verdicts,
        rows=rows,
        misled=frozenset(reasoning_to_error(predictions).sample_ids),
    )


def _data(record: RunRecord) -> str:
    return str(sanitize.mapping(record.fingerprint).get("data"))


def accuracy_of(run: GroupRun) -> float:
    """The share of right answers, failed questions left out."""
    verdicts = [verdict for verdict in run.verdicts[RECORDED].values() if verdict != FAILED]
    return verdicts.count(RIGHT) / len(verdicts) if verdicts else 0.0


def is_shown(group: Group, sample_id: str, samples: SampleChoice) -> bool:
    """Whether a question can be looked at on the page."""
    if samples == "errors":
        verdicts = (run.verdicts[RECORDED].get(sample_id, ABSENT) for run in group.runs)
        return any(verdict in WRONG + UNPARSED + FAILED for verdict in verdicts)
    return samples == "all"
