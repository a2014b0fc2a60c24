"""Rationale quality: every measure on texts made by hand."""

from __future__ import annotations

import pytest
from rouge_score.rouge_scorer import RougeScorer

from distill.quality.measures import (
    Measurement,
    arrives_at,
    leaks,
    measure,
    overlap,
    repetition,
    summarise,
)
from harness.core.structured import Rationale, parse, render

STATES = ("Alabama", "Illinois", "South Carolina", "Connecticut")
FIGURE_5 = (
    "<SUMMARY> To determine which state is farthest west, I will look at the map's layout and the "
    "relative positions of the labeled states. </SUMMARY>\n\n"
    "<CAPTION> A map of the United States with four states labeled: Illinois, Alabama, South "
    "Carolina, and Connecticut. There is a compass rose.\n\n"
    "<REASONING> Illinois is in the central part of the map, Alabama is to the south of Illinois, "
    "South Carolina is to the south of Alabama, and Connecticut is to the north of Illinois. "
    "Therefore, the state that is farthest west is Illinois. </REASONING>\n\n"
    "<CONCLUSION> A </CONCLUSION>"
)
"""The structure of the paper's Figure 5: a caption that is never closed, a right reasoning, and a
wrong letter."""


@pytest.mark.parametrize(
    ("reasoning", "choices", "option"),
    [
        (parse(FIGURE_5).reasoning, STATES, 1),
        ("Illinois has the westernmost border on this map.", STATES, 1),
        (
            "Alabama is in the south. Illinois is west of it. The westernmost is Illinois.",
            STATES,
            1,
        ),
        ("Alabama is farther east than Illinois. So the answer is B.", STATES, 1),
        ("Both Alabama and Illinois could be meant.", STATES, None),
        ("Illinois is in the west. Alabama is near Connecticut.", STATES, None),
        ("It is not Illinois.", STATES, None),
        ("The arrow points to the left.", STATES, None),
        ("Choose between Alabama, Illinois, South Carolina and Connecticut.", STATES, None),
        (
            "The magnets face each other with the same poles, so they repel.",
            ("attract", "repel"),
            1,
        ),
        ("Solution A has more particles. Therefore, option A is correct.", ("more", "fewer"), 0),
        ("", STATES, None),
    ],
)
def test_what_a_reasoning_arrives_at(
    reasoning: str, choices: tuple[str, ...], option: int | None
) -> None:
    """The one option it names or commits to; where several are weighed and none chosen, none."""
    assert arrives_at(reasoning, choices).answer == option


def test_figure_5_is_measured_as_people_read_it() -> None:
    """Complete though not well formed; a right reasoning that its conclusion contradicts."""
    quality = measure(FIGURE_5, choices=STATES, target=1, solution="Illinois is farthest west.")
    assert quality.complete
    assert not quality.well_formed
    assert quality.conclusion_right is False
    assert quality.reasoning_right is True
    assert quality.reasoning_agrees is False
    assert quality.leaks == ()
    assert quality.repetition < 0.1
    assert quality.rouge_l is not None


def test_a_good_rationale_scores_higher_than_each_flawed_one() -> None:
    """The score falls with every flaw."""
    good = Rationale("Find the westernmost state.", "A map.", "Illinois is farthest west.", "B")
    texts = [
        render(good),
        FIGURE_5,
        render(good).replace(" B ", " C "),
        render(good).replace("A map.", "Illinois is marked."),
        render(good).replace("Illinois is farthest west.", "Alabama is farthest west."),
        render(good).replace("A map.", "a map of it " * 40),
        render(good).removesuffix("</CONCLUSION>"),
        "Illinois",
        "",
    ]
    best, *rest = [measure(text, choices=STATES, target=1).score for text in texts]
    assert best == 1
    assert all(0 <= score < 1 for score in rest)


@pytest.mark.parametrize(
    ("summary", "caption", "found"),
    [
        ("Which state is farthest west?", "A map with Alabama and Illinois.", ()),
        ("The answer is B.", "A map.", ("SUMMARY",)),
        ("Find the state.", "Illinois is coloured, at the left edge.", ("CAPTION",)),
        ("Show that Illinois is right.", "Only Illinois is to be seen.", ("SUMMARY", "CAPTION")),
        ("Find the state.", "Alabama is coloured.", ()),
    ],
)
def test_leaks(summary: str, caption: str, found: tuple[str, ...]) -> None:
    """A stage before the reasoning that names the gold option and only that gives it away."""
    assert leaks(parse(render(Rationale(summary, caption, "x", "B"))), STATES, 1) == found


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", 0),
        ("one two three", 0),
        ("one two three four five", 0),
        ("a b c d a b c d", 1 - 4 / 5),
        ("the the the the the the", 1 - 1 / 3),
        ("The the THE the the the", 1 - 1 / 3),
    ],
)
def test_repetition(text: str, value: float) -> None:
    """Share of the 4-grams that had been there before, counted by hand."""
    assert repetition(text) == pytest.approx(value)


def test_overlap_is_rouge_l() -> None:
    """The value of rouge-score; None where a text is missing."""
    one, two = "Illinois is the farthest west of all.", "The farthest west is Illinois."
    expected = RougeScorer(["rougeL"]).score(two, one)["rougeL"].fmeasure
    assert overlap(one, two) == pytest.approx(expected)
    assert overlap("", two) is None
    assert overlap(one, " ") is None


def test_open_questions_have_no_options_to_agree_with() -> None:
    """What does not apply is None, and does not weigh on the score."""
    text = render(Rationale("Why?", "A plot.", "The line rises.", "It grows."))
    quality = measure(text, choices=(), target="It grows.")
    assert (quality.conclusion_right, quality.reasoning_right, quality.reasoning_agrees) == (
        None,
        None,
        None,
    )
    assert quality.leaks == ()
    assert quality.score == 1


def test_the_summary_counts_kept_and_dropped_by_topic() -> None:
    """Each figure has its own n: a text that failed has no measures but is counted."""
    good = measure(render(Rationale("s", "c", "Illinois it is.", "B")), choices=STATES, target=1)
    bad = measure("no tags", choices=STATES, target=1)
    summary = summarise(
        [
            Measurement("maps", kept=True, quality=good),
            Measurement("maps", kept=False, quality=bad),
            Measurement("magnets", kept=True, quality=good),
            Measurement("maps", kept=False, quality=None),
        ]
    )
    assert list(summary.topics) == ["maps", "magnets"]
    assert (summary.all.n, summary.all.kept, summary.all.dropped) == (4, 2, 2)
    maps = summary.topics["maps"]
    assert (maps.n, maps.kept, maps.dropped) == (3, 1, 2)
    complete = summary.all.measures["complete"]
    assert (complete.value, complete.n) == (pytest.approx(2 / 3), 3)
    assert complete.low is not None
    reasoned = summary.all.measures["reasoning_right"]
    assert (reasoned.value, reasoned.n) == (1, 2)
    assert summary.all.measures["rouge_l"].value is None
