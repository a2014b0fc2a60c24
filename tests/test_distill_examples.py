"""The text that a student is taught."""

from __future__ import annotations

from dataclasses import replace

import pytest

from distill.config import preset
from distill.examples import Example
from distill.objectives import objective_of
from distill.objectives.answer import Answer
from distill.objectives.objective import Piece
from distill.training.fingerprint import fingerprint
from harness.core.errors import SampleError
from harness.core.images import ImageRef
from harness.core.structured import Rationale, parse, render
from harness.core.types import Sample
from tasks.scienceqa import TASK

SAMPLE = Sample(id="7", question="Which?", target=1, choices=("red", "blue"), topic="physics")
RATIONALE = Rationale("What is asked.", " Two balls. \n", "The blue one\n\nis higher.", "A")
EXAMPLE = Example(SAMPLE, RATIONALE)


def pieces(example: Example = EXAMPLE, **changes: object) -> tuple[Piece, ...]:
    (target,) = objective_of(preset("paper", **changes)).targets(example)
    return target.pieces


def text(example: Example = EXAMPLE, **changes: object) -> str:
    return "".join(piece.text for piece in pieces(example, **changes))


def test_the_target_is_the_rationale_with_the_gold_letter() -> None:
    """The teacher concluded A; the right answer is B, and that is what is taught."""
    assert text() == (
        "<SUMMARY> What is asked. </SUMMARY>\n\n"
        "<CAPTION> Two balls. </CAPTION>\n\n"
        "<REASONING> The blue one\n\nis higher. </REASONING>\n\n"
        "<CONCLUSION> B </CONCLUSION>"
    )
    assert text() == render(replace(RATIONALE, conclusion="B"))


def test_the_answer_alone() -> None:
    """The control: a space and the letter, whether there is a rationale or not."""
    assert text(objective="answer") == " B"
    assert text(Example(SAMPLE, None), objective="answer") == " B"


@pytest.mark.parametrize(
    ("without", "left"),
    [
        (("summary",), ["CAPTION", "REASONING", "CONCLUSION"]),
        (("caption",), ["SUMMARY", "REASONING", "CONCLUSION"]),
        (("summary", "caption"), ["REASONING", "CONCLUSION"]),
        (("summary", "caption", "reasoning"), ["CONCLUSION"]),
    ],
)
def test_ablations_leave_stages_out(without: tuple[str, ...], left: list[str]) -> None:
    """Nothing of a stage remains, and the others stand as they were."""
    missing = set(parse(text(without=without)).missing)
    assert [
        s for s in ("SUMMARY", "CAPTION", "REASONING", "CONCLUSION") if s not in missing
    ] == left
    assert text(without=without).startswith(f"<{left[0]}>")
    assert text(without=without).endswith(
        "\n\n<CONCLUSION> B </CONCLUSION>"[2 * (len(left) == 1) :]
    )


def test_each_stage_has_its_weight() -> None:
    """The blank line behind a stage belongs to it."""
    found = pieces(summary_weight=0.0, reasoning_weight=2.0, without=("caption",))
    assert [piece.weight for piece in found] == [0.0, 2.0, 1.0]
    assert [piece.text[-2:] for piece in found] == ["\n\n", "\n\n", "N>"]


def test_no_rationale_to_teach() -> None:
    """Such a sample is left out, unless only its conclusion is taught."""
    bare = Example(SAMPLE, None)
    with pytest.raises(SampleError, match="no rationale"):
        pieces(bare)
    assert text(bare, without=("summary", "caption", "reasoning")) == "<CONCLUSION> B </CONCLUSION>"


def test_an_open_answer_is_taught_as_it_stands() -> None:
    """Where there are no options, the reference text is the conclusion."""
    example = Example(replace(SAMPLE, target="a magnet", choices=()), RATIONALE)
    assert text(example).endswith("<CONCLUSION> a magnet </CONCLUSION>")


def test_the_fingerprint_is_of_what_is_taught() -> None:
    """Questions, options, answers, topics, pictures, rationales, targets and order count; what the
    target does not hold does not."""
    objective = objective_of(preset("paper"))
    picture = ImageRef("a.png", lambda: b"bytes")
    other = Example(replace(SAMPLE, id="8"), RATIONALE)
    base = fingerprint([EXAMPLE, other], objective, TASK)
    changed = [
        [other, EXAMPLE],
        [EXAMPLE],
        [Example(replace(SAMPLE, question="Who?"), RATIONALE), other],
        [Example(replace(SAMPLE, choices=("red", "green")), RATIONALE), other],
        [Example(replace(SAMPLE, target=0), RATIONALE), other],
        [Example(replace(SAMPLE, topic="maps"), RATIONALE), other],
        [Example(replace(SAMPLE, images=(picture,)), RATIONALE), other],
        [Example(SAMPLE, replace(RATIONALE, caption="Three balls.")), other],
    ]
    found = [fingerprint(examples, objective, TASK) for examples in changed]
    assert len({base, *found}) == len(changed) + 1
    same = [Example(SAMPLE, replace(RATIONALE, conclusion="B")), other]
    assert fingerprint(same, objective, TASK) == base
    assert fingerprint([EXAMPLE, other], Answer(), TASK) != base
