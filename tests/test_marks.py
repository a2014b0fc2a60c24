"""The words that an answer was extracted from, where the page shows the text."""

from __future__ import annotations

import pytest

from reports.inputs import sanitize
from reports.inputs.sanitize import CONTEXT, marked_passage, passage

LIMIT = 4000


def marked(shown: str, span: tuple[int, int]) -> str:
    """What a script sees between the two places: it counts UTF-16 code units."""
    units = shown.encode("utf-16-le")
    return units[2 * span[0] : 2 * span[1]].decode("utf-16-le")


@pytest.mark.parametrize(
    ("raw", "words", "seen"),
    [
        ("The answer is B.", "The answer is B", None),
        ("👍👍 Größe: 模型 B", "B", None),
        ("a\r\nb\r\nSo (B)\r\n", "So (B)", None),
        ("\x1b[31m\u202e\ud800 so B", "so B", None),
        ("so \u202eB", "so \u202eB", "so ⟨U+202E⟩B"),
        ("<b>&amp;</b> <CONCLUSION> B </CONCLUSION>", "B", None),
        ("B", "B", None),
    ],
)
def test_the_words_are_found_in_what_is_shown(raw: str, words: str, seen: str | None) -> None:
    """Whatever stands before them takes: two code units, a code point in words, no carriage."""
    start = raw.rindex(words)
    shown, span = marked_passage(raw, (start, start + len(words)), limit=LIMIT)
    assert shown == passage(raw, limit=LIMIT)
    assert marked(shown, span) == (seen or words)


def test_nothing_is_marked_without_an_answer() -> None:
    """The text is as it always was."""
    assert marked_passage("no idea", None) == ("no idea", None)


@pytest.mark.parametrize("filling", ["é thinking 👍 ", "x"])
@pytest.mark.parametrize("behind", [0, 10, 50_000])
def test_the_end_of_a_long_text_is_shown_where_the_answer_stands(filling: str, behind: int) -> None:
    """A text of many pages: its beginning, what was cut, and the words with their surroundings."""
    before = filling * 5000
    raw = f"{before}So the answer is (B).{'y' * behind}"
    start = len(before)
    span = (start, start + len("So the answer is (B)"))
    shown, place = marked_passage(raw, span, limit=LIMIT)
    assert marked(shown, place) == "So the answer is (B)"
    assert shown.startswith(filling * 20)
    assert "… [cut: " in shown
    assert len(shown.encode()) < LIMIT + 8 * CONTEXT
    assert ("[cut at" in shown) == (behind > CONTEXT)


def test_an_answer_before_the_cut_is_marked_in_the_text_as_it_is_cut() -> None:
    """Nothing else of the text is shown for it."""
    raw = "The answer is B. " + "z" * 10_000
    shown, place = marked_passage(raw, (0, 15), limit=LIMIT)
    assert shown == sanitize.passage(raw, limit=LIMIT)
    assert marked(shown, place) == "The answer is B"


def test_words_of_many_pages_are_cut() -> None:
    """A conclusion that takes up the whole text does not take up the page."""
    raw = "q" * 10_000
    shown, place = marked_passage(raw, (5_000, 10_000), limit=LIMIT)
    assert len(marked(shown, place)) == CONTEXT
    assert len(shown) < LIMIT + 8 * CONTEXT
