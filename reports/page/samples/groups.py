"""Runs on the same questions, with their answers by question."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from harness.metrics.questions import Digest, are_same, merged
from harness.run.records import RunRecord
from reports.inputs import sanitize
from reports.inputs.material import RunData, SampleChoice
from reports.inputs.metrics import MetricFormat
from reports.page.samples.columns import Columns, run_scores, sample_metrics
from reports.page.samples.verdicts import FAILED, RECORDED, RIGHT, UNPARSED, WRONG
from reports.statistics.paired import RunScores, figure

OTHER = "~"
"""Between the id that a run has for a question and the number of another question of that id."""


def stands_for(shown: str, sample_id: str) -> bool:
    """Whether the page may show the question that a run has under `sample_id` as `shown`."""
    return shown == sample_id or shown.rpartition(OTHER)[0] == sample_id


@dataclass(slots=True)
class Sample:
    """A question, as the first run that was asked it has it."""

    content: Digest
    """What its runs know of it: see harness.metrics.questions."""
    topic: str
    group: str
    asked: GroupRun
    """The run that its options and target are read from."""
    worded: GroupRun | None
    """The run that its text is read from: answers made elsewhere need not bring it."""
    images: list[tuple[str, ...]]
    """Digests of its pictures, as each run has them: answers made elsewhere may have others."""
    pictures: list[str] = field(default_factory=list)
    """Digests for which there is a picture."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GroupRun:
    """A run's answers, by sample id."""

    source: RunData
    columns: Columns
    places: Mapping[str, int]
    """Sample id -> its place in the columns."""
    metric: MetricFormat | None
    """What its answers are marked by: the first metric that gives each a score; None: none does."""
    scores: RunScores
    """By that metric."""
    listed: tuple[MetricFormat, ...]
    """The other metrics, whose scores stand with the answers, in their order."""
    is_binary: bool
    """Each answer is right or wrong."""

    @property
    def record(self) -> RunRecord:
        return self.source.record

    @property
    def extractors(self) -> tuple[str, ...]:
        """Those whose verdicts there are in addition to the recorded ones."""
        return tuple(name for name in self.columns.verdicts if name != RECORDED)

    @property
    def is_graded(self) -> bool:
        """Whether an answer may be more than right or wrong."""
        return self.metric is not None and (not self.is_binary or not self.metric.higher_is_better)

    def is_marked_by(self, metric: MetricFormat | None) -> bool:
        return self.metric is not None and metric is not None and self.metric.is_same(metric)


@dataclass(frozen=True, slots=True)
class Group:
    """Runs on the same questions."""

    samples: dict[str, Sample]
    runs: list[GroupRun]
    data: set[str]
    """Fingerprints of their data."""

    @property
    def metric(self) -> MetricFormat | None:
        """What answers are marked by; None: options are right or wrong, texts are neither."""
        return self.runs[0].metric

    @property
    def is_graded(self) -> bool:
        """Whether some answers are graded: then all are shown with their scores."""
        return any(run.is_graded for run in self.scored)

    @property
    def scored(self) -> list[GroupRun]:
        """The runs that are marked by `metric`."""
        return [run for run in self.runs if run.is_marked_by(self.metric)]

    @property
    def ends(self) -> tuple[float, float]:
        """The worst and the best score: 0 and 1 where all lie between them."""
        found = [float(s) for run in self.scored for s in run.scores.scores.values()]  # type: ignore[arg-type]  # one number each
        low, high = min(found, default=0.0), max(found, default=1.0)
        if low >= 0 and high <= 1:
            low, high = 0.0, 1.0
        return (low, high) if self.metric is None or self.metric.higher_is_better else (high, low)

    def takes(self, record: RunRecord, ids: Sequence[str], asked: Sequence[Digest]) -> bool:
        """Whether these are answers to questions of this group: of one task and split, and of the
        same data or with some question in common; and most that have the same id are the same.

        Args:
            asked: the digest of the question of each id.
        """
        task = self.runs[0].record.task
        if (task.name, task.split) != (record.task.name, record.task.split):
            return False
        common = same = 0
        for sample_id, content in zip(ids, asked, strict=True):
            if known := self.samples.get(sample_id):
                common += 1
                same += are_same(known.content, content)
        return 2 * same >= common if common else _data(record) in self.data

    def with_own_ids(self, columns: Columns, asked: Sequence[Digest]) -> Columns:
        """The columns with another id, "7~2", for each question that is another one here."""
        ids = list(map(self._own_id, columns.ids, asked))
        return columns if ids == list(columns.ids) else replace(columns, ids=ids)

    def _own_id(self, sample_id: str, content: Digest) -> str:
        found, number = sample_id, 1
        while (known := self.samples.get(found)) and not are_same(known.content, content):
            number += 1
            found = f"{sample_id}{OTHER}{number}"
        return found


def collect(groups: list[Group], source: RunData, columns: Columns) -> None:
    """Put the answers of a run to those on the same questions, or into a group of their own."""
    if not columns.ids:
        return
    record, asked = source.record, columns.questions()
    group = next((group for group in groups if group.takes(record, columns.ids, asked)), None)
    if group is None:
        group = Group({}, [], set())
        groups.append(group)
    columns = group.with_own_ids(columns, asked)
    run = _run(source, columns)
    group.runs.append(run)
    group.data.add(_data(record))
    for place, sample_id in enumerate(columns.ids):
        worded = run if columns.worded[place] == "1" else None
        known = group.samples.get(sample_id)
        if known is None:
            known = Sample(
                content=asked[place],
                topic=columns.topics[place],
                group=columns.groups[place],
                asked=run,
                worded=worded,
                images=[],
            )
            group.samples[sample_id] = known
        # Answers made elsewhere need not bring all of it.
        if known.content != asked[place]:
            known.content = merged(known.content, asked[place])
        known.worded = known.worded or worded
        known.topic = known.topic or columns.topics[place]
        images = tuple(columns.images[place])
        if images and images not in known.images:
            known.images.append(images)


def _run(source: RunData, columns: Columns) -> GroupRun:
    metrics = sample_metrics(source.record, columns.scores)
    scores = run_scores(source.record, columns)
    return GroupRun(
        source=source,
        columns=columns,
        places={sample_id: place for place, sample_id in enumerate(columns.ids)},
        metric=metrics[0] if metrics else None,
        scores=scores,
        listed=tuple(metrics[1:]),
        is_binary=scores.test == "mcnemar",
    )


def _data(record: RunRecord) -> str:
    return str(sanitize.mapping(record.fingerprint).get("data"))


def merit(run: GroupRun) -> float:
    """What runs are listed by, the most first: the mean score where answers are graded, or else
    the share of right answers, failed questions left out."""
    if run.is_graded and run.metric:
        found = list(run.scores.scores)
        return figure(run.scores, found) * run.metric.sign if found else -math.inf
    verdicts = run.columns.verdicts[RECORDED]
    marked = len(verdicts) - verdicts.count(FAILED)
    return verdicts.count(RIGHT) / marked if marked else 0.0


def shown_ids(group: Group, samples: SampleChoice) -> list[str]:
    """The questions that can be looked at on the page; errors: those that some run got wrong, or
    has no full score for."""
    if samples != "errors":
        return list(group.samples) if samples == "all" else []
    marked, best = (group.scored, group.ends[1]) if group.is_graded else ([], 0.0)

    errors = {
        sample_id
        for run in group.runs
        for sample_id, verdict in zip(run.columns.ids, run.columns.verdicts[RECORDED], strict=True)
        if verdict in WRONG + UNPARSED + FAILED
    }
    errors |= {
        sample_id for run in marked for sample_id, s in run.scores.scores.items() if s != best
    }
    return [sample_id for sample_id in group.samples if sample_id in errors]
