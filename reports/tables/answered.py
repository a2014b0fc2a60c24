"""Errors are not answers: how many questions of a run have none, and why, and its score over those
that have one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from harness.run.records import RunRecord
from reports.inputs import runs, sanitize
from reports.inputs.metrics import MetricFormat
from reports.statistics.answers import Answers
from reports.statistics.paired import RunScores, figure
from reports.statistics.ranks import PairwiseTests
from reports.tables import columns
from reports.tables.columns import Column
from reports.tables.table import Cell, missing

Test = Callable[[Sequence[RunScores]], PairwiseTests]


def without_answer(group: Sequence[RunRecord], answers: Mapping[str, Answers]) -> dict[str, str]:
    """Run id -> how many questions have no answer, by why: "3 failed, 10 missing"; empty where all
    have one.

    Args:
        group: runs that stand together: a question that another one was asked may be missing.
        answers: by run id.
    """
    asked = {
        name: set(known.asked)
        for run in group
        if (known := answers.get(name := runs.run_id(run))) and known.is_whole
    }
    every = set().union(*asked.values())
    found = {}
    for run in group:
        name, counts = runs.run_id(run), run.counts
        lacking = len(every) - len(asked[name]) if name in asked else 0
        left = (sanitize.whole(counts.available) or 0) - (sanitize.whole(counts.done) or 0)
        numbers = (
            (sanitize.whole(counts.failed), "failed"),
            (sanitize.whole(counts.cut), "cut"),
            (sanitize.whole(counts.unparsed), "unparsed"),
            (max(lacking, left), "missing"),
        )
        found[name] = ", ".join(f"{n:,} {what}" for n, what in numbers if n and n > 0)
    return found


def tests_of_parsed(
    known: Sequence[Answers], tests: PairwiseTests | None, test: Test
) -> PairwiseTests | None:
    """The tests over parsed answers alone, where they give a run another rank than `tests` do;
    None: the ranks are the same."""
    if tests is None or not any(each.unparsed for each in known):
        return None
    found = test([each.parsed for each in known])
    return found if dict(found.ranks) != dict(tests.ranks) else None


def parsed_columns(
    answers: Mapping[str, Answers],
    groups: Sequence[tuple[PairwiseTests | None, MetricFormat | None]],
) -> list[Column]:
    """The score and the rank over parsed answers alone.

    Args:
        answers: by run id.
        groups: the tests of each group of runs over parsed answers, and what they compare; None:
            its ranks are the same over all answers.
    """
    found = [(tests, metric) for tests, metric in groups if tests and metric]
    ranks = {name: rank for tests, _ in found for name, rank in tests.ranks.items()}
    if not ranks:
        return []
    metric = found[0][1]

    def score(run: RunRecord) -> Cell:
        known = answers.get(runs.run_id(run))
        if known is None or runs.run_id(run) not in ranks or not known.parsed.scores:
            return missing("the ranks of these runs are the same over parsed answers")
        keys = list(known.parsed.scores)
        value = figure(known.parsed, keys)
        if metric.is_share:
            return columns.share_cell(round(value * len(keys)), len(keys))
        return Cell(text=metric.number(value), value=value * metric.scale, n=len(keys))

    words = "over the answers that a rule can parse; shown because it changes a rank"
    shown = columns.metric(metric, f"{metric.title}, parsed", words)
    ranked = columns.ranked(ranks, f"{metric.in_words} over parsed answers")
    return [
        columns.renamed(shown, f"{metric.name}-parsed", fill=score),
        columns.renamed(ranked, "rank-parsed", title="Rank, parsed"),
    ]
