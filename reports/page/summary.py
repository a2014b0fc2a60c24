"""The summary of the page: five questions and their answers, in sentences.

Every number here stands in a table below as well; where something was not measured, the answer is
the paper's, as its lead says. The page opens with the answers in short; what they rest on stands
with the tables.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from harness.run.records import RunRecord
from reports.distillation.panel import Panel
from reports.inputs import runs
from reports.inputs.metrics import MetricFormat, decisive
from reports.inputs.paper import Paper
from reports.numbers import counted, duration, fixed
from reports.page import printed
from reports.page.sections import Rival, RunGroup, TaskSection
from reports.page.statements import IN_SHORT, Question, Statement
from reports.statistics.ranks import Rank


def summary(
    sections: Sequence[TaskSection], panels: Sequence[Panel], paper: Paper
) -> list[Question]:
    """The questions that the page answers in ten seconds."""
    asked = (
        (
            "Best",
            "Which model is best, and is the difference significant?",
            [*_best(sections), *printed.best(paper)],
        ),
        (
            "Distillation",
            "What did distillation gain, and what did it lose?",
            [*_gained(panels), *printed.gained(paper)],
        ),
        (
            "Teacher",
            "What did the teacher get right that the student did not?",
            [*_teacher_lead(panels), *printed.teacher_lead(paper)],
        ),
        ("Speed", "How long does a question take?", [*_pace(sections), *printed.pace(paper)]),
        (
            "The paper",
            "Which numbers of the paper cannot be right?",
            [*printed.wrong(paper), *_wrong(sections)],
        ),
    )
    return [
        Question(lead=lead, text=text, answer=tuple(answer))
        for lead, text, answer in asked
        if answer
    ]


def evidence(asked: Sequence[Question], section: TaskSection) -> list[Statement]:
    """What the answers about a section rest on."""
    return [part for each in asked for part in each.answer if part.section == section.id]


# Which model is best


def _best(sections: Sequence[TaskSection]) -> Iterable[Statement]:
    ranked = [_first(section) for section in sections if section.run_groups]
    if len(ranked) > IN_SHORT:
        yield _certain_bests(ranked)
    for section in sections:
        reasons = [_capital(each.apart) for each in section.run_groups if each.apart]
        if section.run_groups and (found := _best_of(_first(section), has_apart=bool(reasons))):
            verdict, text = found
            apart = reasons[:IN_SHORT]
            if rest := len(reasons) - len(apart):
                apart.append(f"Ranked apart too: {counted(rest, 'more set')} of runs")
            yield Statement(
                lead=section.title,
                verdict=verdict,
                text=" ".join([text, *(f"{reason}." for reason in apart)]),
                link=f"#{section.id}",
                section=section.id,
                compare=_decided_by(_first(section)),
            )


def _first(section: TaskSection) -> RunGroup:
    """The group of most runs; of several, one whose first run no other run is better than."""
    first = section.run_groups[0]
    most = (each for each in section.run_groups if len(each.runs) == len(first.runs))
    return next((each for each in most if not each.rivals), first)


def _certain_bests(groups: Sequence[RunGroup]) -> Statement:
    """In how many tasks one model is certainly the best, and which."""
    found = Counter(
        runs.title(group.runs[0])
        for group in groups
        if group.tests and group.tests.ranks.get(runs.run_id(group.runs[0])) == Rank(1, 1)
    )
    shown = [
        f"{title} ({counted(number, 'task')})" for title, number in found.most_common(IN_SHORT)
    ]
    if len(found) > len(shown):
        shown.append(f"{len(found) - len(shown)} more")
    return Statement(
        lead=counted(len(groups), "task"),
        verdict=f"A certain best in {found.total():,}: {', '.join(shown)}."
        if found
        else "No task has a certain best.",
        text="The first model of a task is certain where paired tests put it before every other.",
        link="#models",
        is_total=True,
    )


def _best_of(group: RunGroup, *, has_apart: bool) -> tuple[str, str] | None:
    """Of one group of runs: (verdict, what it rests on).

    Args:
        has_apart: there are runs that share questions with it, though too few.
    """
    metric = decisive(group.runs)
    scored = [
        run for run in group.runs if metric and runs.figure(run, metric.name).value is not None
    ]
    if metric is None or not scored:
        return None
    best = scored[0]
    found, chance = runs.figure(best, metric.name), runs.chance(best)
    verdict = f"{runs.title(best)}, {metric.in_words} {metric.figure(found.value or 0.0)}"
    basis = []
    if found.low is not None and found.high is not None:
        digits = metric.interval_digits
        ends = " to ".join(fixed(end * metric.scale, digits) for end in (found.low, found.high))
        basis.append(f"95% interval {ends}, n {found.n:,}")
    if metric.is_share and chance is not None:
        basis.append(f"chance {fixed(chance * 100, 1)}%")
    if len(scored) == 1:
        rank, why = _alone(group, metric, has_apart=has_apart)
    else:
        rank, why = _significance(group, scored)
    texts = [*why, *([_capital("; ".join(basis))] if basis else ())]
    return f"{verdict} ({rank}).", " ".join(f"{text}." for text in texts)


def _decided_by(group: RunGroup) -> str:
    """Where the first two of a group are compared; empty where they are not."""
    first, second = [*map(runs.run_id, group.runs), "", ""][:2]
    pair = group.tests.pair(first, second) if group.tests else None
    return runs.compare_link(first, second) if pair and pair.difference else ""


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _alone(group: RunGroup, metric: MetricFormat, *, has_apart: bool) -> tuple[str, list[str]]:
    """(what stands in place of a rank, why) of a run that is ranked with no other one."""
    if group.rivals:
        return "ranked with no other run", [_against_rival(group.rivals[0], group, metric)]
    if has_apart:
        return "ranked with no other run", ["No other run shares enough of its questions"]
    return "the only run on these questions", ["No other run to compare with"]


def _significance(group: RunGroup, scored: Sequence[RunRecord]) -> tuple[str, list[str]]:
    """(the rank of the best run, what it rests on)."""
    best, second = (runs.run_id(run) for run in scored[:2])
    tests, metric = group.tests, group.metric
    rank = tests.ranks.get(best) if tests else None
    pair = tests.pair(second, best) if tests else None
    if tests is None or metric is None or rank is None or pair is None or pair.difference is None:
        return "not tested", ["Predictions are missing, so there is no paired test"]
    titles = runs.title(scored[1]), runs.title(scored[0])
    found = pair.verdict(metric, *titles, noun=metric.counts)
    why = [f"Against {titles[0]}, the second: {found.text}"]
    if rank == Rank(1, 1):
        others = len(tests.ranks) - 1
        if others > 1:
            why.append(
                f"Significantly better than each of the {others} other runs{_on(group, best)}"
            )
        more = [*_own_figures(group, scored), *_of_parsed(group, best)]
        return f"rank 1{_among(group, best)}", [*why, *more]
    why += [_against_rival(rival, group, metric) for rival in group.rivals[:1]]
    places = f"ranks {rank.best}\N{EN DASH}{rank.worst}"
    name = f"{places}{_among(group, best)}: not separable"
    return name, [*why, *_own_figures(group, scored), *_of_parsed(group, best)]


def _of_parsed(group: RunGroup, best: str) -> list[str]:
    """The rank of the best run over parsed answers alone, where it is another one."""
    if group.parsed is None or group.tests is None:
        return []
    rank = group.parsed.ranks[best]
    if rank == group.tests.ranks[best]:
        return []
    first = group.parsed.order[0]
    run = next(run for run in group.runs if runs.run_id(run) == first)
    place = f"rank {rank.best}" if rank.certain else f"ranks {rank.best}\N{EN DASH}{rank.worst}"
    return [f"Over parsed answers alone it has {place}, and {runs.title(run)} is first"]


def _among(group: RunGroup, leader: str) -> str:
    """Of how many runs a rank is, and on which questions, where each pair may share others."""
    number = _shared(group, leader)
    if group.tests is None or group.metric is None or not number:
        return ""
    return f" of {len(group.tests.ranks)} runs, on {number} shared {group.metric.counts}s"


def _on(group: RunGroup, leader: str) -> str:
    """On which questions a run is compared with the others, where each pair may share others."""
    number = _shared(group, leader)
    if group.metric is None or not number:
        return ""
    return f", on the {number} {group.metric.counts}s that it shares with each"


def _shared(group: RunGroup, leader: str) -> str:
    """How many questions a run shares with each of the others; empty where all are the same."""
    tests = group.tests
    if tests is None or tests.is_same:
        return ""
    counts = [pair.n for pair in tests.pairs if leader in (pair.first, pair.second)]
    few, many = min(counts), max(counts)
    return f"{many:,}" if few == many else f"{few:,} to {many:,}"


def _against_rival(rival: Rival, group: RunGroup, metric: MetricFormat) -> str:
    """That a run which is ranked apart is better than the best one here."""
    leader = runs.title(group.runs[0])
    found = rival.pair.verdict(metric, leader, rival.title, noun=metric.counts)
    return f"{rival.title}, ranked apart, against {leader}: {found.text}"


def _own_figures(group: RunGroup, scored: Sequence[RunRecord]) -> list[str]:
    """Why a run stands before another whose own figure, of other questions, is better."""
    metric = group.metric
    if metric is None or group.tests is None or group.tests.is_same:
        return []
    own = {id(run): (runs.figure(run, metric.name).value or 0.0) * metric.sign for run in scored}
    top = max(scored, key=lambda run: own[id(run)])
    if own[id(top)] <= own[id(scored[0])]:
        return []
    pair = group.tests.pair(runs.run_id(top), runs.run_id(scored[0]))
    if pair is None or pair.difference is None:
        return []
    figure = runs.figure(top, metric.name)
    found = pair.verdict(metric, runs.title(top), runs.title(scored[0]), noun=metric.counts)
    own_figure = f"{metric.figure(figure.value or 0.0)} on {figure.n:,} {metric.counts}s of its own"
    against = f"against it {runs.title(scored[0])} has {found.size} on {found.questions}"
    return [f"{runs.title(top)} has {own_figure}; {against}"]


# What distillation did


def _gained(panels: Sequence[Panel]) -> Iterable[Statement]:
    for panel in panels:
        if panel.headline:
            first, *rest = panel.headline
            conclusion = rest[0].rpartition(": ")[2].rstrip(".") if rest else "not tested"
            yield Statement(
                lead=panel.title,
                verdict=f"{first.rstrip('.')}: {conclusion}.",
                text=" ".join(rest),
                link=f"#{panel.id}",
            )


def _teacher_lead(panels: Sequence[Panel]) -> Iterable[Statement]:
    for panel in panels:
        if panel.teacher_lead is not None:
            yield Statement(
                lead=panel.title,
                verdict=f"The teacher alone is right in {panel.teacher_lead.verdict}"
                if panel.is_right_or_wrong
                else f"The teacher scores better in {panel.teacher_lead.verdict}",
                text=panel.teacher_lead.words,
                link=f"#{panel.id}-teacher-lead",
            )


# How long a question takes


def _pace(sections: Sequence[TaskSection]) -> Iterable[Statement]:
    for section in sections:
        timed = [
            (seconds, run)
            for each in section.run_groups[:1]
            for run in each.runs
            if (seconds := runs.own_pace(run, "seconds_per_sample", "p50"))
        ]
        if not timed:
            continue
        fast = min(timed, key=lambda pair: pair[0])
        slow = max(timed, key=lambda pair: pair[0])
        best = next(pair for run in section.run_groups[0].runs for pair in timed if pair[1] is run)
        slowest = f"Slowest: {_timed(slow)}. " if slow[1] not in (fast[1], best[1]) else ""
        link = f"#{section.costs.id}" if section.costs else ""
        yield Statement(
            lead=section.title,
            verdict=_fastest(best, fast, section.run_groups[0]),
            text=f"{slowest}Medians, each on the machine in its provenance.",
            link=link,
            section=section.id,
        )


def _fastest(best: tuple[float, RunRecord], fast: tuple[float, RunRecord], group: RunGroup) -> str:
    """The best of the timed runs by score, and the fastest one."""
    metric = decisive(group.runs)
    word = "Most accurate" if metric and metric.is_share else "Best"
    timed = "" if best[1] is group.runs[0] else " of the timed runs"
    if fast[1] is best[1]:
        return f"{word} and fastest{timed}: {_timed(best)}."
    return f"{word}{timed}: {_timed(best)}. Fastest: {_timed(fast)}."


def _timed(pair: tuple[float, RunRecord]) -> str:
    return f"{runs.title(pair[1])} ({duration(pair[0])} per question)"


# Which numbers cannot be right


def _wrong(sections: Sequence[TaskSection]) -> Iterable[Statement]:
    for section in sections:
        if section.scores:
            notes = [n for n in section.scores.notes if n.finding.kind == "impossible"]
            if notes:
                yield Statement(
                    lead=f"Measured here, {section.title}",
                    verdict=f"{'; '.join(n.where for n in notes[:5])}.",
                    text="The same checks run on our rows: something went wrong in these runs.",
                    link=f"#{section.scores.id}",
                    section=section.id,
                )
