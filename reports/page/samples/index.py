"""The index of a group of runs: what the page lists, filters and searches."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.core.types import Prediction
from harness.metrics.clusters import clusters
from harness.metrics.statistics import RESAMPLES
from reports.inputs import runs, sanitize
from reports.inputs.material import Material, RunData
from reports.page.samples.groups import Group, GroupRun, Sample
from reports.page.samples.verdicts import ABSENT, ANSWERED, RECORDED, RIGHT, WRONG
from reports.statistics.ranks import bootstrapped


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """The index of a group in two parts. Lists are in the order of the questions."""

    head: dict[str, Any]
    """What was asked, and which runs there are."""
    body: dict[str, Any]
    """The questions, and what each run made of them."""


def index_of(
    material: Material,
    group: Group,
    *,
    questions: Mapping[str, str],
    images: Mapping[str, bytes],
) -> Index:
    """The index of a group.

    Args:
        questions: sample id -> its text, of the questions that can be looked at.
        images: digest -> the picture.
    """
    ids = list(group.samples)
    samples = list(group.samples.values())
    topics = {topic: n for n, topic in enumerate(sorted({s.topic for s in samples}))}
    numbers = {digest: n for n, digest in enumerate(images)}
    task = group.runs[0].record.task
    names = [
        sanitize.text(task.title or task.name, limit=80),
        sanitize.text(task.split, limit=60),
    ]
    keys = numbered(map(_run_key, group.runs))
    head = {
        "title": ", ".join([names[0], f"{names[1]} split"]),
        "choice": any(run.columns.chosen for run in group.runs),
        "metric": _metric(group),
        "runs": [
            {
                "key": key,
                "title": runs.title(run.record),
                "role": runs.role(run.record),
                "interval": _interval(group, run),
                "listed": [metric.title for metric in run.listed],
                "cut": sanitize.whole(run.record.counts.cut),
            }
            for key, run in zip(keys, group.runs, strict=True)
        ],
        "pairs": _pairs(material, group),
        "tests": _tests(group),
    }
    body = {
        "ids": [sanitize.text(i) for i in ids],
        # None: this question cannot be looked at.
        "questions": [questions.get(i) for i in ids],
        "topics": [sanitize.text(topic, limit=60) or "no topic" for topic in topics],
        "topic": [topics[sample.topic] for sample in samples],
        "cluster": _clusters(samples),
        "picture": [numbers[s.pictures[0]] if s.pictures else -1 for s in samples],
        "sizes": [len(data) for data in images.values()],
        "runs": [
            {
                "verdicts": _verdicts(group, run, ids),
                "scores": _scores(group, run, ids),
                "misled": _misled(run, ids),
            }
            for run in group.runs
        ],
    }
    return Index(head=head, body=body)


def _metric(group: Group) -> dict[str, Any] | None:
    """What answers are marked by; None: options are right or wrong, texts neither."""
    metric = group.metric
    if metric is None:
        return None
    return {
        "title": metric.title,
        "percent": metric.unit == "%",
        "higher": metric.higher_is_better,
        "graded": group.is_graded,
        "ends": [_rounded(end) for end in group.ends],
    }


def _verdicts(group: Group, run: GroupRun, ids: Sequence[str]) -> dict[str, str]:
    """Extractor -> a character for each question; where answers are graded only the recorded ones,
    and none is right or wrong."""
    found = dict(run.columns.verdicts)
    if list(run.columns.ids) != ids:
        for name, verdicts in found.items():
            own = dict(zip(run.columns.ids, verdicts, strict=True))
            found[name] = "".join(own.get(i, ABSENT) for i in ids)
    if not group.is_graded:
        return found
    graded = str.maketrans(RIGHT + WRONG, ANSWERED * 2)
    return {RECORDED: found[RECORDED].translate(graded)}


def _misled(run: GroupRun, ids: Sequence[str]) -> list[int]:
    """Places of wrong answers whose reasoning was right."""
    found = {run.columns.ids[place] for place in run.columns.misled}
    return [place for place, i in enumerate(ids) if i in found] if found else []


def _scores(group: Group, run: GroupRun, ids: Sequence[str]) -> list[float | None] | None:
    """The score of each answer; None where answers are right or wrong."""
    if not group.is_graded:
        return None
    found = run.scores.scores if run.is_marked_by(group.metric) else {}
    return [_rounded(found.get(i)) for i in ids]


def _interval(group: Group, run: GroupRun) -> list[float] | None:
    """The ends of the interval of the run's own figure, where the script cannot compute them."""
    grouped = any(sample.group for sample in group.samples.values())
    if group.metric is None or not (group.is_graded or grouped):
        return None
    found = runs.figure(run.record, group.metric.name)
    return None if found.low is None or found.high is None else [found.low, found.high]


def _tests(group: Group) -> list[list[Any]] | None:
    """(first, second, n, difference, low, high, p) of each two runs with graded answers, the second
    minus the first, as `harness compare` has it; None where answers are right or wrong."""
    if not group.is_graded:
        return None
    places = {runs.run_id(run.record): place for place, run in enumerate(group.runs)}
    return [
        [places[pair.first], places[pair.second], d.n, d.difference, d.low, d.high, d.p]
        for pair in bootstrapped([run.scores for run in group.scored], resamples=RESAMPLES)
        if (d := pair.difference)
    ]


def _rounded(value: object) -> float | None:
    """To six significant digits."""
    found = sanitize.number(value)
    return None if found is None else float(f"{found:.6g}")


def group_key(group: Group) -> str:
    """What an address calls the questions: "scienceqa.test"."""
    _, task, _, split = runs.run_id(group.runs[0].record).split(":")
    return f"{task}.{split}"


def _run_key(run: GroupRun) -> str:
    """What an address calls a run: the model's name."""
    return runs.run_id(run.record).split(":")[2]


def numbered(names: Iterable[str]) -> Iterator[str]:
    """The names, from the second on with a number where several are equal."""
    seen: Counter[str] = Counter()
    for name in names:
        seen[name] += 1
        yield name if seen[name] == 1 else f"{name}~{seen[name]}"


def _clusters(samples: Sequence[Sample]) -> list[int] | None:
    """A number for each question, the same where they are not independent; None where all are."""
    found = clusters(
        [
            Prediction(
                sample_id="",
                raw="",
                answer=None,
                rule="",
                target="",
                group=sample.group,
                images=sample.images[0] if sample.images else (),
            )
            for sample in samples
        ]
    )
    return found if found and len(set(found)) > 1 else None


def _pairs(material: Material, group: Group) -> list[list[int]]:
    """(before, after) of each distillation: by what it left on disk or, where nothing is left, the
    run of a distilled model and that of a student."""
    places = {runs.run_id(run.record): place for place, run in enumerate(group.runs)}

    def found(evidence: Iterable[RunData]) -> list[int]:
        return [places[name] for each in evidence if (name := runs.run_id(each.record)) in places]

    pairs = [
        [before, after]
        for each in material.distillations
        for before in found(each.base)
        for after in found(each.training.runs if each.training else ())
        if before != after
    ]
    roles = [runs.role(run.record) for run in group.runs]
    return pairs or [
        [before, after]
        for before, role in enumerate(roles)
        for after, other in enumerate(roles)
        if (role, other) == ("student", "distilled")
    ]
