"""The paired bootstrap of many pairs of runs at once.

Pairs with the same shared questions are drawn together: usually one bootstrap for all. Where runs
lack questions, each pair may share others; then all questions are drawn once for all pairs, and
each pair is scored on those of a draw that it shares.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from harness.metrics.statistics import (
    RESAMPLES,
    Difference,
    Floats,
    bootstrap,
    percentile_interval,
    resampling_weights,
)
from reports.statistics.alignment import Alignment, Mask

DRAWS_PER_PAIR = 60
"""Resamples for each pair: the smallest p, 1 / (resamples + 1), has to stay below the level when
Holm multiplies it by the number of pairs."""
_MAX_DRAWN = 10**9
"""Questions that are drawn for one set of shared questions after the other: some ten seconds."""
_MAX_CELLS = 1 << 24
"""Numbers in each of the matrices of one block of pairs."""

Places = tuple[int, int]
"""Of the first and the second run of a pair."""


@dataclass(frozen=True, slots=True)
class Resampled:
    """A pair of runs, resampled."""

    places: Places
    n: int
    difference: Difference | None
    """The second minus the first; None: undefined, or of too few questions."""


def resampled(aligned: Alignment, *, resamples: int = 0) -> list[Resampled]:
    """Every pair, uncorrected. Without `resamples` there are enough for Holm's correction."""
    chosen = list(combinations(range(len(aligned.runs)), 2))
    resamples = resamples or max(RESAMPLES, DRAWS_PER_PAIR * len(chosen))
    masks = {pair: aligned.shared(*pair) for pair in chosen}
    sets: dict[bytes, list[Places]] = {}
    for pair, mask in masks.items():
        sets.setdefault(mask.tobytes(), []).append(pair)
    drawn: Iterator[tuple[Places, Floats]]
    if len(sets) == 1 or len(sets) * resamples * len(aligned.keys) <= _MAX_DRAWN:
        drawn = (
            each
            for pairs in sets.values()
            for each in _together(aligned, pairs, masks[pairs[0]], resamples)
        )
    else:
        drawn = _apart(aligned, masks, resamples)
    found = {
        pair: _difference(differences, _observed(aligned, pair, masks[pair]), masks[pair])
        for pair, differences in drawn
    }
    return [Resampled(pair, int(masks[pair].sum()), found.get(pair)) for pair in chosen]


def _together(
    aligned: Alignment, pairs: Sequence[Places], mask: Mask, resamples: int
) -> Iterator[tuple[Places, Floats]]:
    """The differences in each resample of the one set of questions that all these pairs share."""
    if not mask.any():
        return
    able = sorted({run for pair in pairs for run in pair})
    rows = [aligned.values[run, mask] for run in able]
    width = rows[0].shape[1]
    aggregate = aligned.scoring.aggregate

    def figures(means: Floats) -> Floats:
        parts = np.split(means, range(width, width * len(able), width), axis=-1)
        return np.stack([aggregate(part) for part in parts], axis=-1)

    clusters = aligned.clusters_of(mask)
    found = bootstrap(np.concatenate(rows, axis=1), figures, clusters, resamples=resamples)
    for one, two in pairs:
        yield (one, two), found[:, able.index(two)] - found[:, able.index(one)]


def _apart(
    aligned: Alignment, masks: dict[Places, Mask], resamples: int
) -> Iterator[tuple[Places, Floats]]:
    """The differences in each resample of all questions, over those that each pair shares."""
    width = 2 if aligned.scoring.is_mean else 1 + 2 * aligned.values.shape[2]
    used = np.logical_or.reduce(list(masks.values()))
    size = max(1, min(_MAX_CELLS // (width * max(1, int(used.sum()))), _MAX_CELLS // resamples))
    pairs = [pair for pair, mask in masks.items() if mask.any()]
    core = np.logical_and.reduce([masks[pair] for pair in pairs])
    units = _units(aligned, used)
    for start in range(0, len(pairs), size):
        block = pairs[start : start + size]
        made = _Block.of(aligned, block, [masks[pair] for pair in block], core=core, units=units)
        found = np.concatenate(
            [made.differences(w) for w in resampling_weights(int(units.max()) + 1, resamples)]
        )
        for column, pair in enumerate(block):
            yield pair, found[:, column]


def _units(aligned: Alignment, used: Mask) -> NDArray[np.int64]:
    """What is drawn as a whole: the number of each question's cluster, or its own; -1 for those
    that no two runs share, (Q,)."""
    found = np.full(len(used), -1)
    labels = np.arange(len(used)) if aligned.clusters is None else aligned.clusters
    found[used] = np.unique(labels[used], return_inverse=True)[1]
    return found


@dataclass(frozen=True, slots=True, eq=False)
class _Block:
    """Some pairs as sums over what is drawn. Most questions are shared by all pairs: their sums are
    by run; those of the others are by pair."""

    aligned: Alignment
    pairs: Sequence[Places]
    sums: Floats
    """(U, N, K)."""
    counts: Floats
    """(U,)."""
    rest: NDArray[np.int64]
    """Units with questions that not all pairs share, (V,)."""
    rest_sums: NDArray[np.float32]
    """The second minus the first, where scores are means, (V, 1, P, 1); the first and the second,
    (V, 2, P, K)."""
    rest_counts: NDArray[np.float32]
    """(V, P)."""

    @classmethod
    def of(
        cls,
        aligned: Alignment,
        pairs: Sequence[Places],
        masks: Sequence[Mask],
        *,
        core: Mask,
        units: NDArray[np.int64],
    ) -> _Block:
        number = int(units.max()) + 1
        core_places = np.flatnonzero(core)
        values = np.moveaxis(aligned.values, 0, 1)  # (Q, N, K)
        sums = np.zeros((number, *values.shape[1:]))
        np.add.at(sums, units[core_places], values[core_places])
        places = np.flatnonzero((units >= 0) & ~core)
        rest, unit = np.unique(units[places], return_inverse=True)
        shared = np.stack([mask[places] for mask in masks], axis=1)  # (Q', P)
        first, second = (values[places][:, [pair[side] for pair in pairs]] for side in (0, 1))
        sides = [second - first] if aligned.scoring.is_mean else [first, second]
        by_pair = np.stack(sides, axis=1) * shared[:, None, :, None]  # (Q', sides, P, K)
        rest_sums = np.zeros((len(rest), *by_pair.shape[1:]), dtype=np.float32)
        rest_counts = np.zeros((len(rest), len(pairs)), dtype=np.float32)
        np.add.at(rest_sums, unit, by_pair.astype(np.float32))
        np.add.at(rest_counts, unit, shared.astype(np.float32))
        counts = np.bincount(units[core_places], minlength=number).astype(np.float64)
        return cls(aligned, pairs, sums, counts, rest, rest_sums, rest_counts)

    def differences(self, weights: Floats) -> Floats:
        """The second figure minus the first in each resample, (B, P); not finite: undefined."""
        own = weights[:, self.rest].astype(np.float32)
        counts = (weights @ self.counts)[:, None] + own @ self.rest_counts  # (B, P)
        by_run = np.tensordot(weights, self.sums, axes=1)  # (B, N, K)
        by_pair = np.tensordot(own, self.rest_sums, axes=1)  # (B, sides, P, K)
        first, second = ([pair[side] for pair in self.pairs] for side in (0, 1))
        scoring = self.aligned.scoring
        with np.errstate(all="ignore"):
            if scoring.is_mean:
                change = by_run[:, second, 0] - by_run[:, first, 0] + by_pair[:, 0, :, 0]
                return np.asarray(change / counts, dtype=np.float64)
            one, two = (
                scoring.aggregate((by_run[:, runs] + by_pair[:, side]) / counts[..., None])
                for side, runs in enumerate((first, second))
            )
            return np.asarray(two - one, dtype=np.float64)


def _observed(aligned: Alignment, pair: Places, mask: Mask) -> float:
    """The second figure minus the first."""
    one, two = (aligned.values[run, mask] for run in pair)
    if aligned.scoring.is_mean:
        return float((two - one).mean())
    first, second = (float(aligned.scoring.aggregate(each.mean(axis=0))) for each in (one, two))
    return second - first


def _difference(drawn: Floats, observed: float, mask: Mask) -> Difference | None:
    """As `harness.metrics.statistics.paired_bootstrap`, from differences drawn already."""
    n = int(mask.sum())
    if n < 2 or not math.isfinite(observed):
        return None
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
