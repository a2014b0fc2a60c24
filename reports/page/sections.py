"""What the page shows of one task: tables, pairs, drawings and heat maps, measured and reported.

Runs that share enough questions stand together, and are compared on those that each two share;
runs with a label of their own, "mini (synthetic)", never stand with others.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType

from harness.core.files.paths import safe_name
from harness.run.records import RunRecord
from reports.charts import tradeoff
from reports.charts.intervals import IntervalPlot, interval_plot
from reports.charts.tradeoff import Chart
from reports.inputs import runs, sanitize
from reports.inputs.metrics import MetricFormat
from reports.inputs.paper import Paper, PaperTable, load
from reports.statistics.answers import Answers
from reports.statistics.comparable import rivals
from reports.statistics.paired import RunScores
from reports.statistics.ranks import Pair, PairwiseTests, Rank, pairwise_tests
from reports.tables import extractors, heatmap, pairs, paper_rows, results
from reports.tables.answered import parsed_columns, tests_of_parsed, without_answer
from reports.tables.heatmap import HeatMap
from reports.tables.models_by_tasks import TaskRuns, models_by_tasks
from reports.tables.paper_order import PaperOrder, paper_order
from reports.tables.run_sets import RunSet, run_sets
from reports.tables.table import Table, labelled

MINI = "-mini"
"""How the tasks end that stand in for those of the paper."""


@dataclass(frozen=True, slots=True)
class Rival:
    """A run of another group that is significantly better than the best one of a group, on the
    questions that they share."""

    title: str
    pair: Pair
    """The rival against the best one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunGroup:
    """Runs that share enough questions, with their comparisons."""

    id: str
    title: str
    """Which questions, in words, and the label of its runs."""
    apart: str
    """Why these runs are not ranked with those of the group before; empty: asked other
    questions."""
    runs: tuple[RunRecord, ...]
    """Best first."""
    metric: MetricFormat | None
    """What they are tested by; None: they are not."""
    tests: PairwiseTests | None
    """None: fewer than two have predictions."""
    rivals: tuple[Rival, ...]
    """Runs of other groups that are significantly better than the first one of this group."""
    parsed: PairwiseTests | None
    """Over parsed answers alone; None: their ranks are those of `tests`."""
    without_answer: Mapping[str, str]
    """Run id -> how many questions have no answer, by why."""
    sampled: int | None
    """Answers of each run that were compared, where that is not all of them."""
    matrix: Table | None
    plot: IntervalPlot | None
    """Of many runs: their scores, and the groups that tests cannot separate."""
    heat: Table | None
    """Of many runs: the matrix as a heat map."""
    pairs: Table | None
    charts: tuple[Chart, ...]
    heatmaps: tuple[HeatMap, ...]

    @property
    def tables(self) -> tuple[Table, ...]:
        found = (self.matrix, self.pairs, *(each.table for each in self.heatmaps))
        return tuple(table for table in found if table is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSection:
    """What the page shows of one task; None and empty where there is nothing."""

    id: str
    title: str
    name: str
    label: str
    """"mini (synthetic)", where all its runs are."""
    runs: tuple[RunRecord, ...]
    """In the order of their groups."""
    scores: Table | None
    not_measured: tuple[str, ...]
    """Models of the paper's table without a run."""
    order: PaperOrder | None
    """Of minis: the paper's order and theirs."""
    costs: Table | None
    run_groups: tuple[RunGroup, ...]
    extractors: Table | None
    topics: Table | None
    difference: Table | None
    reported: Table | None
    printed_charts: tuple[Chart, ...]
    printed_heatmaps: tuple[HeatMap, ...]
    paper: PaperTable | None
    borrowed: bool
    """The paper's table is of the task that this one stands in for: not the same questions, and
    shown with that task alone."""
    key: tuple[tuple[str, str], ...]
    """What the headings stand for: (heading, in words)."""
    costs_key: tuple[tuple[str, str], ...]
    """The same of the table of costs."""
    signatures: tuple[tuple[str, str], ...]
    """How figures are computed: (metric, signature)."""
    timing: tuple[str, ...]
    """What "inference time" means in these runs."""

    @property
    def tested(self) -> bool:
        """Whether some of its runs are tested against each other."""
        return any(each.tests for each in self.run_groups)

    @property
    def has_topics(self) -> bool:
        return self.topics is not None or any(each.heatmaps for each in self.run_groups)

    @property
    def paper_name(self) -> str:
        """The beginning of the ids of the paper's table, whether it is its own or borrowed."""
        task = self.name.removesuffix(MINI) if self.borrowed else self.name
        return f"task-{safe_name(sanitize.text(task))}"

    @property
    def tables(self) -> tuple[Table, ...]:
        """Its tables, in the order of the page."""
        return tuple(
            table
            for table in (
                self.scores,
                self.costs,
                *(table for each in self.run_groups for table in each.tables),
                self.extractors,
                self.topics,
                self.difference,
                self.reported,
                *(each.table for each in self.printed_heatmaps),
            )
            if table is not None
        )


def sections(
    records: Sequence[RunRecord], answers: Mapping[str, Answers] = MappingProxyType({})
) -> list[TaskSection]:
    """What the page shows, task by task: those with runs first, those of the paper before others.
    The same records in another order give the same.

    Args:
        records: the measured rows.
        answers: by run id, as far as they are known: without them there are no ranks, no pairs
            and no other extractors.
    """
    paper, ordered = load(), sorted(records, key=order)
    return [_section(task, ordered, answers, paper=paper) for task in _tasks(ordered, paper)]


def overview(found: Sequence[TaskSection]) -> Table | None:
    """Models by tasks, over all sections."""
    return models_by_tasks(
        [
            TaskRuns(
                title=each.title,
                section=each.id,
                runs=each.runs,
                tested=[group.tests.ranks for group in each.run_groups if group.tests],
                is_ordered=any(g.tests and not g.tests.is_same for g in each.run_groups),
            )
            for each in found
        ]
    )


def tested(found: Sequence[TaskSection], first: str, second: str) -> Pair | None:
    """The test of two runs, the second against the first, among those of all pairs."""
    return _tested([group for section in found for group in section.run_groups], first, second)


def _tested(groups: Sequence[RunGroup], first: str, second: str) -> Pair | None:
    known = (group.tests for group in groups if group.tests)
    return next((pair for tests in known if (pair := tests.pair(first, second))), None)


def order(run: RunRecord) -> tuple[str, str, str, str]:
    """An order that does not depend on where the records were found."""
    whole = json.dumps(run.to_json(), sort_keys=True, default=str)
    return str(run.task.name), str(run.model.name), str(run.task.split), whole


def _tasks(records: Sequence[RunRecord], paper: Paper) -> list[str]:
    known = [table.task for table in paper.tables]
    measured = {str(run.task.name) for run in records}
    return sorted([*known, *sorted(measured - set(known))], key=lambda task: task not in measured)


def _section(
    task: str, records: Sequence[RunRecord], answers: Mapping[str, Answers], *, paper: Paper
) -> TaskSection:
    ours = [run for run in records if str(run.task.name) == task]
    table, borrowed = _paper_table(task, paper)
    name = safe_name(sanitize.text(task))
    run_groups = _checked(
        [
            _run_group(
                f"{name}-{number}",
                each,
                answers,
                table=None if borrowed else table,
                by_topic=table is None or bool(table.topics),
            )
            for number, each in enumerate(run_sets(ours, answers), start=1)
        ],
        answers,
    )
    scores = _scores(ours, table, run_groups, answers)
    costs = results.costs([_as_set(each) for each in run_groups])
    own_table = None if borrowed else table
    printed = paper_rows.as_printed(own_table) if own_table else None
    labels = {runs.label(run) for run in ours}
    label = labels.pop() if len(labels) == 1 else ""

    def named(it: Table | None) -> Table | None:
        return labelled(it, label) if it else None

    ordered = [run for each in run_groups for run in each.runs]
    return TaskSection(
        id=f"task:{name}",
        title=_title(task, ours, own_table),
        name=task,
        label=label,
        runs=tuple(ordered),
        scores=named(scores),
        not_measured=tuple(results.not_run(ours, table, mini=borrowed) if ours and table else ()),
        order=paper_order(ours, table, separable=partial(_separable, run_groups))
        if table and borrowed
        else None,
        costs=named(costs),
        run_groups=run_groups,
        extractors=named(extractors.extractor_table(ordered, answers, name=f"{name}-extractors")),
        topics=named(results.every_topic(ours, table)),
        difference=paper_rows.differences(ordered, own_table) if own_table else None,
        reported=printed,
        printed_charts=tuple(
            tradeoff.paper_charts(own_table, name=f"{name}-printed") if own_table else ()
        ),
        printed_heatmaps=tuple(
            heatmap.paper_heatmaps(own_table, name=f"{name}-printed") if own_table else ()
        ),
        paper=table,
        borrowed=borrowed,
        key=_key(scores or printed),
        costs_key=_key(costs),
        signatures=_signatures(ours),
        timing=tuple(sorted({text for run in ours if (text := _definition(run))})),
    )


def _separable(groups: Sequence[RunGroup], first: str, second: str) -> bool:
    """Whether tests put one of two runs before the other."""
    pair = _tested(groups, first, second)
    return pair is not None and pair.certain


def _paper_table(task: str, paper: Paper) -> tuple[PaperTable | None, bool]:
    """The paper's table of a task, and whether it is that of the task that this one stands in
    for."""
    if found := paper.table(task):
        return found, False
    original = paper.table(task.removesuffix(MINI)) if task.endswith(MINI) else None
    return (replace(original, task=task) if original else None), original is not None


def _scores(
    records: Sequence[RunRecord],
    paper: PaperTable | None,
    run_groups: Sequence[RunGroup],
    answers: Mapping[str, Answers],
) -> Table | None:
    if not records:
        return None
    ranks: dict[str, Rank] = {}
    ranked_by: dict[str, None] = {}
    for each in run_groups:
        if each.tests and each.metric:
            ranks |= each.tests.ranks
            ranked_by[each.metric.in_words] = None
    return results.scores(
        records,
        paper,
        ranks,
        ranked_by=" or ".join(ranked_by),
        sets=[_as_set(each) for each in run_groups],
        parsed=parsed_columns(answers, [(e.parsed, e.metric) for e in run_groups]),
    )


def _as_set(group: RunGroup) -> RunSet:
    """The runs of a group as tables take them."""
    ordered = group.tests is not None and not group.tests.is_same
    return RunSet(
        runs=group.runs,
        apart=group.apart,
        is_ordered=ordered,
        without_answer=group.without_answer,
    )


def _run_group(
    name: str,
    found: RunSet,
    answers: Mapping[str, Answers],
    *,
    table: PaperTable | None,
    by_topic: bool,
) -> RunGroup:
    """The comparisons of some runs.

    Args:
        name: the beginning of their ids.
        found: the runs.
        answers: by run id.
        table: the paper's, of these questions.
        by_topic: whether there are heat maps: a task of the paper has them if its table has topics.
    """
    ordered = results.best_first(found.runs)
    known = _scored_alike(ordered, answers)
    metric = known[0].metric if known[1:] else None
    tests = _tests([each.scored for each in known], metric) if metric else None
    if tests and not tests.is_same:
        ordered = _by_tests(ordered, tests)
    among = [run for run in ordered if tests and runs.run_id(run) in tests.ranks]
    label = runs.label(ordered[0])
    matrix = pairs.matrix(among, tests, metric, name=f"{name}-matrix") if tests and metric else None
    return RunGroup(
        id=name,
        title=found.title,
        apart=found.apart,
        runs=tuple(ordered),
        metric=metric,
        tests=tests,
        rivals=(),
        parsed=tests_of_parsed(known, tests, partial(_tests, metric=metric)) if metric else None,
        without_answer=without_answer(ordered, answers),
        sampled=_sampled(known) if tests else None,
        matrix=labelled(matrix, label) if matrix else None,
        plot=interval_plot(among, tests, metric, name=f"{name}-intervals")
        if tests and metric and not matrix
        else None,
        heat=pairs.heat_map(among, tests, metric, name=f"{name}-heat")
        if tests and metric
        else None,
        pairs=labelled(pairs.every_pair(among, tests, metric, name=f"{name}-pairs"), label)
        if tests and metric
        else None,
        charts=tuple(tradeoff.run_charts(ordered, tests, name=f"{name}-cost")),
        heatmaps=tuple(
            replace(each, table=labelled(each.table, label))
            for each in (
                heatmap.run_heatmaps(ordered, table, answers, name=f"{name}-topics")
                if by_topic
                else ()
            )
        ),
    )


def _scored_alike(group: Sequence[RunRecord], answers: Mapping[str, Answers]) -> list[Answers]:
    """The answers of those runs that are scored by the metric of the first one."""
    known = [each for run in group if (each := answers.get(runs.run_id(run)))]
    return [each for each in known if each.metric.is_same(known[0].metric)]


def _sampled(known: Sequence[Answers]) -> int | None:
    """How many answers of each run are compared; None: all of them."""
    sizes = [len(each.scored.scores) for each in known]
    whole = all(size == each.answered for size, each in zip(sizes, known, strict=True))
    return None if whole else max(sizes)


def _by_tests(ordered: Sequence[RunRecord], tests: PairwiseTests) -> list[RunRecord]:
    """The runs that are tested in the order of their tests, then those that are not."""
    place = {name: number for number, name in enumerate(tests.order)}
    return sorted(ordered, key=lambda run: place.get(runs.run_id(run), len(place)))


def _checked(groups: Sequence[RunGroup], answers: Mapping[str, Answers]) -> tuple[RunGroup, ...]:
    """The groups with the runs of other groups that are better than their best: then its rank is
    not certain."""
    found = []
    for group in groups:
        leader = group.tests.order[0] if group.tests else runs.run_id(group.runs[0])
        others = {
            runs.run_id(run): run
            for other in groups
            if other is not group and runs.label(other.runs[0]) == runs.label(group.runs[0])
            for run in other.runs
        }
        if others and leader in answers:
            group = replace(group, rivals=_rivals(answers[leader], others, answers))  # noqa: PLW2901
        if group.tests and group.rivals and group.tests.ranks[leader] == Rank(1, 1):
            ranks = {**group.tests.ranks, leader: Rank(1, 1 + len(group.rivals))}
            group = replace(group, tests=replace(group.tests, ranks=ranks))  # noqa: PLW2901
        found.append(group)
    return tuple(found)


def _rivals(
    leader: Answers, others: Mapping[str, RunRecord], answers: Mapping[str, Answers]
) -> tuple[Rival, ...]:
    """Those of some runs that are better than `leader` on the questions that they share with it."""
    known = [found for name in others if (found := answers.get(name))]
    scored = [found.scored for found in known if found.metric.is_same(leader.metric)]
    better = rivals(leader.scored, scored, higher_is_better=leader.metric.higher_is_better)
    return tuple(Rival(runs.title(others[pair.second]), pair) for pair in better)


def _tests(scored: Sequence[RunScores], metric: MetricFormat) -> PairwiseTests:
    binary = all(run.test == "mcnemar" for run in scored)
    return pairwise_tests(
        scored,
        test="mcnemar" if binary else "bootstrap",
        higher_is_better=metric.higher_is_better,
    )


def _key(shown: Table | None) -> tuple[tuple[str, str], ...]:
    """What the headings of a table stand for, each once."""
    return tuple(
        dict.fromkeys(
            (f"{heading.title} {heading.unit}".removesuffix("%").strip(), heading.meaning)
            for heading in (shown.headings if shown else ())
            if heading.meaning and not heading.is_detail
        )
    )


def _title(task: str, records: Sequence[RunRecord], table: PaperTable | None) -> str:
    return table.title if table else sanitize.text(records[0].task.title or task, limit=80)


def _definition(run: RunRecord) -> str:
    """The definition of inference minutes in the record."""
    said = sanitize.mapping(run.timing).get("inference_minutes_definition")
    return sanitize.text(said, limit=600).rstrip(".")


def _signatures(records: Sequence[RunRecord]) -> tuple[tuple[str, str], ...]:
    """The notes of the figures that were computed, each once; a topic's are its metric's."""
    found = {
        (sanitize.text(metric, limit=60), value.note)
        for run in records
        for metric in run.metrics
        if "/" not in metric
        and (value := runs.figure(run, metric)).value is not None
        and value.note
    }
    return tuple(sorted(found))
