"""Which runs of a task are ranked together: those that share enough questions, two by two."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from harness.run.verdicts import LEVEL
from reports.statistics.alignment import Alignment, align
from reports.statistics.paired import RunScores, difference, shared
from reports.statistics.ranks import Pair

ENOUGH = 0.9
"""Of the questions of the smaller of two runs: what both have to share to be ranked together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Apart:
    """Two runs that share too few questions to be ranked together."""

    name: str
    other: str
    shared: int
    smaller: int
    """Questions of the smaller of the two."""


@dataclass(frozen=True, slots=True)
class Comparable:
    """Runs of which each two share enough questions."""

    names: tuple[str, ...]
    """As they came."""
    apart: Apart | None = None
    """Why its largest run is in none of the larger groups; None: there are none."""


def comparable(runs: Sequence[RunScores]) -> list[Comparable]:
    """The runs in groups, the group of most runs first, then that of most questions. Each run is in
    the first group where it shares enough questions with every run, larger runs before smaller ones
    and equal ones as they came."""
    if not runs:
        return []
    aligned = align([_questions(run) for run in runs])
    sizes = aligned.sizes
    groups: list[list[int]] = []
    for run in sorted(range(len(runs)), key=lambda run: -sizes[run]):
        fitting = (group for group in groups if not any(_lacking(aligned, run, group)))
        group = next(fitting, None)
        if group is None:
            groups.append([run])
        else:
            group.append(run)
    groups.sort(key=lambda group: (-len(group), -max(sizes[run] for run in group)))
    return [
        Comparable(
            names=tuple(runs[run].name for run in sorted(group)),
            apart=min(
                _lacking(aligned, group[0], groups[0]),
                key=lambda apart: apart.shared / apart.smaller,
                default=None,
            )
            if number
            else None,
        )
        for number, group in enumerate(groups)
    ]


def rivals(
    leader: RunScores, others: Iterable[RunScores], *, higher_is_better: bool = True
) -> list[Pair]:
    """The runs that, whatever they share with it, are significantly better than the leader there,
    each by a test of its own."""
    found = []
    for other in others:
        keys = shared(leader, other)
        tested = difference(leader, other, keys) if keys else None
        pair = Pair(
            first=leader.name,
            second=other.name,
            n=len(keys),
            difference=tested,
            higher_is_better=higher_is_better,
        )
        certain = tested is not None and tested.p is not None and tested.p < LEVEL
        if certain and pair.ahead == other.name:
            found.append(pair)
    return found


def _questions(run: RunScores) -> RunScores:
    """The run without what its answers got: runs may be scored by different metrics."""
    scores: Mapping[str, float] = dict.fromkeys(run.scores, 0.0)
    return RunScores(name=run.name, scores=scores, clusters={}, questions=run.questions)


def _lacking(aligned: Alignment, run: int, group: Iterable[int]) -> Iterable[Apart]:
    """The runs of a group with which a run shares too few questions."""
    sizes = aligned.sizes
    for other in group:
        both, smaller = int(aligned.shared(run, other).sum()), min(sizes[run], sizes[other])
        if both < ENOUGH * smaller or not both:
            names = aligned.runs[run].name, aligned.runs[other].name
            yield Apart(name=names[0], other=names[1], shared=both, smaller=max(1, smaller))
