"""Intervals and tests for scores of models, with numpy and the standard library alone.

Every function states its formula and its source. Fractions go in and come out as fractions, 0 to
1; "clusters" are questions that share an image, so that their scores are not independent.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Score = Callable[[Floats], Floats]
"""Means of per-pair statistics, (..., K) -> scores, (...)."""

Z_95 = 1.959963984540054
"""The normal quantile of a two-sided 95% interval."""
RESAMPLES = 1000
"""Resamples of a bootstrap: the ends of a 95% interval are then the 25th values from either end."""

_CELLS = 1 << 21  # of a block of resampling weights: 16 MiB


class Interval(NamedTuple):
    """The two ends of a confidence interval, in the unit of what it is an interval of."""

    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """How much better the second of two models is, on the same questions."""

    difference: float
    """Mean of second minus first, in the unit of the scores."""
    low: float
    high: float
    standard_error: float
    n: int
    """Questions that both answered."""
    p: float | None = None
    """Two-sided; None where the method gives an interval only."""


def wilson(successes: int, n: int, *, confidence: float = 0.95) -> Interval:
    """Score interval of a proportion (Wilson 1927): centre (p + z²/2n) / (1 + z²/n), half width
    z √(p(1-p)/n + z²/4n²) / (1 + z²/n). It has a width at 0% and at 100% as well.

    Raises:
        ValueError: n < 1, or successes outside 0..n.
    """
    if n < 1 or not 0 <= successes <= n:
        raise ValueError(f"{successes} successes of {n}")
    z = _z(confidence)
    p = successes / n
    scale = 1 + z * z / n
    centre = (p + z * z / (2 * n)) / scale
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / scale
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == n else min(1.0, centre + half)
    return Interval(low, high)


def standard_error(values: ArrayLike) -> float:
    """Standard error of the mean, s/√n with the sample deviation s (ddof 1), in the values' unit.

    Raises:
        ValueError: fewer than two values.
    """
    x = _vector(values)
    if len(x) < 2:
        raise ValueError(f"a standard error needs two values, not {len(x)}")
    return float(x.std(ddof=1) / math.sqrt(len(x)))


def clustered_standard_error(values: ArrayLike, clusters: Sequence[Hashable]) -> float:
    """Standard error of the mean where values of one cluster are correlated.

    √(Σ over clusters of (Σ of its deviations from the mean)²) / n, as in Miller (2024), "Adding
    Error Bars to Evals", section 2.2. Convention: no small-sample factor, so that with clusters of
    one it is the standard error with ddof 0.

    Raises:
        ValueError: fewer than two clusters, or not one cluster for each value.
    """
    x = _vector(values)
    index = _cluster_index(clusters, len(x))
    if len(x) == 0 or index.max() == 0:
        raise ValueError("a clustered standard error needs two clusters")
    sums = np.bincount(index, weights=x - x.mean())
    return float(math.sqrt(np.dot(sums, sums)) / len(x))


def paired_difference(
    first: ArrayLike,
    second: ArrayLike,
    clusters: Sequence[Hashable] | None = None,
    *,
    confidence: float = 0.95,
) -> Difference:
    """Mean of `second` - `first` over the same questions, with its normal interval, d ± z SE.

    The standard error is that of the differences (ddof 1), clustered where `clusters` are given
    (see `clustered_standard_error`). For right and wrong answers without clusters use
    `paired_proportions`, which has a width even where no question tells the two apart.

    Raises:
        ValueError: lengths differ, or fewer than two questions (or clusters).
    """
    a, b = _pair(first, second)
    d = b - a
    se = standard_error(d) if clusters is None else clustered_standard_error(d, clusters)
    mean = float(d.mean())
    half = _z(confidence) * se
    return Difference(
        difference=mean, low=mean - half, high=mean + half, standard_error=se, n=len(d)
    )


def paired_proportions(
    only_first: int, only_second: int, n: int, *, confidence: float = 0.95
) -> Difference:
    """Difference of two accuracies on the same n questions, second minus first.

    The interval is Bonett and Price's (2012): a normal interval after one more question has been
    added to either side, (b' - c') ± z √((b' + c' - (b' - c')²)/(n + 2)) with b' = (b + 1)/(n + 2).
    The p-value is exact McNemar's.

    Args:
        only_first: questions that only the first model got right.
        only_second: questions that only the second one got right.
        n: all questions, those included that both or neither got right.

    Raises:
        ValueError: n < 1, or counts that do not fit into it.
    """
    if n < 1 or min(only_first, only_second) < 0 or only_first + only_second > n:
        raise ValueError(f"{only_first} and {only_second} discordant pairs of {n}")
    b, c = (only_second + 1) / (n + 2), (only_first + 1) / (n + 2)
    se = math.sqrt((b + c - (b - c) ** 2) / (n + 2))
    half = _z(confidence) * se
    return Difference(
        difference=(only_second - only_first) / n,
        low=max(-1.0, b - c - half),
        high=min(1.0, b - c + half),
        standard_error=se,
        n=n,
        p=mcnemar(only_first, only_second),
    )


def mcnemar(only_first: int, only_second: int) -> float:
    """Exact two-sided p-value of McNemar's test: 2 P(X ≤ min(b, c)), X ~ Binomial(b + c, 1/2).

    1 where both counts are equal, (0, 0) included. Counts may be in the millions: terms are summed
    from the largest down, from its logarithm.

    Raises:
        ValueError: a negative count.
    """
    k, n = min(only_first, only_second), only_first + only_second
    if k < 0:
        raise ValueError(f"{only_first} and {only_second} discordant pairs")
    if 2 * k == n:
        return 1.0
    term = math.exp(
        math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) - n * math.log(2)
    )
    total = 0.0
    while term > total * 1e-17:
        total += term
        term *= k / (n - k + 1)
        k -= 1
    return min(1.0, 2 * total)


def bootstrap(
    statistics: ArrayLike,
    score: Score,
    clusters: Sequence[Hashable] | None = None,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Floats:
    """Scores of `resamples` samples drawn with replacement from the pairs (Efron 1979), (R,) or
    what `score` makes of its last axis.

    Args:
        statistics: per-pair statistics, (N, K); with integers up to 2^53 / N sums are exact.
        score: of the means of the statistics over a sample, (R, K).
        clusters: one per pair; where given whole clusters are drawn.
        resamples: how many samples.
        seed: of numpy's PCG64; the same seed draws the same samples whatever the statistics.

    Raises:
        ValueError: no pairs, or not one cluster for each.
    """
    rows = np.asarray(statistics, dtype=np.float64)
    if len(rows) == 0:
        raise ValueError("nothing to draw from")
    sizes: Floats = np.ones(len(rows))
    if clusters is not None:
        index = _cluster_index(clusters, len(rows))
        grouped = np.zeros((index.max() + 1, rows.shape[1]))
        np.add.at(grouped, index, rows)
        rows, sizes = grouped, np.bincount(index).astype(np.float64)
    blocks = [
        score((weights @ rows) / (weights @ sizes)[:, None])
        for weights in resampling_weights(len(rows), resamples, seed=seed)
    ]
    return np.concatenate(blocks)


def percentile_interval(resampled: ArrayLike, *, confidence: float = 0.95) -> Interval | None:
    """Percentile interval of bootstrapped scores, (R,); None where all of them are equal, because
    an interval without width would claim a certainty that nothing shows."""
    scores = _vector(resampled)
    if scores.min() == scores.max():
        return None
    low, high = np.quantile(scores, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(low), float(high))


def paired_bootstrap(
    first: ArrayLike,
    second: ArrayLike,
    score: Score,
    clusters: Sequence[Hashable] | None = None,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
    confidence: float = 0.95,
) -> Difference:
    """Difference of two models' scores, second minus first, on the same questions (Koehn 2004).

    Both are scored on the same resamples. The interval is the percentile interval of the
    differences, their deviation the standard error, and p = (1 + #{|d* - mean d*| ≥ |d|}) / (R + 1)
    as in Riezler and Maxwell (2005). Resamples for which a score is undefined are left out.

    Args:
        first: per-pair statistics of the first model, (N, K), see `bootstrap`.
        second: those of the second one for the same questions in the same order.
        score: of the means of the statistics, (R, K) -> (R,).
        clusters: one per question; where given whole clusters are drawn.
        resamples: how many samples.
        seed: of the draws.
        confidence: of the interval.

    Raises:
        ValueError: shapes differ, or no questions.
    """
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if a.shape != b.shape:
        raise ValueError(f"statistics of shapes {a.shape} and {b.shape} are not of the same pairs")
    width = a.shape[1]

    def change(means: Floats) -> Floats:
        return score(means[..., width:]) - score(means[..., :width])

    both = np.concatenate([a, b], axis=1)  # (N, 2K)
    drawn = bootstrap(both, change, clusters, resamples=resamples, seed=seed)  # (R,)
    drawn = drawn[np.isfinite(drawn)]
    observed = float(change(both.mean(axis=0)))
    extreme = int(np.count_nonzero(np.abs(drawn - drawn.mean()) >= abs(observed)))
    ends = percentile_interval(drawn, confidence=confidence) if len(drawn) else None
    low, high = ends or (observed, observed)
    return Difference(
        difference=observed,
        low=low,
        high=high,
        standard_error=float(drawn.std(ddof=1)) if len(drawn) > 1 else 0.0,
        n=len(a),
        p=(1 + extreme) / (len(drawn) + 1),
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values adjusted for being looked at together (Holm 1979), in the given order: the i-th
    smallest of m times (m - i + 1), never below the one before it, at most 1.

    Raises:
        ValueError: a value that is not in 0..1.
    """
    if not all(0 <= p <= 1 for p in p_values):
        raise ValueError(f"p-values outside 0..1: {p_values}")
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    for rank, place in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * p_values[place]))
        adjusted[place] = largest
    return adjusted


def resampling_weights(n: int, resamples: int, *, seed: int = 0) -> Iterator[Floats]:
    """How often each of n rows is drawn in each resample, in blocks, (B, n)."""
    random = np.random.default_rng(seed)
    block = max(1, min(resamples, _CELLS // n))
    for start in range(0, resamples, block):
        rows = min(block, resamples - start)
        drawn = random.integers(n, size=(rows, n)) + n * np.arange(rows)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=rows * n)
        yield counts.reshape(rows, n).astype(np.float64)


def _z(confidence: float) -> float:
    """The normal quantile of a two-sided interval."""
    return NormalDist().inv_cdf((1 + confidence) / 2)


def _vector(values: ArrayLike) -> Floats:
    return np.asarray(values, dtype=np.float64).reshape(-1)


def _pair(first: ArrayLike, second: ArrayLike) -> tuple[Floats, Floats]:
    a, b = _vector(first), _vector(second)
    if len(a) != len(b):
        raise ValueError(f"{len(a)} and {len(b)} values are not of the same questions")
    return a, b


def _cluster_index(clusters: Sequence[Hashable], n: int) -> NDArray[np.int64]:
    """Clusters as numbers from 0, in order of appearance, (n,)."""
    if len(clusters) != n:
        raise ValueError(f"{len(clusters)} clusters for {n} values")
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(c, len(numbers)) for c in clusters], dtype=np.int64)
