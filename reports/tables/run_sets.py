"""The runs of one task in sets that stand together in tables, charts and tests: each two runs of a
set share enough questions. Runs with a label, "mini (synthetic)", never stand with others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from harness.run.records import RunRecord
from reports.inputs import runs, sanitize
from reports.numbers import counted
from reports.statistics.answers import Answers
from reports.statistics.comparable import ENOUGH, Apart, comparable


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSet:
    """Runs that stand together."""

    runs: tuple[RunRecord, ...]
    apart: str = ""
    """Why they do not stand with the runs before them; empty for the first set, and where they were
    asked other questions."""
    is_ordered: bool = False
    """Best first, by paired tests: their own figures are of different questions."""
    without_answer: Mapping[str, str] = field(default_factory=dict)
    """Run id -> how many questions have no answer, by why."""

    @property
    def title(self) -> str:
        """Which questions, in words."""
        return runs.asked_together(self.runs)


def run_sets(
    records: Sequence[RunRecord], answers: Mapping[str, Answers] = MappingProxyType({})
) -> list[RunSet]:
    """The sets of some runs of one task, the set of most runs first, then that of most questions.

    Args:
        records: the runs.
        answers: by run id. A run without stands with those that were asked the same questions, as
            their records say.
    """
    found: list[RunSet] = []
    for label in dict.fromkeys(map(runs.label, records)):
        found += _of_one_label([run for run in records if runs.label(run) == label], answers)
    return sorted(found, key=lambda each: (-len(each.runs), -_size(each)))


def _of_one_label(records: Sequence[RunRecord], answers: Mapping[str, Answers]) -> Sequence[RunSet]:
    by_id = {runs.run_id(run): run for run in records}
    groups = comparable([answers[name].scored for name in by_id if name in answers])
    members = [[by_id[name] for name in group.names] for group in groups]
    reasons = [_reason(group.apart, by_id) if group.apart else "" for group in groups]
    for run in records:
        if runs.run_id(run) in answers:
            continue
        key = runs.same_questions(run)
        same = (group for group in members if key in map(runs.same_questions, group))
        group = next(same, None)
        if group is None:
            group = []
            members.append(group)
            reasons.append("")
        group.append(run)
    place = {id(run): number for number, run in enumerate(records)}
    return [
        RunSet(runs=tuple(sorted(group, key=lambda run: place[id(run)])), apart=reason)
        for group, reason in zip(members, reasons, strict=True)
    ]


def _reason(apart: Apart, by_id: Mapping[str, RunRecord]) -> str:
    """Why a run does not stand with others; empty where they share no question at all."""
    if not apart.shared:
        return ""
    name, other = (runs.title(by_id[each]) for each in (apart.name, apart.other))
    return (
        f"ranked apart: {name} and {other} share {apart.shared:,} of "
        f"{counted(apart.smaller, 'question')}, less than {ENOUGH:.0%}"
    )


def _size(found: RunSet) -> int:
    return max(sanitize.whole(run.counts.available) or 0 for run in found.runs)
