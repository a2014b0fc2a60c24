"""The verdict of a paired test: the same numbers and the same words wherever a pair is shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from harness.metrics.statistics import Difference

LEVEL = 0.05
"""Of the p-value, corrected where several pairs are tested together."""
_FINE = 1000
"""Questions from which a difference has two decimals: one of them is less than 0.1 points."""


class Measure(Protocol):
    """What a metric is called, and how its figures are printed."""

    @property
    def title(self) -> str: ...
    @property
    def unit(self) -> str: ...
    @property
    def higher_is_better(self) -> bool: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One run against another on the questions that they share."""

    first: str
    second: str
    """Titles of the two."""
    n: int
    """Questions that both answered, or groups of them."""
    difference: float | None
    """The first minus the second, a fraction where the metric is printed in percent; None: it could
    not be tested."""
    low: float | None
    high: float | None
    p: float | None
    """Of this pair alone."""
    corrected: float | None
    """Holm's, for `pairs` that are tested together; None: this one alone."""
    pairs: int
    better: str | None
    """The title of the run that is significantly better; None: neither is."""
    size: str
    """The difference in words: "+28.6 points"."""
    interval: str
    """Its 95% interval in the same unit: "+12.1 to +45.0"; empty: none."""
    questions: str
    """What it is of: "490 shared questions"."""
    conclusion: str
    """"NAME is better", "not significant" ..."""

    @property
    def probabilities(self) -> str:
        """The p-value alone and after the correction, in words."""
        if self.p is None:
            return ""
        alone = f"p {_equals(self.p)}"
        if self.corrected is None or self.pairs < 2:
            return alone
        corrected = f"{probability(self.corrected)} after Holm correction"
        return f"{alone} alone, {corrected} for {self.pairs:,} pairs"

    @property
    def text(self) -> str:
        """All of it: "+28.6 points on 490 shared questions; p = 0.0060: NAME is better"."""
        if self.difference is None:
            return self.conclusion
        tested = f"; {self.probabilities}" if self.probabilities else ""
        return f"{self.size} on {self.questions}{tested}: {self.conclusion}"


def verdict(
    difference: Difference | None,
    measure: Measure,
    names: tuple[str, str],
    *,
    corrected: float | None = None,
    pairs: int = 1,
    n: int = 0,
    noun: str = "question",
) -> Verdict:
    """The verdict of one pair.

    Args:
        difference: the first minus the second; None: they could not be tested.
        measure: what they are compared by.
        names: the titles of the first and of the second.
        corrected: the p-value after the correction for all `pairs`.
        pairs: how many are tested together.
        n: shared questions, where there is no difference.
        noun: what n counts, one of them.
    """
    n = difference.n if difference else n
    p = difference.p if difference else None
    deciding = p if corrected is None else corrected
    size = difference.difference if difference else 0.0
    better = None
    if deciding is not None and deciding < LEVEL and size:
        better = names[(size > 0) != measure.higher_is_better]
    return Verdict(
        first=names[0],
        second=names[1],
        n=n,
        difference=difference.difference if difference else None,
        low=difference.low if difference else None,
        high=difference.high if difference else None,
        p=p,
        corrected=corrected,
        pairs=pairs,
        better=better,
        size=_size(measure, size, n) if difference else "",
        interval=_interval(measure, difference) if difference else "",
        questions=f"{n:,} shared {noun}{'s' * (n != 1)}",
        conclusion=_conclusion(better, p, n=n, tested=difference is not None, noun=noun),
    )


def probability(p: float) -> str:
    """A p-value as people print it, on the right side of 0.05."""
    if p < 0.0001:
        return "<0.0001"
    if p < 0.01:
        return f"{p:.4f}"
    return f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def _conclusion(better: str | None, p: float | None, *, n: int, tested: bool, noun: str) -> str:
    if not tested:
        return f"no {noun} in common" if not n else "not tested"
    if better is not None:
        return f"{better} is better"
    if p is not None and p < LEVEL:
        return "not significant after Holm correction"
    return "not significant"


def _size(measure: Measure, difference: float, n: int) -> str:
    if measure.unit == "%":
        return f"{_signed(100 * difference, 1 if n < _FINE else 2)} points"
    return f"{_signed(difference, 4)} {measure.title}"


def _interval(measure: Measure, found: Difference) -> str:
    scale, digits = (100, 1 if found.n < _FINE else 2) if measure.unit == "%" else (1, 4)
    return " to ".join(_signed(end * scale, digits) for end in (found.low, found.high))


def _signed(value: float, digits: int) -> str:
    shown = f"{value:+,.{digits}f}"
    if not shown.strip("+-0.,"):
        shown = shown.lstrip("+-")  # a zero has no sign
    return shown.replace("-", "\N{MINUS SIGN}")


def _equals(p: float) -> str:
    shown = probability(p)
    return shown if shown.startswith("<") else f"= {shown}"
