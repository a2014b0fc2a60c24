"""Two runs on the questions that both answered, as `harness compare` compares them."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from harness.metrics import questions
from harness.metrics.questions import Digest
from harness.metrics.statistics import Difference, Floats, paired_bootstrap
from harness.run.compare import accuracies

Test = Literal["mcnemar", "bootstrap"]
"""Of right and wrong answers; of graded ones."""


def mean(means: Floats) -> Floats:
    """Of samples that have one score each."""
    return means[..., 0]


@dataclass(frozen=True, slots=True)
class Scoring:
    """What is made of the scores of several samples."""

    aggregate: Callable[[Floats], Floats] = mean
    """Means of what samples contribute, (..., K) -> figures, (...)."""
    per_group: Callable[[Sequence[float]], float] | None = None
    """The score of a group from those of its samples; None: each sample has one of its own."""

    @property
    def is_mean(self) -> bool:
        return self.aggregate is mean


@dataclass(frozen=True, slots=True, kw_only=True)
class RunScores:
    """A run in paired tests: a score for each question that it answered."""

    name: str
    """Unique among the runs that are tested."""
    scores: Mapping[str, float | Sequence[float]]
    """Sample id -> its score, or the numbers that it contributes to an aggregate."""
    clusters: Mapping[str, Hashable]
    """Sample id -> what questions that are not independent have in common."""
    questions: Mapping[str, Digest] = field(default_factory=dict)
    """Sample id -> the digest of its question; one that is not there is the same in every run."""
    groups: Mapping[str, str] = field(default_factory=dict)
    """Sample id -> its group, where a group has one score."""
    scoring: Scoring = field(default_factory=Scoring)

    @property
    def test(self) -> Test:
        """The test that its scores ask for."""
        if not self.scoring.is_mean:
            return "bootstrap"
        values = np.array(list(self.scores.values()), dtype=np.float64)
        return "mcnemar" if np.isin(values, (0, 1)).all() else "bootstrap"

    def rows(self, keys: Sequence[str]) -> Floats:
        """What these samples contribute, (n, K); with groups, the score of each, (g, 1)."""
        made = np.array(list(map(self.scores.__getitem__, keys)), dtype=np.float64)
        values = made.reshape(len(keys), -1)
        reduce = self.scoring.per_group
        if reduce is None or not self.groups:
            return values
        members: dict[str, list[float]] = {}
        for key, row in zip(keys, values, strict=True):
            members.setdefault(self.groups.get(key, key), []).append(float(row[0]))
        return np.array([[reduce(each)] for each in members.values()], dtype=np.float64)

    def clusters_of(self, keys: Sequence[str]) -> list[Hashable] | None:
        """The cluster of each row; None: all are independent."""
        if self.scoring.per_group is not None or not self.clusters:
            return None
        found = [self.clusters.get(key, key) for key in keys]
        return found if len(set(found)) < len(found) else None

    def by_group(self) -> RunScores:
        """The same with a score for each group in place of those of its samples, where groups have
        one. A group of other samples is another question."""
        reduce = self.scoring.per_group
        if reduce is None or not self.groups:
            return self
        members: dict[str, list[str]] = {}
        for key in self.scores:
            members.setdefault(self.groups.get(key, key), []).append(key)
        scores = self.rows(list(self.scores))[:, 0].tolist()
        return RunScores(
            name=self.name,
            scores=dict(zip(members, scores, strict=True)),
            clusters={},
            questions={
                group: questions.joint((key, self.questions.get(key, _ANY)) for key in keys)
                for group, keys in members.items()
            },
            scoring=Scoring(self.scoring.aggregate),
        )


_ANY: Digest = questions.UNKNOWN * questions.PARTS


def shared(first: RunScores, second: RunScores) -> list[str]:
    """The questions that both answered, in the first one's order; where groups have one score,
    those of groups that both answered whole."""
    keys = [key for key in first.scores if key in second.scores]
    if first.questions != second.questions:
        keys = [
            key
            for key in keys
            if questions.are_same(first.questions.get(key, _ANY), second.questions.get(key, _ANY))
        ]
    if first.scoring.per_group is None or not first.groups:
        return keys
    one, two = first.by_group(), second.by_group()
    whole = set(shared(one, two))
    return [key for key in keys if first.groups.get(key, key) in whole]


def difference(first: RunScores, second: RunScores, keys: Sequence[str]) -> Difference | None:
    """The second minus the first on these questions, by the test that fits their scores; None:
    undefined for one of them."""
    return _difference(first, first.rows(keys), second.rows(keys), first.clusters_of(keys))


def compared(
    first: RunScores, second: RunScores, keys: Sequence[str]
) -> tuple[Difference | None, float, float]:
    """`difference`, and the score of each over these questions."""
    a, b = first.rows(keys), second.rows(keys)
    found = _difference(first, a, b, first.clusters_of(keys))
    return found, _figure(first, a), _figure(second, b)


def _difference(
    first: RunScores, a: Floats, b: Floats, clusters: Sequence[Hashable] | None
) -> Difference | None:
    """`difference` of the rows of two runs, of which this is the first."""
    if first.scoring.is_mean and np.isin(a, (0, 1)).all() and np.isin(b, (0, 1)).all():
        return accuracies(a[:, 0] > 0, b[:, 0] > 0, clusters)[0]
    found = paired_bootstrap(a, b, first.scoring.aggregate, clusters)
    return found if math.isfinite(found.difference) else None


def figure(run: RunScores, keys: Sequence[str]) -> float:
    """The score of a run over these questions."""
    return _figure(run, run.rows(keys))


def _figure(run: RunScores, rows: Floats) -> float:
    return float(run.scoring.aggregate(rows.mean(axis=0)))
