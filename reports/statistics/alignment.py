"""Several runs side by side: a row for each run, a column for each question that any of them
answered, and which questions two of them share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from harness.metrics.questions import PARTS, UNKNOWN, Digest, as_numbers
from harness.metrics.statistics import Floats
from reports.statistics.paired import RunScores, Scoring

Mask = NDArray[np.bool_]
_ANY = UNKNOWN * PARTS


@dataclass(frozen=True, eq=False)
class Alignment:
    """The runs of one task; questions are in the order in which the runs name them first."""

    runs: tuple[RunScores, ...]
    """By group, where groups have one score."""
    keys: tuple[str, ...]
    """The ids of the questions, (Q,)."""
    answered: Mask
    """(N, Q)."""
    values: Floats
    """What each answer contributes, 0 where there is none, (N, Q, K)."""
    digests: NDArray[np.uint32]
    """(N, Q, PARTS); 0: unknown."""
    clusters: NDArray[np.int64] | None
    """Equal numbers for questions that are not independent, (Q,); None: all are."""

    @property
    def scoring(self) -> Scoring:
        return self.runs[0].scoring

    @property
    def sizes(self) -> list[int]:
        """How many questions each run answered."""
        return [int(row.sum()) for row in self.answered]

    def shared(self, first: int, second: int) -> Mask:
        """The questions that two runs share, (Q,)."""
        both: Mask = self.answered[first] & self.answered[second]
        if not self._are_same:
            one, two = self.digests[first], self.digests[second]
            both &= ((one == two) | (one == 0) | (two == 0)).all(axis=-1)
        return both

    @cached_property
    def _are_same(self) -> bool:
        """No two runs have other questions of one id."""
        largest = self.digests.max(axis=0, initial=0)
        return bool(((self.digests == largest) | (self.digests == 0)).all())

    def clusters_of(self, questions: Mask) -> list[int] | None:
        """The cluster of each of some questions; None: all are independent."""
        if self.clusters is None:
            return None
        found: list[int] = self.clusters[questions].tolist()
        return found if len(set(found)) < len(found) else None


def align(runs: Sequence[RunScores]) -> Alignment:
    """Put runs side by side."""
    units = tuple(run.by_group() for run in runs)
    place: dict[str, int] = {}
    for run in units:
        for key in () if run.scores.keys() <= place.keys() else run.scores:
            place.setdefault(key, len(place))
    width = max((np.size(next(iter(run.scores.values()), 0.0)) for run in units), default=1)
    answered = np.zeros((len(units), len(place)), dtype=bool)
    values = np.zeros((len(units), len(place), width))
    digests = np.zeros((len(units), len(place), PARTS), dtype=np.uint32)
    for row, run in enumerate(units):
        if not run.scores:
            continue
        columns = np.fromiter(map(place.__getitem__, run.scores), np.int64, len(run.scores))
        answered[row, columns] = True
        found = np.array(list(run.scores.values()), dtype=np.float64)
        values[row, columns] = found.reshape(len(columns), -1)
        if run.questions:
            digests[row, columns] = as_numbers(_digests(run))
    return Alignment(
        units, tuple(place), answered, values, digests, _clusters(units, place, answered)
    )


def _digests(run: RunScores) -> Iterable[Digest]:
    """The digest of each question that a run has a score for."""
    if run.scores.keys() <= run.questions.keys():
        return map(run.questions.__getitem__, run.scores)
    return (run.questions.get(key, _ANY) for key in run.scores)


def _clusters(
    runs: Sequence[RunScores], place: dict[str, int], answered: Mask
) -> NDArray[np.int64] | None:
    """What the clusters of all runs connect, each question by the first one that it is connected
    with; None where nothing is."""
    found = np.arange(len(place))
    members = []
    for row, run in enumerate(runs):
        if run.clusters:
            columns = np.flatnonzero(answered[row])
            keys = list(place)
            labels: dict[object, int] = {}
            numbers = [
                labels.setdefault(run.clusters.get(keys[c], (c,)), len(labels)) for c in columns
            ]
            if len(labels) < len(numbers):
                members.append((columns, np.array(numbers), len(labels)))
    if not members:
        return None
    before = None
    while before is None or not np.array_equal(before, found):
        before = found.copy()
        for columns, own, number in members:
            least = np.full(number, len(place))
            np.minimum.at(least, own, found[columns])
            found[columns] = np.minimum(found[columns], least[own])
    return found
