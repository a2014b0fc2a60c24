"""Read the fields of a run record, as words and numbers of the page.

A record may come from anywhere and may hold anything: this module alone takes it apart, and gives
strings that can be printed and numbers that are numbers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction

from harness.core.files.paths import safe_name
from harness.core.types import Value
from harness.run.records import RunRecord
from reports.inputs import sanitize
from reports.inputs.metrics import GUESSING, format_of
from reports.statistics.sanity import Figure, Finding


def run_id(run: RunRecord) -> str:
    """The id of a run on the page: its place in the folder of runs, which it has for itself."""
    return ":".join(("run", task_id(run), _part(run.model.name), _part(run.task.split)))


def compare_link(first: str, second: str) -> str:
    """The fragment that leads to two runs side by side, by their ids. Without a script it is the
    row of the table of pairs that has this id; with one, the questions on which they disagree."""
    return f"#{compare_id(first, second)}"


def compare_id(first: str, second: str) -> str:
    """The id of the row that compares two runs; the same whichever is named first."""
    return f"compare={','.join(sorted((first, second)))}"


def task_id(run: RunRecord) -> str:
    """The task's name as part of an id."""
    return _part(run.task.name)


def _part(label: object) -> str:
    return safe_name(sanitize.text(label))


def title(run: RunRecord) -> str:
    """The model as tables name it; a mini is named one, whatever the record calls it."""
    found = sanitize.text(run.model.title or run.model.name, limit=80)
    is_mini = getattr(run.model, "mini", False) is True
    return f"{found}-mini" if is_mini and not found.endswith("-mini") else found


def size(run: RunRecord) -> str:
    """The size as people write it, "2B", or the parameters counted; empty: neither is known."""
    parameters = sanitize.whole(run.model.parameters)
    if run.model.size or not parameters:
        return sanitize.text(run.model.size, limit=20)
    for unit, letter in ((10**9, "B"), (10**6, "M"), (10**3, "K")):
        if parameters >= unit:
            return f"{parameters / unit:.1f}{letter}"
    return str(parameters)


def role(run: RunRecord) -> str:
    """teacher, student, distilled or baseline, unless the record says something else."""
    return sanitize.text(run.model.role, limit=20)


def label(run: RunRecord) -> str:
    """The label of a row, wherever it stands, "mini (synthetic)"; empty: nothing."""
    return sanitize.text(getattr(run, "label", ""), limit=40)


def origin(run: RunRecord) -> str:
    """How a measured row came about: "measured", "partial: 12 of 100, 3 failed"."""
    counts = run.counts
    done, available, failed = (
        sanitize.whole(count) or 0 for count in (counts.done, counts.available, counts.failed)
    )
    parts = [f"partial: {done:,} of {available:,}" if done < available else "measured"]
    if label(run):
        parts.insert(0, label(run))
    if failed:
        parts.append(f"{failed:,} failed")
    if run.status in ("running", "interrupted"):
        parts.append(run.status)
    return ", ".join(parts)


def questions(run: RunRecord) -> str:
    """What n counts: "2,017 of 4,241, image questions"."""
    available, total = sanitize.whole(run.counts.available), sanitize.whole(run.counts.total)
    unit = sanitize.text(run.task.unit, limit=60) or "questions"
    if available is None or total is None:
        return unit
    if available == total:
        return f"{total:,} {unit}"
    return f"{available:,} of {total:,}, {unit}"


def left_out(run: RunRecord) -> str:
    """What the n leaves out and why: "2,224 left out: no image"; empty where nothing was."""
    return "; ".join(
        f"{count:,} left out: {sanitize.text(reason, limit=80)}"
        for reason, found in sanitize.mapping(run.counts.filtered).items()
        if (count := sanitize.whole(found))
    )


def asked(run: RunRecord) -> str:
    """Which questions a run was asked: split, source, how many, what was left out."""
    task = run.task
    parts = (
        label(run),
        f"{sanitize.text(task.split, limit=60)} split",
        sanitize.text(task.source, limit=120),
        questions(run),
        left_out(run),
    )
    return " · ".join(part for part in parts if part)


def asked_together(group: Sequence[RunRecord]) -> str:
    """Which questions several runs were asked: as `asked`, with what differs between them."""
    found = list(dict.fromkeys(map(asked, group)))
    if len(found) == 1:
        return found[0]
    splits = dict.fromkeys(sanitize.text(run.task.split, limit=60) for run in group)
    sources = dict.fromkeys(sanitize.text(run.task.source, limit=120) for run in group)
    counts = [sanitize.whole(run.counts.available) or 0 for run in group]
    units = dict.fromkeys(sanitize.text(run.task.unit, limit=60) or "questions" for run in group)
    few, many = min(counts), max(counts)
    number = f"{many:,}" if few == many else f"{few:,} to {many:,}"
    parts = (
        label(group[0]),
        f"{' and '.join(splits)} split{'s' * (len(splits) > 1)}",
        f"{len(sources)} sources" if len(sources) > 2 else " and ".join(sources),
        f"{number} {next(iter(units)) if len(units) == 1 else 'questions'}",
    )
    return " · ".join(part for part in parts if part)


def data(run: RunRecord) -> str:
    """The beginning of the data's fingerprint."""
    found = sanitize.text(sanitize.mapping(run.fingerprint).get("data"))
    return f"data {found[:20]}" if found else "data unknown"


def same_questions(run: RunRecord) -> tuple[str, ...]:
    """A key that is equal for runs that were asked the same questions."""
    task, data = run.task, sanitize.mapping(run.fingerprint).get("data")
    parts = (task.split, task.source, task.revision, data, run.counts.available, run.counts.total)
    return (*(str(part) for part in parts), label(run))


def is_extracted(run: RunRecord) -> bool:
    """Whether our extractor found the answers in raw texts: what another extractor found, or what
    is chosen by likelihood, stays as recorded."""
    settings = sanitize.mapping(run.settings)
    by_likelihood = settings.get("mode") == "loglikelihood" or settings.get("conclude")
    return not by_likelihood and not sanitize.mapping(run.fingerprint).get("extractor")


def figure(run: RunRecord, metric: str) -> Value:
    """A figure of a run, whatever the record holds in its place; where it holds no number, the
    value is None and the note says why."""
    found = run.metrics.get(metric)
    if found is None:
        topical = "/" in metric
        note = "the run has no question of this topic" if topical else "the run has no such metric"
        return Value(value=None, n=0, note=note)
    value = sanitize.number(found.value)
    note = sanitize.text(found.note, limit=600)
    if value is None:
        note = note or "the record has no number here"
    return Value(
        value=value,
        n=sanitize.whole(found.n) or 0,
        low=sanitize.number(found.low),
        high=sanitize.number(found.high),
        note=note,
    )


def figures(run: RunRecord, titles: Mapping[str, str]) -> dict[str, Figure]:
    """The figures of a run as the rules of `sanity` take them; `titles` name the columns."""
    found = {}
    for metric in run.metrics:
        value = figure(run, metric)
        if value.value is None:
            continue
        shown = format_of(run, metric)
        found[metric] = Figure(
            value=Fraction(value.value),
            text=f"{value.value * shown.scale:.{shown.digits}f}{shown.unit}",
            n=value.n or None,
            low=value.low,
            high=value.high,
            name=titles.get(metric, sanitize.text(metric)),
        )
    if available := sanitize.whole(run.counts.available):
        found["split"] = Figure(value=Fraction(available), text=f"{available:,}")
    return found


def timing(run: RunRecord, *keys: str) -> float | None:
    """An entry of the record's timing; None where it is not there, or no number."""
    found: object = run.timing
    for key in keys:
        found = sanitize.mapping(found).get(key)
    return sanitize.number(found)


def is_remote(run: RunRecord) -> bool:
    """Whether a server answered: its times are those of whatever it runs on, and of the network."""
    return sanitize.mapping(run.timing).get("remote") is True


def own_pace(run: RunRecord, *keys: str) -> float | None:
    """An entry of the timing, where it is comparable with other runs; None for a run that a
    server answered."""
    return None if is_remote(run) else timing(run, *keys)


def timing_caveats(run: RunRecord, key: str) -> tuple[Finding, ...]:
    """Why a run's time is not comparable with others."""
    if not is_remote(run):
        return ()
    words = (
        "Wall clock of a remote engine, network and queueing included: not comparable with others."
    )
    return (Finding("doubtful", (key,), words),)


def caveats(value: Value, metric: str) -> tuple[Finding, ...]:
    """Why a figure is not comparable with others: that of a BERTScore by another
    encoder, or of a BLEU by another tokenizer, that it is not comparable, and with what; and how
    many pairs the metric could not judge."""
    if value.value is None:
        return ()
    unjudged = [p for p in value.note.split("; ") if re.match(r"[\d,]+ of [\d,]+ pairs ", p)]
    found = [Finding("remark", (metric,), f"{piece}.") for piece in unjudged]
    if "not comparable" in value.note:
        words = f"Not comparable with other rows: {value.note}."
        found.insert(0, Finding("doubtful", (metric,), words))
    return tuple(found)


def chance(run: RunRecord) -> float | None:
    """What guessing is expected to give, as a fraction; None: nothing is chosen."""
    return figure(run, GUESSING).value


def topics(runs: Iterable[RunRecord], metric: str) -> dict[str, int]:
    """The names of a metric's figures by topic -> the most samples of that topic that any of the
    runs answered, largest first."""
    sizes: dict[str, int] = {}
    for run in runs:
        for name in run.metrics:
            if name.startswith(f"{metric}/"):
                sizes[name] = max(sizes.get(name, 0), figure(run, name).n)
    return dict(sorted(sizes.items(), key=lambda item: (-item[1], item[0])))


def topic(name: str) -> str:
    """The topic in the name of a figure: "biology" of "accuracy/biology"."""
    return sanitize.text(name.partition("/")[2], limit=60) or "no topic"
