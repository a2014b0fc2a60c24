"""Paired tests of every pair of runs on the questions that both answered, and the resulting ranks.

All pairs are tested together, so their p-values are Holm's. A rank is a range: from one more than
the number of runs that are significantly better to the place before all that are significantly
worse. Overlapping intervals of accuracy decide nothing: the runs answered the same questions, and a
paired test sees what a shared difficulty hides.

Two runs may share other questions than two others do. Then one run can be better than a second,
which is better than a third, which is better than the first: runs in such a circle are not
separable. A rank of 1 alone is that of a run that is significantly better than each of the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from harness.metrics.statistics import Difference, holm
from harness.run.compare import accuracies
from harness.run.verdicts import LEVEL, Measure, Verdict, verdict
from reports.statistics.alignment import Alignment, align
from reports.statistics.paired import RunScores, Test
from reports.statistics.resampling import resampled


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
    tested: int = 1
    """Pairs that are corrected together."""

    @property
    def certain(self) -> bool:
        """Whether the corrected test is significant."""
        return self.p is not None and self.p < LEVEL and bool(self._size)

    @property
    def better(self) -> str | None:
        """The one that is significantly better; None: neither is."""
        return self.ahead if self.certain else None

    @property
    def ahead(self) -> str | None:
        """The one that has the better score on the shared questions; None: they are equal."""
        if not self._size:
            return None
        return self.second if (self._size > 0) == self.higher_is_better else self.first

    def verdict(self, measure: Measure, first: str, second: str, *, noun: str) -> Verdict:
        """The second against the first in words.

        Args:
            measure: what they are compared by.
            first: the title of the first.
            second: that of the second.
            noun: what n counts, one of them.
        """
        return verdict(
            self.difference,
            measure,
            (second, first),
            corrected=self.p,
            pairs=self.tested,
            n=self.n,
            noun=noun,
        )

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
            tested=self.tested,
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
    """Paired tests of all runs that share enough questions."""

    test: Test
    pairs: tuple[Pair, ...]
    ranks: Mapping[str, Rank]
    order: tuple[str, ...]
    """The runs, best first: none stands before one that is significantly better."""
    by_names: Mapping[tuple[str, str], Pair]
    is_same: bool
    """All runs answered the same questions."""

    def pair(self, first: str, second: str) -> Pair | None:
        """These two, the second against the first."""
        if found := self.by_names.get((first, second)):
            return found
        turned = self.by_names.get((second, first))
        return turned.turned() if turned else None


def pairwise_tests(
    runs: Sequence[RunScores], *, test: Test, higher_is_better: bool = True
) -> PairwiseTests:
    """Every pair of `runs`, in their order, tested; and the ranks that follow.

    Right and wrong answers are tested by exact McNemar, their interval is Bonett and Price's, or
    clustered where that is wider; graded ones by a paired bootstrap, which draws whole clusters.
    """
    aligned = align(runs)
    pairs = _mcnemar(aligned) if test == "mcnemar" else _bootstrapped(aligned)
    tested = [pair for pair in pairs if pair.difference and pair.difference.p is not None]
    corrected = holm([pair.difference.p for pair in tested])  # type: ignore[union-attr, misc]  # tested have both
    found = dict(zip(((p.first, p.second) for p in tested), corrected, strict=True))
    pairs = [
        replace(
            pair,
            p=found.get((pair.first, pair.second)),
            higher_is_better=higher_is_better,
            tested=len(tested),
        )
        for pair in pairs
    ]
    names = [run.name for run in runs]
    decided = [
        (winner, pair.first if winner == pair.second else pair.second)
        for pair in pairs
        if (winner := pair.better)
    ]
    return PairwiseTests(
        test=test,
        pairs=tuple(pairs),
        ranks=ranks(names, decided),
        order=tuple(best_first(names, decided, pairs)),
        by_names={(pair.first, pair.second): pair for pair in pairs},
        is_same=all(pair.n == len(aligned.keys) for pair in pairs),
    )


def ranks(names: Sequence[str], decided: Iterable[tuple[str, str]]) -> dict[str, Rank]:
    """The rank of each name, from (better, worse) pairs that are certain. Names in a circle, each
    better than the next, are not separable from each other."""
    better, worse = dict.fromkeys(names, 0), dict.fromkeys(names, 0)
    for winner, loser in _without_circles(names, decided):
        better[loser] += 1
        worse[winner] += 1
    return {name: Rank(1 + better[name], len(names) - worse[name]) for name in names}


def best_first(
    names: Sequence[str], decided: Iterable[tuple[str, str]], pairs: Iterable[Pair]
) -> list[str]:
    """The names, best first: those that no other one left is significantly better than, by how many
    more they are ahead of than behind; equal ones as they came."""
    above: dict[str, set[str]] = {name: set() for name in names}
    for winner, loser in _without_circles(names, decided):
        above[loser].add(winner)
    lead = dict.fromkeys(names, 0)
    for pair in pairs:
        if ahead := pair.ahead:
            lead[ahead] += 1
            lead[pair.first if ahead == pair.second else pair.second] -= 1
    left, found = list(names), []
    while left:
        free = [name for name in left if above[name].isdisjoint(left)]
        found.append(max(free, key=lead.__getitem__))
        left.remove(found[-1])
    return found


def _without_circles(
    names: Sequence[str], decided: Iterable[tuple[str, str]]
) -> list[tuple[str, str]]:
    """The (better, worse) pairs of which the worse one is not, by others, better in its turn."""
    decided = list(decided)
    place = {name: number for number, name in enumerate(names)}
    reaches = np.zeros((len(names), len(names)), dtype=bool)
    for winner, loser in decided:
        reaches[place[winner], place[loser]] = True
    for middle in range(len(names)):
        reaches |= reaches[:, [middle]] & reaches[[middle], :]
    return [(a, b) for a, b in decided if not reaches[place[b], place[a]]]


def _mcnemar(aligned: Alignment) -> list[Pair]:
    pairs = []
    for i, j in combinations(range(len(aligned.runs)), 2):
        names = aligned.runs[i].name, aligned.runs[j].name
        both = aligned.shared(i, j)
        if not both.any():
            pairs.append(Pair(first=names[0], second=names[1], n=0, difference=None))
            continue
        one, two = (aligned.values[run, both, 0] > 0 for run in (i, j))
        pairs.append(
            Pair(
                first=names[0],
                second=names[1],
                n=len(one),
                difference=accuracies(one, two, aligned.clusters_of(both))[0],
                only_first=int((one & ~two).sum()),
                only_second=int((two & ~one).sum()),
                both=int((one & two).sum()),
                neither=int((~one & ~two).sum()),
            )
        )
    return pairs


def bootstrapped(runs: Sequence[RunScores], *, resamples: int = 0) -> list[Pair]:
    """Every pair, uncorrected, by `resamples`; without them there are enough for Holm's
    correction."""
    return _bootstrapped(align(runs), resamples=resamples)


def _bootstrapped(aligned: Alignment, *, resamples: int = 0) -> list[Pair]:
    return [
        Pair(
            first=aligned.runs[each.places[0]].name,
            second=aligned.runs[each.places[1]].name,
            n=each.n,
            difference=each.difference,
        )
        for each in resampled(aligned, resamples=resamples)
    ]
