"""How the figures of a metric are printed: as the record of a run describes it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from harness.core.types import Value
from harness.metrics.accuracy import CHANCE
from harness.metrics.registry import CONTEXT
from harness.metrics.unparsed import UNPARSED
from harness.run.records import MetricInfo, RunRecord, Scope, former_info
from reports.inputs import sanitize
from reports.numbers import fixed


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricFormat:
    """The title, unit and direction of a metric."""

    name: str
    """As records have it."""
    title: str = ""
    unit: str = ""
    """"%": a fraction, printed as a percentage."""
    higher_is_better: bool = True
    scope: Scope = "sample"
    meaning: str = ""
    is_share: bool = False
    """It is the share of samples that are right: guessing has an expected value, and counts of
    right answers are whole."""

    def is_same(self, other: MetricFormat) -> bool:
        """Whether figures of both can stand together: a user's own metric may have the name of
        another one."""
        own, others = ((m.name, m.unit, m.higher_is_better) for m in (self, other))
        return own == others

    @property
    def scale(self) -> int:
        """What 1 is printed as."""
        return 100 if self.unit == "%" else 1

    @property
    def digits(self) -> int:
        return 2 if self.unit == "%" else 4

    @property
    def interval_digits(self) -> int:
        return 1 if self.unit == "%" else 4

    @property
    def sign(self) -> int:
        """1 where more is better, -1 where less is."""
        return 1 if self.higher_is_better else -1

    @property
    def best(self) -> Literal["ascending", "descending"]:
        """The order that has the best figure on top."""
        return "descending" if self.higher_is_better else "ascending"

    @property
    def difference_unit(self) -> str:
        """The unit of a difference, in words."""
        return "points" if self.unit == "%" else self.title

    @property
    def counts(self) -> str:
        """What its n counts, one of them."""
        return "group" if self.scope == "group" else "question"

    @property
    def in_words(self) -> str:
        """The title within a sentence: "accuracy", "ROUGE-L"."""
        first, second = self.title[:1], self.title[1:2]
        return f"{first.lower()}{self.title[1:]}" if second.islower() else self.title

    @property
    def in_full(self) -> str:
        """The title with unit and direction: "accuracy, %", "word errors, less is better"."""
        words = f"{self.in_words}, %" if self.unit == "%" else self.in_words
        return words if self.higher_is_better else f"{words}, less is better"

    def printed(self, value: float | None) -> float | None:
        """A figure in its unit; None stays None."""
        return None if value is None else value * self.scale

    def number(self, value: float) -> str:
        """A figure in its unit, without the unit."""
        return fixed(value * self.scale, self.digits)

    def figure(self, value: float) -> str:
        """A figure with its unit."""
        return f"{self.number(value)}{self.unit}"

    def difference(self, value: float) -> str:
        """A difference of figures, with its sign."""
        return fixed(value * self.scale, self.digits, sign="+")

    def ends(self, low: float, high: float) -> str:
        """The interval of a difference: "-1.2 to +3.4"."""
        ends = (fixed(end * self.scale, self.interval_digits, sign="+") for end in (low, high))
        return " to ".join(ends)


def described(run: RunRecord) -> Mapping[str, MetricInfo]:
    """The description of each metric of a run; of a record without any, what its names say."""
    return run.metric_info or former_info(run.metrics)


def decisive(records: Sequence[RunRecord]) -> MetricFormat | None:
    """The metric by which runs of one task are ranked: of most of them; None: nothing is scored."""
    found: Counter[str] = Counter()
    for run in records:
        name = next((name for name in described(run) if name not in CONTEXT), None)
        found.update([name] if name is not None else [])
    return formats(records)[found.most_common(1)[0][0]] if found else None


def formats(records: Iterable[RunRecord]) -> dict[str, MetricFormat]:
    """The metrics of some runs by name, in the order of their records; context is left out."""
    found: dict[str, MetricFormat] = {}
    for run in records:
        for name, about in described(run).items():
            if name not in CONTEXT:
                found.setdefault(name, _format(name, about))
    return found


def scored_by(run: RunRecord, names: Iterable[str]) -> list[MetricFormat]:
    """The metrics of a run, the decisive one first; of one that was killed before it was scored,
    those that its answers have scores of."""
    info = described(run) or former_info({name: Value(value=None, n=0) for name in names})
    return [_format(name, about) for name, about in info.items() if name not in CONTEXT]


def format_of(run: RunRecord, figure: str) -> MetricFormat:
    """How a figure of a run is printed, by its name: a metric's, or a metric's in a topic."""
    name = figure.partition("/")[0]
    return _format(name, described(run).get(name, MetricInfo(title=name)))


def _format(name: str, about: MetricInfo) -> MetricFormat:
    return MetricFormat(
        name=name,
        title=sanitize.text(about.title, limit=40) or sanitize.text(name, limit=40),
        unit="%" if about.unit == "%" else "",
        higher_is_better=about.higher_is_better,
        scope=about.scope,
        meaning=sanitize.text(about.meaning, limit=300),
        is_share=about.interval == "wilson" and about.scope == "sample",
    )


GUESSING = CHANCE.name
"""The figure that guessing is expected to give, where options are chosen."""
NOTHING_FOUND = UNPARSED.name
"""The share of answers that no rule can parse."""
