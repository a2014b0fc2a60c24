"""Paired tests of every pair of runs on the questions that both answered, and the resulting ranks.

All pairs are tested together, so their p-values are Holm's. A rank is a range: from one more than
the number of runs that are significantly better to the place before all that are significantly
worse. Overlapping intervals of accuracy decide nothing: the runs answered the same questions, and a
paired test sees what a shared difficulty hides.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from harness.metrics.statistics import (
    RESAMPLES,
    Difference,
    Floats,
    bootstrap,
    holm,
    percentile_interval,
)
from reports.statistics.paired import RunScores, Scoring, Test, right_and_wrong, shared

LEVEL = 0.05
"""Of all pairs together."""
_DRAWS_PER_PAIR = 60
"""Resamples for each pair: the smallest p, 1 / (resamples + 1), has to stay below LEVEL when Holm
multiplies it by the number of pairs."""


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
    higher_is_better: bool = True

    @property
    def certain(self) -> bool:
        """Whether the corrected test is significant."""
        return self.p is not None and self.p < LEVEL and bool(self._size)

    @property
    def better(self) -> str | None:
        """The one that is significantly better; None: neither is."""
        if not self.certain:
            return None
        return self.second if (self._size > 0) == self.higher_is_better else self.first

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
            higher_is_better=self.higher_is_better,
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


def pairwise_tests(
    runs: Sequence[RunScores], *, test: Test, higher_is_better: bool = True
) -> PairwiseTests:
    """Every pair of `runs`, in their order, tested; and the ranks that follow.

    Right and wrong answers are tested by exact McNemar, their interval is Bonett and Price's, or
    clustered where that is wider; graded ones by a paired bootstrap, which draws whole clusters.
    """
    pairs = _mcnemar(runs) if test == "mcnemar" else bootstrapped(runs)
    tested = [pair for pair in pairs if pair.difference and pair.difference.p is not None]
    corrected = holm([pair.difference.p for pair in tested])  # type: ignore[union-attr, misc]  # tested have both
    found = dict(zip(((p.first, p.second) for p in tested), corrected, strict=True))
    pairs = [
        replace(pair, p=found.get((pair.first, pair.second)), higher_is_better=higher_is_better)
        for pair in pairs
    ]
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


def _mcnemar(runs: Sequence[RunScores]) -> list[Pair]:
    pairs = []
    for one, two in combinations(runs, 2):
        keys = shared(one, two)
        if not keys:
            pairs.append(Pair(first=one.name, second=two.name, n=0, difference=None))
            continue
        found = right_and_wrong(one, two, keys)
        pairs.append(
            Pair(
                first=one.name,
                second=two.name,
                n=len(found.right),
                difference=found.difference,
                only_first=found.count(True, False),
                only_second=found.count(False, True),
                both=found.count(True, True),
                neither=found.count(False, False),
            )
        )
    return pairs


def bootstrapped(runs: Sequence[RunScores], *, resamples: int = 0) -> list[Pair]:
    """Every pair, uncorrected. Pairs with the same shared questions are drawn together: usually one
    bootstrap for all. Without `resamples` there are enough for Holm's correction."""
    chosen = list(combinations(range(len(runs)), 2))
    resamples = resamples or max(RESAMPLES, _DRAWS_PER_PAIR * len(chosen))
    drawn: dict[tuple[str, ...], dict[int, _Drawn]] = {}
    pairs = []
    for i, j in chosen:
        keys = shared(runs[i], runs[j])
        questions = tuple(sorted(keys))
        if questions not in drawn:
            drawn[questions] = _draw(runs, keys, resamples) if keys else {}
        n, difference = 0, None
        if keys:
            one, two = drawn[questions][i], drawn[questions][j]
            n = len(one.rows)
            observed = one.to(two)
            if n > 1 and math.isfinite(observed):
                difference = _difference(two.means - one.means, observed, n)
        pairs.append(Pair(first=runs[i].name, second=runs[j].name, n=n, difference=difference))
    return pairs


@dataclass(frozen=True, slots=True)
class _Drawn:
    """A run on some questions, and on resamples of them."""

    rows: Floats
    """(n, K)."""
    means: Floats
    """The figure in each resample, (R,)."""
    scoring: Scoring

    def to(self, other: _Drawn) -> float:
        """The other figure minus this one."""
        if self.scoring.is_mean:
            return float((other.rows - self.rows).mean())
        ends = (self.scoring.aggregate(each.rows.mean(axis=0)) for each in (other, self))
        return float(next(ends) - next(ends))


def _draw(runs: Sequence[RunScores], keys: Sequence[str], resamples: int) -> dict[int, _Drawn]:
    """The runs that answered all these questions, by their places, on the same resamples."""
    able = [n for n, run in enumerate(runs) if all(key in run.scores for key in keys)]
    rows = [runs[n].rows(keys) for n in able]
    ends = np.cumsum([each.shape[1] for each in rows])[:-1]

    def figures(means: Floats) -> Floats:
        parts = zip(able, np.split(means, ends, axis=-1), strict=True)
        return np.stack([runs[n].scoring.aggregate(part) for n, part in parts], axis=-1)

    clusters = runs[able[0]].clusters_of(keys)
    found = bootstrap(np.concatenate(rows, axis=1), figures, clusters, resamples=resamples)
    return {
        n: _Drawn(rows[place], found[:, place], runs[n].scoring) for place, n in enumerate(able)
    }


def _difference(drawn: Floats, observed: float, n: int) -> Difference:
    """As `harness.metrics.statistics.paired_bootstrap`, from differences drawn already."""
    drawn = drawn[np.isfinite(drawn)]
    low, high = (percentile_interval(drawn) if len(drawn) else None) or (observed, observed)
    extreme = int(np.count_nonzero(np.abs(drawn - drawn.mean()) >= abs(observed)))
    return Difference(
        difference=observed,
        low=low,
        high=high,
        standard_error=float(drawn.std(ddof=1)) if len(drawn) > 1 else 0.0,
        n=n,
        p=(1 + extreme) / (len(drawn) + 1),
    )
