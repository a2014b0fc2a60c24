"""Paired tests of every pair of runs on the questions that both answered, and the resulting ranks.

All pairs are tested together, so their p-values are Holm's. A rank is a range: from one more than
the number of runs that are significantly better to the place before all that are significantly
worse. Overlapping intervals of accuracy decide nothing: the runs answered the same questions, and a
paired test sees what a shared difficulty hides.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from harness.metrics.statistics import (
    RESAMPLES,
    Difference,
    Floats,
    bootstrap,
    holm,
    percentile_interval,
)
from harness.run.compare import accuracies

LEVEL = 0.05
"""Of all pairs together."""
_DRAWS_PER_PAIR = 60
"""Resamples for each pair: the smallest p, 1 / (resamples + 1), has to stay below LEVEL when Holm
multiplies it by the number of pairs."""

Test = Literal["mcnemar", "bootstrap"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunScores:
    """A run in paired tests: a score for each question that it answered."""

    name: str
    """Unique among the runs that are tested."""
    scores: Mapping[str, float]
    """Sample id -> 1 or 0, or a share between them."""
    clusters: Mapping[str, Hashable]
    """Sample id -> what questions that are not independent have in common: their picture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two runs on the questions that both answered."""

    first: str
    second: str
    n: int
    difference: Difference | None
    """The second minus the first, its p uncorrected; None: they share too few questions."""
    p: float | None = None
    """After Holm's correction for all pairs that are tested."""
    only_first: int | None = None
    only_second: int | None = None
    """Questions that only this one got right; None where answers are not right or wrong."""
    both: int | None = None
    neither: int | None = None

    @property
    def certain(self) -> bool:
        """Whether the corrected test is significant."""
        return self.p is not None and self.p < LEVEL and bool(self._size)

    @property
    def better(self) -> str | None:
        """The one that is significantly better; None: neither is."""
        if not self.certain:
            return None
        return self.second if self._size > 0 else self.first

    @property
    def _size(self) -> float:
        return self.difference.difference if self.difference else 0.0

    def turned(self) -> Pair:
        """The same pair seen from the other side."""
        d = self.difference
        return Pair(
            first=self.second,
            second=self.first,
            n=self.n,
            difference=d and replace(d, difference=-d.difference, low=-d.high, high=-d.low),
            p=self.p,
            only_first=self.only_second,
            only_second=self.only_first,
            both=self.both,
            neither=self.neither,
        )


@dataclass(frozen=True, slots=True)
class Rank:
    """The ranks that a run may have, 1 being the best."""

    best: int
    worst: int

    @property
    def certain(self) -> bool:
        return self.best == self.worst


@dataclass(frozen=True, slots=True, kw_only=True)
class PairwiseTests:
    """Paired tests of all runs that answered the same questions."""

    test: Test
    pairs: tuple[Pair, ...]
    ranks: Mapping[str, Rank]

    def pair(self, first: str, second: str) -> Pair | None:
        """These two, the second against the first."""
        for pair in self.pairs:
            if (pair.first, pair.second) == (first, second):
                return pair
            if (pair.second, pair.first) == (first, second):
                return pair.turned()
        return None


def pairwise_tests(runs: Sequence[RunScores], *, test: Test) -> PairwiseTests:
    """Every pair of `runs`, in their order, tested; and the ranks that follow.

    Right and wrong answers are tested by exact McNemar, their interval is Bonett and Price's, or
    clustered by picture where that is wider; shares by a paired bootstrap.
    """
    pairs = _mcnemar(runs) if test == "mcnemar" else _bootstrapped(runs)
    tested = [pair for pair in pairs if pair.difference and pair.difference.p is not None]
    corrected = holm([pair.difference.p for pair in tested])  # type: ignore[union-attr, misc]  # tested have both
    found = dict(zip(((p.first, p.second) for p in tested), corrected, strict=True))
    pairs = [replace(pair, p=found.get((pair.first, pair.second))) for pair in pairs]
    decided = [
        (winner, pair.first if winner == pair.second else pair.second)
        for pair in pairs
        if (winner := pair.better)
    ]
    return PairwiseTests(
        test=test, pairs=tuple(pairs), ranks=ranks([run.name for run in runs], decided)
    )


def ranks(names: Sequence[str], decided: Iterable[tuple[str, str]]) -> dict[str, Rank]:
    """The rank of each name, from (better, worse) pairs that are certain."""
    better, worse = dict.fromkeys(names, 0), dict.fromkeys(names, 0)
    for winner, loser in decided:
        better[loser] += 1
        worse[winner] += 1
    return {name: Rank(1 + better[name], len(names) - worse[name]) for name in names}


def _shared(first: RunScores, second: RunScores) -> list[str]:
    """The questions that both answered, in the first one's order."""
    return [key for key in first.scores if key in second.scores]


def _mcnemar(runs: Sequence[RunScores]) -> list[Pair]:
    pairs = []
    for one, two in combinations(runs, 2):
        shared = _shared(one, two)
        if not shared:
            pairs.append(Pair(first=one.name, second=two.name, n=0, difference=None))
            continue
        right = [(one.scores[key] > 0, two.scores[key] > 0) for key in shared]
        only_first, only_second = right.count((True, False)), right.count((False, True))
        difference, _ = accuracies(right, [one.clusters.get(key, key) for key in shared])
        pairs.append(
            Pair(
                first=one.name,
                second=two.name,
                n=len(shared),
                difference=difference,
                only_first=only_first,
                only_second=only_second,
                both=right.count((True, True)),
                neither=right.count((False, False)),
            )
        )
    return pairs


def _bootstrapped(runs: Sequence[RunScores]) -> list[Pair]:
    """Pairs with the same shared questions are drawn together: usually one bootstrap for all."""
    ids = dict.fromkeys(key for run in runs for key in run.scores)
    place = {key: row for row, key in enumerate(ids)}
    table: Floats = np.full((len(place), len(runs)), np.nan)  # (N, M)
    for column, run in enumerate(runs):
        for key, score in run.scores.items():
            table[place[key], column] = score
    there: NDArray[np.bool_] = ~np.isnan(table)
    chosen = list(combinations(range(len(runs)), 2))
    resamples = max(RESAMPLES, _DRAWS_PER_PAIR * len(chosen))
    drawn: dict[bytes, Floats] = {}
    pairs = []
    for i, j in chosen:
        both = there[:, i] & there[:, j]
        n = int(both.sum())
        difference = None
        if n > 1:
            mask = both.tobytes()
            if mask not in drawn:
                whole = np.where(there[both], table[both], 0.0)  # others' gaps are not looked at
                drawn[mask] = bootstrap(whole, lambda means: means, resamples=resamples)  # (R, M)
            change = drawn[mask][:, j] - drawn[mask][:, i]
            difference = _difference(change, float((table[both, j] - table[both, i]).mean()), n)
        pairs.append(Pair(first=runs[i].name, second=runs[j].name, n=n, difference=difference))
    return pairs


def _difference(drawn: Floats, observed: float, n: int) -> Difference:
    """As `harness.metrics.statistics.paired_bootstrap`, from differences drawn already."""
    low, high = percentile_interval(drawn) or (observed, observed)
    extreme = int(np.count_nonzero(np.abs(drawn - drawn.mean()) >= abs(observed)))
    return Difference(
        difference=observed,
        low=low,
        high=high,
        standard_error=float(drawn.std(ddof=1)),
        n=n,
        p=(1 + extreme) / (len(drawn) + 1),
    )
