"""Sanity rules that hold for every row of a leaderboard, the paper's and our own.

This module alone knows what a figure cannot be, given the others. A rule looks at one row and
gives its findings in words; what it cannot see in the row it does not judge.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from harness.metrics.statistics import wilson

Kind = Literal["impossible", "misfit", "doubtful", "remark", "missing"]
"""impossible: cannot be right, whatever its n; misfit: not of this n, though of another; doubtful:
hard to believe; remark: worth knowing; missing: why a figure is not there."""

ACCURACY = "accuracy"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a rule finds in some figures of a row."""

    kind: Kind
    metrics: tuple[str, ...]
    """The figures it is about, by metric name."""
    reason: str
    """One or two sentences for the reader of the page."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One figure of a row, exactly as it is known."""

    value: Fraction
    """In units of 1: 62.50% is 5/8."""
    text: str
    """As the page prints it."""
    n: int | None = None
    """Number of samples; None: not known."""
    step: Fraction = Fraction(0)
    """The last printed digit, in units of 1; 0 for a figure that was never shortened."""
    low: float | None = None
    high: float | None = None
    name: str = ""
    """The heading of its column, for the reasons."""


Row = Mapping[str, Figure]
"""Metric name -> figure; the names are those of a run record."""


def whole_count(figure: Figure) -> tuple[int, Literal["exact", "rounded", "cut"]] | None:
    """The k for which k/n is the figure, and how it was shortened; None where no k fits.

    "cut" is given only where rounding cannot explain the figure.
    """
    if not figure.n or figure.n < 0:
        return None
    nearest = round(figure.value * figure.n)
    if not figure.step:
        # A float holds k/n to about 16 digits.
        fits = abs(figure.value * figure.n - nearest) < Fraction(1, 10**6)
        return (nearest, "exact") if fits else None
    candidates = [k for k in range(nearest - 1, nearest + 2) if 0 <= k <= figure.n]
    for k in candidates:
        if abs(Fraction(k, figure.n) - figure.value) <= figure.step / 2:
            return k, "rounded"
    for k in candidates:
        if figure.value <= Fraction(k, figure.n) < figure.value + figure.step:
            return k, "cut"
    return None


def _accuracies(row: Row) -> Iterator[tuple[str, Figure]]:
    return (
        (metric, figure)
        for metric, figure in row.items()
        if metric == ACCURACY or metric.startswith(f"{ACCURACY}/")
    )


def _percent(value: Fraction | float, digits: int = 2) -> str:
    return f"{float(value) * 100:.{digits}f}%"


def counts_are_whole(row: Row) -> Iterator[Finding]:
    """Accuracy times n is a whole number, after rounding or cutting to the printed digits."""
    cut: list[tuple[str, Figure, int]] = []
    for metric, figure in _accuracies(row):
        if not figure.n or not 0 <= figure.value <= 1:
            continue  # another rule's business
        found = whole_count(figure)
        if found is None:
            yield _not_whole(metric, figure, figure.n)
        elif found[1] == "cut":
            cut.append((metric, figure, found[0]))
    if cut:
        _, figure, k = cut[-1]
        yield Finding(
            "remark",
            tuple(metric for metric, _, _ in cut),
            f"Cut off after the last digit instead of rounded, as in {figure.name}: {k:,} of "
            f"{figure.n:,} is {_percent(Fraction(k, figure.n or 1), 4)}, printed {figure.text}.",
        )


def _not_whole(metric: str, figure: Figure, n: int) -> Finding:
    """A record states its n; that of a printed figure is somebody's count, and where figures are
    printed with few digits, those of another n fit."""
    k = int(figure.value * n)
    nearest = (
        f"{k:,} would be {_percent(Fraction(k, n))}, "
        f"{k + 1:,} would be {_percent(Fraction(k + 1, n))}."
    )
    if figure.step:
        return Finding("misfit", (metric,), f"{figure.text} does not fit n = {n:,}: {nearest}")
    no_count = f"No whole number of right answers out of {n:,} gives {figure.text}: {nearest}"
    return Finding("impossible", (metric,), no_count)


def f1_is_within_its_means(row: Row) -> Iterator[Finding]:
    """A mean of per-sample F1 is at most 2PR/(P+R) of the means: F1 is concave in (P, R)."""
    try:
        f1, precision, recall = (row[f"bertscore_{part}"] for part in ("f1", "precision", "recall"))
    except KeyError:
        return
    if precision.value <= 0 or recall.value <= 0:
        return  # rescaled scores can be negative, where F1 is not concave
    highest = 2 * precision.value * recall.value / (precision.value + recall.value)
    # Cutting hides up to a step of P and R, rounding adds up to half a step to F1; means that were
    # not shortened are off by float error only.
    if f1.value > highest + (f1.step * Fraction(3, 2) or Fraction(1, 10**9)):
        yield Finding(
            "impossible",
            ("bertscore_f1",),
            f"A mean F1 is at most the harmonic mean of mean precision {precision.text} and mean "
            f"recall {recall.text}, which is {float(highest):.4f}; printed {f1.text}.",
        )


def rouge2_is_below_rouge1(row: Row) -> Iterator[Finding]:
    """Sharing word pairs is harder than sharing words; ROUGE-2 equals ROUGE-1 where both are 0,
    or 1 (answers that repeat the reference)."""
    try:
        one, two = row["rouge1"], row["rouge2"]
    except KeyError:
        return
    if two.value > one.value:
        yield Finding(
            "doubtful",
            ("rouge1", "rouge2"),
            f"ROUGE-2 ({two.text}) is above ROUGE-1 ({one.text}): texts share fewer word pairs "
            "than words.",
        )
    elif two.value == one.value and one.value not in (0, 1):
        yield Finding(
            "doubtful",
            ("rouge1", "rouge2"),
            f"ROUGE-1 and ROUGE-2 are equal ({one.text}) without being 0: an answer of a single "
            "word has no word pair, hence ROUGE-2 0.",
        )


def accuracy_beats_chance(row: Row) -> Iterator[Finding]:
    """Below the mean of 1/(number of choices), a model does worse than guessing blindly. That is
    hard to believe only where its whole interval is below."""
    try:
        accuracy, chance = row[ACCURACY], row["chance"]
    except KeyError:
        return
    if accuracy.value >= chance.value:
        return
    high = accuracy.high
    if high is None and accuracy.n and 0 <= accuracy.value <= 1:
        high = wilson(round(accuracy.value * accuracy.n), accuracy.n).high
    below = f"Below chance: {accuracy.text} against {chance.text} for random guessing"
    if high is not None and high < chance.value:
        reason = f"{below}, and so is its whole 95% interval. Often a sign of unparsed answers."
        yield Finding("doubtful", (ACCURACY,), reason)
    else:
        within = ", though chance is within its 95% interval" if high is not None else ""
        yield Finding("remark", (ACCURACY,), f"{below}{within}.")


def accuracy_covers_the_split(row: Row) -> Iterator[Finding]:
    """An accuracy over fewer samples than the split has is not comparable with a full one."""
    try:
        accuracy, split = row[ACCURACY], row["split"]
    except KeyError:
        return
    if accuracy.n is not None and accuracy.n != split.value:
        yield Finding(
            "remark",
            (ACCURACY,),
            f"Over {accuracy.n:,} of the {int(split.value):,} questions of its split.",
        )


def shares_are_shares(row: Row) -> Iterator[Finding]:
    """Accuracies lie between 0 and 1, and within their own intervals."""
    for metric, figure in _accuracies(row):
        if not 0 <= figure.value <= 1:
            yield Finding("impossible", (metric,), f"{figure.text} is not between 0 and 100%.")
        elif (figure.low is not None and figure.value < figure.low) or (
            figure.high is not None and figure.value > figure.high
        ):
            yield Finding("impossible", (metric,), f"{figure.text} is outside its own interval.")


RULES: tuple[Callable[[Row], Iterator[Finding]], ...] = (
    shares_are_shares,
    counts_are_whole,
    accuracy_beats_chance,
    accuracy_covers_the_split,
    f1_is_within_its_means,
    rouge2_is_below_rouge1,
)


def check(row: Row) -> tuple[Finding, ...]:
    """Apply every rule to `row`. In addition to metrics, a row may hold "chance", and as
    "split" the number of samples that the split has."""
    return tuple(finding for rule in RULES for finding in rule(row))
