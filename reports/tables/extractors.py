"""The same outputs parsed by several extractors: ours, the two of the paper's code, lmms-eval's.

The paper's code has one extractor for its base and another for its distilled Moondream; here all
are applied to the same outputs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.extract import EXTRACTORS
from harness.run.records import RunRecord
from reports.inputs import runs
from reports.numbers import fixed
from reports.statistics.answers import Answers, ExtractorResult
from reports.tables.columns import share_cell
from reports.tables.rows import run_row
from reports.tables.table import Cell, Group, Heading, Row, Table, missing, table

MEANINGS = {
    "ours": (
        "Our extractor",
        "conclusion, answer phrases, letters and option texts; never guesses",
    ),
    "paper-base": ("Paper, base model", "the last capital letter anywhere in the text"),
    "paper-kd": ("Paper, distilled model", "a letter, alone, between the CONCLUSION tags"),
    "lmms-eval": ("lmms-eval", "the text is a letter, or begins with one and a full stop"),
}


def extractor_table(
    records: Sequence[RunRecord], answers: Mapping[str, Answers], *, name: str
) -> Table | None:
    """A row for each run and a column for each extractor; None where no run has written choices."""
    shown = [run for run in records if (a := answers.get(runs.run_id(run))) and a.by_extractor]
    if not shown:
        return None
    return table(
        name,
        "The same outputs, other extractors: accuracy in percent, with its 95% interval, and the "
        "share of unparsed answers",
        [
            Heading(
                key=extractor,
                title=MEANINGS.get(extractor, (extractor, ""))[0],
                meaning=MEANINGS.get(extractor, ("", ""))[1],
                implied_unit="%",
            )
            for extractor in EXTRACTORS
        ],
        groups=[Group(rows=tuple(_row(run, answers[runs.run_id(run)]) for run in shown))],
    )


def _row(run: RunRecord, found: Answers) -> Row:
    by_name = {each.extractor: each for each in found.by_extractor}
    return run_row(run, [_cell(by_name[extractor]) for extractor in EXTRACTORS])


def _cell(found: ExtractorResult) -> Cell:
    if not found.n:
        return missing("no output with options")
    unparsed = fixed(found.unparsed / found.n * 100, 1)
    return share_cell(found.right, found.n, also=f"unparsed {unparsed}%")
