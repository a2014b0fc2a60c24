"""Tags and reasoning-to-error, on predictions made by hand."""

from __future__ import annotations

import pytest

from distill.quality.answers import reasoning_to_error, structure
from harness.core.structured import Rationale, render
from harness.core.types import Prediction
from harness.extract import extract_choice

STATES = ("Alabama", "Illinois", "South Carolina", "Connecticut")
FIGURE_5 = (
    "<SUMMARY> To determine which state is farthest west, I will analyze the map. </SUMMARY>\n\n"
    "<CAPTION> The image is a map with four states labeled: Illinois, Alabama, South Carolina, and "
    "Connecticut.\n\n"
    "<REASONING> Illinois is located in the central part of the map, Alabama is to the south of "
    "Illinois, South Carolina is to the south of Alabama, and Connecticut is to the north of "
    "Illinois. Therefore, the state that is farthest west is Illinois. </REASONING>\n\n"
    "<CONCLUSION> A </CONCLUSION>"
)


def prediction(raw: str, *, target: int = 1, error: str | None = None) -> Prediction:
    reading = extract_choice(raw, STATES)
    return Prediction(
        sample_id=raw[:40],
        raw=raw,
        answer=reading.answer,
        rule=reading.rule,
        scores={} if error else {"accuracy": float(reading.answer == target)},
        target=target,
        choices=STATES,
        error=error,
    )


def rationale(reasoning: str, conclusion: str) -> str:
    return render(Rationale("Find it.", "A map.", reasoning, conclusion))


@pytest.mark.parametrize(
    ("raw", "is_one"),
    [
        (FIGURE_5, True),
        (rationale("Only Illinois is on the left.", "A"), True),
        (rationale("So the answer is B.", "C"), True),
        (rationale("Only Illinois is on the left.", ""), True),
        (rationale("Only Illinois is on the left.", "B"), False),
        (rationale("Only Alabama is on the left.", "A"), False),
        (rationale("Illinois or Alabama may be meant.", "A"), False),
        (rationale("Look at the compass rose.", "A"), False),
        ("A", False),
        ("Illinois is farthest west, so A.", False),
    ],
)
def test_reasoning_to_error(raw: str, is_one: bool) -> None:
    """A wrong answer whose reasoning names the right option and only that, and nothing else."""
    assert bool(reasoning_to_error([prediction(raw)]).sample_ids) is is_one


def test_shares_and_their_n() -> None:
    """Of the wrong answers with a reasoning, and of all answers; failed samples are in neither."""
    predictions = [
        prediction(FIGURE_5),
        prediction(rationale("Only Illinois is on the left.", "B")),
        prediction(rationale("Only Alabama is on the left.", "A")),
        prediction("C"),
        prediction("", error="no image"),
    ]
    found = reasoning_to_error(predictions)
    assert (found.answers, found.wrong, found.with_reasoning) == (4, 3, 2)
    assert found.sample_ids == (FIGURE_5[:40],)
    assert (found.of_wrong.value, found.of_wrong.n) == (0.5, 2)
    assert (found.of_answers.value, found.of_answers.n) == (0.25, 4)
    values = structure(predictions)
    assert (values["all_tags"].value, values["all_tags"].n) == (0.75, 4)
    assert values["well_formed"].value == 0.5
    assert values["reasoning_to_error"] == found.of_wrong


def test_nothing_to_measure_is_no_zero() -> None:
    """Without wrong answers, or without any, there is no share."""
    assert reasoning_to_error([]).of_wrong.value is None
    right = [prediction(rationale("Only Illinois is on the left.", "B"))]
    assert structure(right)["reasoning_to_error"].value is None
    assert structure(right)["reasoning_to_error_of_all"].value == 0
