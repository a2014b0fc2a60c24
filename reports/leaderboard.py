"""The leaderboard: one self-contained HTML page that opens from disk, without network or server.

The page says what was measured and what the paper reports, never mixed; it is rendered by Jinja
with autoescape, and a content security policy allows its own style and script and nothing else.
The same records give the same bytes.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from hashlib import sha256
from importlib import resources

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from harness.errors import HarnessError
from harness.records import RunRecord, safe_name
from reports import measured, reported, runs, untrusted
from reports.evidence import Material, Pictures, Which
from reports.paper import Paper, PaperTable, load
from reports.payload import payload
from reports.provenance import Provenance, provenance
from reports.sanity import ACCURACY
from reports.tables import KINDS, Table, fixed

STYLES = ("style.css", "samples.css")
SCRIPTS = ("script.js", "answers.js", "paired.js", "samples.js")
"""Each put together as one element, which the page's policy knows by its hash."""


@dataclass(frozen=True, slots=True)
class DataSet:
    """Whom the questions of a task come from."""

    repo: str
    attribution: str


DATA_SETS = {
    "scienceqa": DataSet(
        "derek-thomas/ScienceQA",
        "Questions and pictures of ScienceQA: Lu et al., Learn to Explain: Multimodal Reasoning "
        "via Thought Chains for Science Question Answering, NeurIPS 2022; licence "
        "CC BY-NC-SA 4.0, not for commercial use.",
    ),
    "vqaonline": DataSet(
        "ChongyanChen/VQAonline",
        "Questions and answers of VQAonline: Chen et al., Fully Authentic Visual Question "
        "Answering Dataset from Online Communities, ECCV 2024; licence CC BY-SA 4.0.",
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSection:
    """What the page shows of one task; None and empty where there is nothing."""

    id: str
    title: str
    name: str
    scores: Table | None
    costs: Table | None
    topics: Table | None
    difference: Table | None
    reported: Table | None
    paper: PaperTable | None
    key: tuple[tuple[str, str], ...]
    """What the headings stand for: (heading, in words)."""
    signatures: tuple[tuple[str, str], ...]
    """How figures are computed: (metric, signature)."""
    timing: tuple[str, ...]
    """What "inference time" means in these runs."""

    @property
    def tables(self) -> tuple[Table, ...]:
        """Its tables, in the order of the page."""
        found = (getattr(self, each.name) for each in fields(self))
        return tuple(part for part in found if isinstance(part, Table))


def sections(records: Sequence[RunRecord]) -> list[TaskSection]:
    """What the page shows, task by task: those with runs first, those of the paper before others.
    The same records in another order give the same."""
    paper, ordered = load(), sorted(records, key=_order)
    return [_section(task, ordered, paper) for task in _tasks(ordered, paper)]


def render(
    material: Material,
    *,
    generated: str | None = None,
    samples: Which = "all",
    pictures: Pictures | None = None,
) -> str:
    """The page.

    Args:
        material: what was measured, in any order.
        generated: when the page was made, in words; by default the time in SOURCE_DATE_EPOCH, and
            nothing where that is not set, so that the same records give the same bytes.
        samples: those that can be looked at.
        pictures: where to look for their pictures; None: the page has none.

    Raises:
        HarnessError: SOURCE_DATE_EPOCH is no time.
    """
    paper = load()
    material = replace(material, runs=sorted(material.runs, key=lambda run: _order(run.record)))
    ordered = material.records
    shown = {str(run.task.name) for run in ordered}
    files = resources.files("reports") / "templates"
    style, script = (
        "\n".join((files / name).read_text(encoding="utf-8") for name in names)
        for names in (STYLES, SCRIPTS)
    )
    environment = Environment(
        loader=PackageLoader("reports"),
        autoescape=True,  # the default is False, and select_autoescape() misses .html.j2
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template("leaderboard.html.j2").render(
        policy="; ".join(
            (
                "default-src 'none'",
                f"script-src '{_hash(script)}'",
                f"style-src '{_hash(style)}'",
                "img-src data: blob:",
                "base-uri 'none'",
                "form-action 'none'",
            )
        ),
        style=Markup(style),  # noqa: S704  # our own file, not a record's string
        script=Markup(script),  # noqa: S704  # as above
        paper=paper,
        sections=sections(ordered),
        summary=_summary(ordered, paper),
        measured_runs=len(ordered),
        provenances=[_provenance(run) for run in ordered],
        attributions=[data.attribution for task, data in DATA_SETS.items() if task in shown],
        generated=_source_date() if generated is None else generated,
        kinds=KINDS,
        payload=payload(material, samples=samples, pictures=pictures),
    )


def _hash(text: str) -> str:
    """The source expression by which a content security policy knows an inline element."""
    return "sha256-" + base64.b64encode(sha256(text.encode()).digest()).decode()


def _source_date() -> str:
    """The time in SOURCE_DATE_EPOCH, in UTC; empty where it is not set."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    if not epoch:
        return ""
    try:
        return datetime.fromtimestamp(int(epoch), UTC).strftime("%Y-%m-%d %H:%M UTC")
    except (ValueError, OverflowError, OSError) as error:
        raise HarnessError(
            f"SOURCE_DATE_EPOCH is {epoch!r}, which is no time.",
            remedy="Give it in seconds since 1970, or unset it.",
        ) from error


def _order(run: RunRecord) -> tuple[str, str, str, str]:
    """An order that does not depend on where the records were found."""
    whole = json.dumps(run.to_json(), sort_keys=True, default=str)
    return str(run.task.name), str(run.model.name), str(run.task.split), whole


def _tasks(records: Sequence[RunRecord], paper: Paper) -> list[str]:
    """The tasks of the page: those with runs first, those of the paper before others."""
    known = [table.task for table in paper.tables]
    measured = {str(run.task.name) for run in records}
    return sorted([*known, *sorted(measured - set(known))], key=lambda task: task not in measured)


def _section(task: str, records: Sequence[RunRecord], paper: Paper) -> TaskSection:
    ours = [run for run in records if str(run.task.name) == task]
    table = paper.table(task)
    scores = measured.scores(ours, table) if ours else None
    costs = measured.costs(ours)
    printed = reported.as_printed(table) if table else None
    return TaskSection(
        id=f"task:{safe_name(untrusted.text(task))}",
        title=_title(task, ours, table),
        name=task,
        scores=scores,
        costs=costs,
        topics=measured.every_topic(ours),
        difference=reported.differences(ours, table) if table else None,
        reported=printed,
        paper=table,
        key=_key(*((scores, costs) if scores else (printed,))),
        signatures=_signatures(ours),
        timing=tuple(sorted({text for run in ours if (text := _definition(run))})),
    )


def _key(*shown: Table | None) -> tuple[tuple[str, str], ...]:
    """What the headings of these tables stand for, each once."""
    headings = [heading for table in shown if table for heading in table.headings]
    return tuple(
        dict.fromkeys(
            (f"{heading.title} {heading.unit}".removesuffix("%").strip(), heading.meaning)
            for heading in headings
            if heading.meaning
        )
    )


def _title(task: str, records: Sequence[RunRecord], table: PaperTable | None) -> str:
    return table.title if table else untrusted.text(records[0].task.title or task, limit=80)


def _definition(run: RunRecord) -> str:
    """What the run says of its inference minutes."""
    said = untrusted.mapping(run.timing).get("inference_minutes_definition")
    return untrusted.text(said, limit=600).rstrip(".")


def _signatures(records: Sequence[RunRecord]) -> tuple[tuple[str, str], ...]:
    """The notes of the figures that were computed, each once; a topic's are its metric's."""
    found = {
        (untrusted.text(metric, limit=60), value.note)
        for run in records
        for metric in run.metrics
        if "/" not in metric
        and (value := runs.figure(run, metric)).value is not None
        and value.note
    }
    return tuple(sorted(found))


def _provenance(run: RunRecord) -> Provenance:
    data = DATA_SETS.get(str(run.task.name))
    return provenance(run, dataset=data.repo if data else None)


def _summary(records: Sequence[RunRecord], paper: Paper) -> list[tuple[str, str]]:
    """What a reader in a hurry should take away: (lead, sentence)."""
    said = []
    for task in _tasks(records, paper):
        ours = [run for run in records if str(run.task.name) == task]
        table = paper.table(task)
        for metric, words in ((ACCURACY, "accuracy"), ("rouge1", "ROUGE1")):
            if best := _best(ours, metric, words):
                said.append((f"Measured here, {_title(task, ours, table)}", best))
                break
    return [*said, *((f"In the paper, {t.title}", _paper_summary(t)) for t in paper.tables)]


def _best(records: Sequence[RunRecord], metric: str, words: str) -> str:
    """The best run on the largest set of questions; empty where none has the figure."""
    scored = [run for run in records if runs.figure(run, metric).value is not None]
    if not scored:
        return ""
    peers = measured.same_questions(scored)[0]
    best = max(peers, key=lambda run: runs.figure(run, metric).value or 0.0)
    found, chance = runs.figure(best, metric), runs.figure(best, "chance").value
    scale, unit, digits = (100, "%", 2) if metric == ACCURACY else (1, "", 4)
    text = f"{runs.title(best)} has "
    if len(peers) > 1:
        text += f"the highest {words} of {len(peers)} runs on the same questions, "
    else:
        text += f"{words} "
    text += f"{fixed((found.value or 0.0) * scale, digits)}{unit}"
    if found.low is not None and found.high is not None:
        ends = (fixed(end * scale, digits - 1) for end in (found.low, found.high))
        text += f" (95% interval {' to '.join(ends)}, n {found.n:,})"
    if chance is not None and metric == ACCURACY:
        text += f"; blind guessing would get {fixed(chance * 100, 1)}%"
    return f"{text}."


def _paper_summary(table: PaperTable) -> str:
    """The best row, what distillation gained, and how many figures are in doubt."""
    metric = ACCURACY if table.n is not None else "rouge1"
    heading = next(column.key for column in table.columns if column.metric == metric)
    best = max(table.rows, key=lambda row: float(row.cells[metric]))
    text = f"{best.model} is highest ({heading} {best.cells[metric]}{table.unit})"
    student, distilled = table.row("moondream"), table.row("moondream-kd")
    if student and distilled:
        text += (
            f"; distillation takes {student.model} from {student.cells[metric]} to "
            f"{distilled.cells[metric]}{table.unit}"
        )
    kinds = [finding.kind for row in table.rows for finding in table.findings(row)]
    wrong, doubts = kinds.count("impossible"), kinds.count("doubtful")
    return (
        f"{text}. {_figures(wrong)} cannot be right and {_figures(doubts).lower()} "
        f"{'is' if doubts == 1 else 'are'} doubtful: marked, and explained below the table."
    )


def _figures(count: int) -> str:
    return f"{count} figure{'' if count == 1 else 's'}"
