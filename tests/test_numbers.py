"""Numbers as people read them."""

from __future__ import annotations

import pytest

from reports.numbers import counted, duration


@pytest.mark.parametrize(
    ("number", "words"), [(0, "0 runs"), (1, "1 run"), (2, "2 runs"), (2017, "2,017 runs")]
)
def test_counts_have_their_noun_in_the_right_number(number: int, words: str) -> None:
    """One is singular; thousands are grouped."""
    assert counted(number, "run") == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.0098, "0.01 s"),
        (0.0023, "0.002 s"),
        (0.219, "0.22 s"),
        (0.999, "1.0 s"),
        (4.66, "4.7 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (500, "8 min 20 s"),
        (3599.7, "1 h"),
        (7500, "2 h 5 min"),
    ],
)
def test_durations_are_words(seconds: float, words: str) -> None:
    """Two digits below a minute; minutes and seconds, or hours and minutes, above it."""
    assert duration(seconds) == words
