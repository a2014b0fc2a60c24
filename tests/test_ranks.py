"""Who is better than whom: paired tests, Holm's correction, and the ranks that follow."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest

from harness.metrics.statistics import holm, mcnemar, paired_bootstrap, paired_proportions
from harness.run.verdicts import LEVEL
from reports.statistics.ranks import Rank, RunScores, pairwise_tests, ranks


def scored(name: str, right: str, **clusters: str) -> RunScores:
    """A run from one character a question: 1 right, 0 wrong, - not answered."""
    scores = {str(place): float(mark) for place, mark in enumerate(right) if mark != "-"}
    return RunScores(name=name, scores=scores, clusters=clusters)


def test_ranks_from_decided_pairs() -> None:
    """One more than the number that is surely better, to all less the number surely worse."""
    found = ranks("abcd", [("a", "c"), ("a", "d"), ("b", "d"), ("c", "d")])
    assert found == {"a": Rank(1, 2), "b": Rank(1, 3), "c": Rank(2, 3), "d": Rank(4, 4)}
    assert found["d"].certain
    assert not found["a"].certain
    assert ranks(["alone"], []) == {"alone": Rank(1, 1)}


def test_a_contest_computed_by_hand() -> None:
    """Three models on 20 questions. McNemar: a against b 0 to 6, 2/2^6 = .03125; a against c 0 to
    12, 2/2^12; b against c 0 to 6. Holm: 3 times the smallest, and twice .03125 = .0625, which is
    no longer below .05: only a and c are told apart."""
    models = [
        scored("a", "1" * 14 + "0" * 6),
        scored("b", "1" * 8 + "0" * 12),
        scored("c", "1" * 2 + "0" * 18),
    ]
    found = pairwise_tests(models, test="mcnemar")
    assert [pair.difference.p for pair in found.pairs if pair.difference] == [
        pytest.approx(2 / 2**6),
        pytest.approx(2 / 2**12),
        pytest.approx(2 / 2**6),
    ]
    assert [pair.p for pair in found.pairs] == [
        pytest.approx(2 * 2 / 2**6),
        pytest.approx(3 * 2 / 2**12),
        pytest.approx(2 * 2 / 2**6),
    ]
    assert found.ranks == {"a": Rank(1, 2), "b": Rank(1, 3), "c": Rank(2, 3)}


def test_without_the_correction_more_would_be_called_certain() -> None:
    """The control: two of the three p-values above are below the level before Holm."""
    assert mcnemar(6, 0) < LEVEL < holm([mcnemar(6, 0), mcnemar(12, 0), mcnemar(6, 0)])[0]


def test_a_pair_says_what_it_counts() -> None:
    """Both, neither, only one; the difference is the second minus the first, and turns round."""
    found = pairwise_tests([scored("a", "1100110"), scored("b", "1010111")], test="mcnemar")
    (pair,) = found.pairs
    assert (pair.n, pair.both, pair.neither) == (7, 3, 1)
    assert (pair.only_first, pair.only_second) == (1, 2)
    assert pair.difference == paired_proportions(1, 2, 7)
    turned = found.pair("b", "a")
    assert turned is not None
    assert turned.difference is not None
    assert (turned.only_first, turned.only_second) == (2, 1)
    assert turned.difference.difference == pytest.approx(-1 / 7)
    assert (turned.difference.low, turned.difference.high) == (
        -pair.difference.high,
        -pair.difference.low,
    )
    assert turned.better == pair.better is None
    assert found.pair("a", "nobody") is None


def test_pairs_are_made_of_the_questions_that_both_answered() -> None:
    """A partial run is compared where it answered; two without a common question not at all."""
    found = pairwise_tests(
        [scored("a", "1111----"), scored("b", "--001111"), scored("c", "----0000")],
        test="mcnemar",
    )
    ab, ac, bc = found.pairs
    assert (ab.n, ab.only_first, ab.only_second) == (2, 2, 0)
    assert (ac.n, ac.difference, ac.p, ac.better) == (0, None, None, None)
    assert bc.n == 4
    assert bc.p == pytest.approx(2 * mcnemar(4, 0))  # Holm's m counts tested pairs only


def test_questions_that_share_a_picture_are_not_independent() -> None:
    """Four times the same question adds no certainty: the interval widens."""
    a, b = "1111" * 5 + "0000" * 5, "1111" * 2 + "0000" * 8
    alone = pairwise_tests([scored("a", a), scored("b", b)], test="mcnemar").pairs[0].difference
    shared = {str(place): f"picture {place // 4}" for place in range(40)}
    together = pairwise_tests(
        [
            RunScores(name="a", scores=scored("a", a).scores, clusters=shared),
            RunScores(name="b", scores=scored("b", b).scores, clusters=shared),
        ],
        test="mcnemar",
    )
    clustered = together.pairs[0].difference
    assert alone is not None
    assert clustered is not None
    assert clustered.difference == alone.difference
    assert clustered.high - clustered.low > 1.5 * (alone.high - alone.low)
    assert clustered.p == alone.p  # by question, and said so


def test_shares_are_compared_by_a_paired_bootstrap() -> None:
    """The same figures as harness.metrics.statistics.paired_bootstrap, which `harness compare` prints, and
    ten models can still be told apart."""
    chance = random.Random(0)
    base = [chance.random() for _ in range(60)]
    models = [
        RunScores(
            name=f"m{number}",
            scores={
                str(place): min(1.0, value / 2 + number / 25 + chance.random() / 50)
                for place, value in enumerate(base)
            },
            clusters={},
        )
        for number in range(10)
    ]
    found = pairwise_tests(models, test="bootstrap")
    one, two = (np.array(list(model.scores.values()))[:, None] for model in models[:2])
    expected = paired_bootstrap(one, two, lambda means: means[..., 0], resamples=60 * 45)
    difference = found.pairs[0].difference
    assert difference is not None
    for field in ("difference", "low", "high", "standard_error", "n", "p"):
        assert getattr(difference, field) == pytest.approx(getattr(expected, field)), field
    assert found.pairs[0].only_first is None
    assert [rank.best for rank in found.ranks.values()] == list(range(10, 0, -1))
    assert all(rank.certain for rank in found.ranks.values())


def test_the_least_wins_where_less_is_better() -> None:
    """The same scores give the opposite ranks."""
    models = [scored("a", "1" * 20 + "0" * 4), scored("b", "0" * 20 + "1" * 4)]
    more = pairwise_tests(models, test="bootstrap")
    less = pairwise_tests(models, test="bootstrap", higher_is_better=False)
    assert (more.pairs[0].better, less.pairs[0].better) == ("a", "b")
    assert (more.ranks["a"], less.ranks["a"]) == (Rank(1, 1), Rank(2, 2))


def test_shares_of_one_picture_are_drawn_together() -> None:
    """As `harness.metrics.statistics.paired_bootstrap` draws clusters."""
    chance = random.Random(1)
    keys = [str(place) for place in range(40)]
    shared = {key: int(key) // 4 for key in keys}
    sides = [{key: round(chance.random(), 2) for key in keys} for _ in range(2)]
    runs = [
        RunScores(name=name, scores=side, clusters=shared)
        for name, side in zip("ab", sides, strict=True)
    ]
    found = pairwise_tests(runs, test="bootstrap").pairs[0].difference
    one, two = (np.array(list(side.values()))[:, None] for side in sides)
    expected = paired_bootstrap(one, two, lambda x: x[..., 0], list(shared.values()))
    assert found is not None
    for part in ("difference", "low", "high", "p"):
        assert getattr(found, part) == pytest.approx(getattr(expected, part)), part


def test_equal_runs_are_never_told_apart() -> None:
    """By neither test, whatever the resamples say."""
    for test in ("mcnemar", "bootstrap"):
        found = pairwise_tests([scored("a", "10" * 20), scored("b", "10" * 20)], test=test)
        assert found.pairs[0].better is None
        assert found.ranks == {"a": Rank(1, 2), "b": Rank(1, 2)}


def test_ranks_do_not_depend_on_the_order_of_the_runs() -> None:
    """Every order of four models gives each the same places."""
    marks = {"a": "1" * 30 + "0" * 10, "b": "1" * 27 + "0" * 13, "c": "01" * 20, "d": "0" * 40}
    expected = pairwise_tests([scored(n, m) for n, m in marks.items()], test="mcnemar").ranks
    for order in itertools.permutations(marks):
        found = pairwise_tests([scored(name, marks[name]) for name in order], test="mcnemar")
        assert dict(found.ranks) == dict(expected)
