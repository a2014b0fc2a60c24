"""Intervals and tests, against scipy, statsmodels and values worked out by hand."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest
from scipy.stats import binomtest, sem
from statsmodels.regression.linear_model import OLS
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint
from statsmodels.stats.weightstats import DescrStatsW

from harness.metrics.statistics import (
    bootstrap,
    clustered_standard_error,
    holm,
    mcnemar,
    paired_bootstrap,
    paired_difference,
    paired_proportions,
    percentile_interval,
    standard_error,
    wilson,
)

RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("successes", "n"), [(0, 1), (1, 1), (0, 100), (100, 100), (1, 3), (721, 2017), (10**6, 10**7)]
)
@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
def test_wilson_equals_statsmodels(successes, n, confidence):
    """The interval of a proportion is Wilson's, at the edges too."""
    expected = proportion_confint(successes, n, alpha=1 - confidence, method="wilson")
    assert wilson(successes, n, confidence=confidence) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("successes", "n", "edge"), [(0, 10, 0.0), (10, 10, 1.0)])
def test_wilson_has_a_width_at_the_edges(successes, n, edge):
    """Nothing right in ten does not mean 0 ± 0, and the edge itself is in the interval."""
    low, high = wilson(successes, n)
    assert edge in (low, high)
    assert high - low > 0.2


@pytest.mark.parametrize(("successes", "n"), [(0, 0), (-1, 5), (6, 5)])
def test_wilson_refuses_impossible_counts(successes, n):
    """No proportion, no interval."""
    with pytest.raises(ValueError, match="successes"):
        wilson(successes, n)


def test_standard_error_equals_scipy():
    """The standard error has ddof 1."""
    values = RANDOM.normal(size=37)
    assert standard_error(values) == pytest.approx(sem(values), rel=1e-12)
    assert standard_error([0, 1]) == pytest.approx(0.5)
    with pytest.raises(ValueError, match="two values"):
        standard_error([1.0])


def test_clustered_standard_error_equals_statsmodels():
    """It is the cluster-robust error of a mean, without the small-sample factor."""
    values = RANDOM.normal(size=200)
    clusters = RANDOM.integers(30, size=200)
    fit = OLS(values, np.ones(200)).fit(
        cov_type="cluster", cov_kwds={"groups": clusters, "use_correction": False}
    )
    assert clustered_standard_error(values, clusters.tolist()) == pytest.approx(
        fit.bse[0], rel=1e-12
    )


def test_clustered_standard_error_by_hand():
    """Two images with deviations +1 +1 and -1 -1: √(2² + 2²) / 4."""
    assert clustered_standard_error([1, 1, -1, -1], ["a", "a", "b", "b"]) == pytest.approx(
        math.sqrt(8) / 4
    )


def test_clusters_of_one_give_the_error_with_ddof_0():
    """The stated convention: without sharing there is no factor n / (n - 1)."""
    values = RANDOM.normal(size=20)
    expected = standard_error(values) * math.sqrt(19 / 20)
    assert clustered_standard_error(values, range(20)) == pytest.approx(expected)


@pytest.mark.parametrize("clusters", [["a"] * 3, ["a", "b"], []])
def test_clusters_must_fit(clusters):
    """One cluster, or a cluster too few, has no clustered error."""
    with pytest.raises(ValueError, match="cluster"):
        clustered_standard_error([1.0, 2.0, 3.0], clusters)


def test_paired_difference_equals_statsmodels():
    """The interval is the normal one of the differences, second minus first."""
    first, second = RANDOM.normal(size=50), RANDOM.normal(0.3, size=50)
    got = paired_difference(first, second)
    assert (got.low, got.high) == pytest.approx(
        DescrStatsW(second - first).zconfint_mean(), rel=1e-12
    )
    assert got.difference == pytest.approx((second - first).mean())
    assert got.n == 50


def test_paired_difference_by_cluster():
    """Questions on the same image widen the interval."""
    first, second = [0, 0, 1, 1], [1, 1, 0, 1]
    got = paired_difference(first, second, ["a", "a", "b", "b"])
    # d = 1 1 -1 0, mean 1/4; deviations 3/4 3/4 and -5/4 -1/4; sums 3/2 and -3/2
    se = math.sqrt(2 * 1.5**2) / 4
    assert got.standard_error == pytest.approx(se)
    assert got.high - got.low == pytest.approx(2 * 1.959964 * se, rel=1e-6)


def test_paired_difference_needs_the_same_questions():
    """Lists of different lengths are not paired."""
    with pytest.raises(ValueError, match="same questions"):
        paired_difference([1, 0], [1])


@pytest.mark.parametrize(("b", "c", "n"), [(0, 0, 10), (485, 337, 2017), (3, 0, 5), (0, 1, 1)])
def test_paired_proportions_is_a_normal_interval_with_a_question_added_to_either_side(b, c, n):
    """Bonett and Price: the plain interval (ddof 0) of the differences with +1 and -1 appended."""
    differences = np.array([1] * b + [-1] * c + [0] * (n - b - c) + [1, -1])
    half = NormalDist().inv_cdf(0.975) * differences.std() / math.sqrt(n + 2)
    got = paired_proportions(c, b, n)
    assert got.difference == pytest.approx((b - c) / n)
    assert got.low == pytest.approx(max(-1, differences.mean() - half))
    assert got.high == pytest.approx(min(1, differences.mean() + half))
    assert got.high > got.low
    assert got.p == mcnemar(b, c)


@pytest.mark.parametrize(("b", "c", "n"), [(1, 1, 1), (-1, 0, 3), (0, 0, 0)])
def test_paired_proportions_refuses_impossible_counts(b, c, n):
    """More discordant pairs than questions cannot be."""
    with pytest.raises(ValueError, match="discordant"):
        paired_proportions(b, c, n)


@pytest.mark.parametrize(
    ("b", "c"),
    [
        (0, 0),
        (0, 1),
        (1, 1),
        (5, 0),
        (3, 9),
        (485, 337),
        (7, 7),
        (49_000, 51_000),
        (501_000, 498_000),
    ],
)
def test_mcnemar_equals_scipy(b, c):
    """Exact and two-sided, the same whichever model is first, for counts of any size."""
    expected = binomtest(b, b + c).pvalue if b + c else 1.0
    assert mcnemar(b, c) == pytest.approx(expected, rel=1e-8)
    assert mcnemar(c, b) == mcnemar(b, c)


def test_mcnemar_goes_down_to_0_without_an_error():
    """A difference too clear for a float has p = 0."""
    assert mcnemar(0, 10**6) == 0.0
    with pytest.raises(ValueError, match="discordant"):
        mcnemar(-1, 2)


def mean(means):
    return means[..., 0]


def test_bootstrap_is_what_a_loop_over_resamples_gives():
    """Weights and matrix products are only a faster way to draw rows and average them."""
    values = RANDOM.normal(size=(40, 2))
    drawn = bootstrap(values, lambda m: m[..., 0] / m[..., 1], resamples=50, seed=3)
    random = np.random.default_rng(3)
    for got, rows in zip(drawn, random.integers(40, size=(50, 40)), strict=True):
        means = values[rows].mean(axis=0)
        assert got == pytest.approx(means[0] / means[1], rel=1e-9)


def test_bootstrap_repeats_with_its_seed():
    """The same seed draws the same samples, another one others."""
    values = RANDOM.normal(size=(30, 1))
    again = [bootstrap(values, mean, resamples=20, seed=s).tolist() for s in (1, 1, 2)]
    assert again[0] == again[1] != again[2]


def test_bootstrap_has_the_spread_of_the_standard_error():
    """The deviation of resampled means is the standard error (ddof 0)."""
    values = RANDOM.normal(size=(500, 1))
    drawn = bootstrap(values, mean, resamples=4000)
    assert drawn.std() == pytest.approx(values.std() / math.sqrt(500), rel=0.05)


def test_bootstrap_draws_whole_clusters():
    """Values that agree within a cluster spread as the clusters do, not as their number does."""
    centres = RANDOM.normal(size=50)
    values, clusters = np.repeat(centres, 10)[:, None], np.repeat(np.arange(50), 10).tolist()
    drawn = bootstrap(values, mean, clusters, resamples=4000)
    assert drawn.std() == pytest.approx(centres.std() / math.sqrt(50), rel=0.05)


def test_bootstrap_of_nothing_is_refused():
    """No pairs, nothing to draw from."""
    with pytest.raises(ValueError, match="nothing"):
        bootstrap(np.zeros((0, 3)), mean)


def test_an_interval_without_width_is_none():
    """Resamples that all agree show nothing about the spread."""
    assert percentile_interval([0.0, 0.0, 0.0]) is None
    assert percentile_interval(np.arange(1001)) == pytest.approx((25.0, 975.0))


def test_paired_bootstrap_finds_a_difference():
    """A clear difference is outside chance, the same scores are not, and order turns the sign."""
    first = RANDOM.normal(size=(300, 1))
    second = first + RANDOM.normal(0.5, 0.5, size=(300, 1))
    better = paired_bootstrap(first, second, mean)
    normal = paired_difference(first, second)
    assert better.difference == pytest.approx(normal.difference)
    assert (better.low, better.high) == pytest.approx((normal.low, normal.high), abs=0.01)
    assert better.p == pytest.approx(1 / 1001)
    turned = paired_bootstrap(second, first, mean)
    assert (turned.low, turned.high) == pytest.approx((-better.high, -better.low))
    same = paired_bootstrap(first, first, mean)
    assert (same.difference, same.low, same.high, same.p) == (0.0, 0.0, 0.0, 1.0)


def test_paired_bootstrap_needs_the_same_pairs():
    """Statistics of different numbers of pairs are refused."""
    with pytest.raises(ValueError, match="same pairs"):
        paired_bootstrap(np.zeros((3, 1)), np.zeros((2, 1)), mean)


@pytest.mark.parametrize(
    "p_values", [[], [0.04], [0.01, 0.04, 0.03, 0.005], [0.5, 0.5, 0.9], [1.0, 0.0, 0.02, 0.02]]
)
def test_holm_equals_statsmodels(p_values):
    """Adjusted p-values stand in the order in which they came."""
    expected = multipletests(p_values, method="holm")[1] if p_values else []
    assert holm(p_values) == pytest.approx(list(expected))


def test_holm_refuses_what_is_no_p_value():
    """NaN and values outside 0..1 are errors of the caller."""
    for bad in (1.1, -0.1, math.nan):
        with pytest.raises(ValueError, match="outside"):
            holm([0.5, bad])
